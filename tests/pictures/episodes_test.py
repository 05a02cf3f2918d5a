import numpy as np

from fskd_jax.pictures import episodes, style


def _row(predicted, n=3):
  points = np.tile(np.float32([[8, 8], [20, 8], [8, 24]]), (n // 3, 1))
  return episodes.EpisodePicture(
    title="row",
    support_images=np.full((1, 32, 32, 3), 255, np.uint8),
    support_keypoints=points[None],
    support_visible=np.ones((1, n), bool),
    query_images=np.full((1, 32, 32, 3), 255, np.uint8),
    query_keypoints=points[None],
    predicted=np.float32(predicted)[None],
    valid=np.ones((1, n), bool),
    names=[f"type {i}" for i in range(n)],
  )


def _query_ink(pixels):
  """Where something coloured is drawn in the query's column: rows, columns in 0..1."""
  height, width, _ = pixels.shape
  part = pixels[height // 3 :, width // 3 : 2 * width // 3]
  rows, columns = np.nonzero(np.ptp(part.astype(int), axis=-1) > 60)
  return rows / part.shape[0], columns / part.shape[1]


def test_predictions_are_drawn_where_they_lie():
  exact = [[8, 8], [20, 8], [8, 24]]
  far_right = [[30, 8], [20, 8], [8, 24]]
  low = [[8, 8], [20, 8], [8, 31]]
  rows, columns = _query_ink(episodes.draw_episodes([_row(exact)]))
  _, columns_right = _query_ink(episodes.draw_episodes([_row(far_right)]))
  rows_low, _ = _query_ink(episodes.draw_episodes([_row(low)]))
  assert columns_right.max() > columns.max() + 0.15  # x goes to the right
  assert rows_low.max() > rows.max() + 0.08  # y goes down


def test_what_does_not_count_is_not_drawn():
  row = _row([[8, 8], [20, 8], [8, 24]])
  hidden = row._replace(valid=np.zeros((1, 3), bool))
  assert _query_ink(episodes.draw_episodes([hidden]))[0].size == 0


def test_types_that_an_episode_does_not_use_take_no_colour():
  guesses = np.float32([[8, 8], [20, 8], [8, 24]])
  few, many = _row(guesses), _row(np.tile(guesses, (20, 1)), n=60)
  used = np.arange(60) < 3
  many = many._replace(valid=used[None], support_visible=used[None])
  np.testing.assert_array_equal(*(episodes.draw_episodes([r]) for r in (few, many)))


def test_rows_and_many_types_fit():
  rows = [_row(np.zeros((3, 2))), _row(np.zeros((60, 2)), n=60)]
  one, two = episodes.draw_episodes(rows[:1]), episodes.draw_episodes(rows)
  assert two.shape[0] > 1.5 * one.shape[0] and two.shape[1] == one.shape[1]
  colors = style.keypoint_colors(60)
  assert len(np.unique(colors, axis=0)) == 60
