import json

import numpy as np
from PIL import Image

from fskd_jax import plots


def _row(predicted, n=3):
  points = np.tile(np.float32([[8, 8], [20, 8], [8, 24]]), (n // 3, 1))
  return plots.EpisodePicture(
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
  rows, columns = _query_ink(plots.draw_episodes([_row(exact)]))
  _, columns_right = _query_ink(plots.draw_episodes([_row(far_right)]))
  rows_low, _ = _query_ink(plots.draw_episodes([_row(low)]))
  assert columns_right.max() > columns.max() + 0.15  # x goes to the right
  assert rows_low.max() > rows.max() + 0.08  # y goes down


def test_what_does_not_count_is_not_drawn():
  row = _row([[8, 8], [20, 8], [8, 24]])
  hidden = row._replace(valid=np.zeros((1, 3), bool))
  assert _query_ink(plots.draw_episodes([hidden]))[0].size == 0


def test_rows_and_many_types_fit():
  rows = [_row(np.zeros((3, 2))), _row(np.zeros((60, 2)), n=60)]
  one, two = plots.draw_episodes(rows[:1]), plots.draw_episodes(rows)
  assert two.shape[0] > 1.5 * one.shape[0] and two.shape[1] == one.shape[1]
  colors = plots.keypoint_colors(60)
  assert len(np.unique(colors, axis=0)) == 60


def test_curves_of_a_run_with_and_without_validation(tmp_path):
  lines = [
    {"step": 20, "train/loss": 3.0, "train/seconds": 1.0},
    {"step": 40, "train/loss": 2.0, "train/seconds": 2.0},
    {"step": 40, "val/base/pck@0.1": 0.4},
  ]
  for count in (2, 3):
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines[:count]))
    plots.draw_curves(file, tmp_path / f"{count}.png")
  without, with_pck = (np.asarray(Image.open(tmp_path / f"{c}.png")) for c in (2, 3))
  assert without.shape == with_pck.shape and (without != with_pck).any()
