import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from fskd_jax.analysis.attention import panels, pictures
from fskd_jax.analysis.attention.gradients import TokenGradients
from fskd_jax.pictures import style

IMAGE = np.random.default_rng(0).integers(60, 200, (32, 24, 3), np.uint8)
POINTS = np.float32([[5, 6], [20, 30]])
NAMES = "nose", "tail"


def _overlays(figure):
  """The coloured images of the panels, without colour bars."""
  return [
    image
    for axis in figure.axes
    for image in axis.images
    if image.get_cmap().name == panels.COLORS
  ]


def test_nothing_covers_the_places_at_or_below_the_threshold():
  values = np.full((32, 24), 0.1)
  values[8:24, 6:18] = 0.5
  figure = Figure(figsize=(2.4, 3.2), dpi=100)
  axis = figure.add_axes((0, 0, 1, 1))
  axis.axis("off")
  panels.draw_overlay(axis, IMAGE, values, LogNorm(0.1, 1), threshold=0.1)
  pixels = style.render(figure)[5::10, 5::10].astype(int)
  assert pixels.shape == (32, 24, 3)
  colored = np.ptp(pixels, axis=-1) > 10
  np.testing.assert_array_equal(colored, values > 0.1)
  grey = np.tile(IMAGE.mean(-1)[..., None], 3)
  assert abs(pixels - grey)[~colored].max() < 2


def test_points_beyond_the_crop_do_not_shrink_it():
  figure = pictures.draw_maps(
    IMAGE, np.ones((2, 32, 24)), POINTS + 100, NAMES,
    threshold=0.1, heading="", label="",
  )  # fmt: skip
  for axis in figure.axes[:3]:
    assert axis.get_xlim() == (-0.5, 23.5) and axis.get_ylim() == (31.5, -0.5)


def test_limbs_join_their_predictions():
  plain, joined = (
    pictures.draw_maps(
      IMAGE, np.ones((2, 32, 24)), POINTS, NAMES,
      threshold=0.1, heading="", label="", limbs=limbs,
    )
    for limbs in ((), [(0, 1)])
  )  # fmt: skip
  assert not _lines(plain) and _lines(joined)
  for lines in _lines(joined):
    np.testing.assert_array_equal(lines.vertices, POINTS)


def _lines(figure):
  return [path for x in figure.axes[0].collections[:-1] for path in x.get_paths()]


@pytest.mark.parametrize("threshold", [0.0, 0.01])
def test_every_map_has_the_scale_of_the_colour_bar(threshold):
  maps = np.random.default_rng(1).random((3, 2, 32, 24)) * np.reshape(
    [0.1, 1.0, 5.0], (3, 1, 1, 1)
  )
  figure = pictures.draw_sheet(
    IMAGE, maps, POINTS, NAMES, 1, threshold=threshold, heading="a", label="weight"
  )
  overlays = _overlays(figure)
  assert len(overlays) == 6
  bar = figure.axes[-1]
  assert bar.get_ylabel() == "weight"
  low, high = bar.get_ylim()
  assert high == pytest.approx(maps.max())
  assert low == pytest.approx(threshold or maps.max() / 100)
  for image in overlays:
    assert (image.norm.vmin, image.norm.vmax) == pytest.approx((low, high))
  titles = [axis.get_title() for axis in figure.axes]
  assert titles[:6] == ["layer 0", "nose", "tail", "layer 1", "", ""]
  dots = figure.axes[0].collections[-1]
  assert len(dots.get_offsets()) == 1  # predictions alone


def test_positions_lie_as_their_panels_do():
  grid = 6, 12
  similarities = np.eye(72) * 0.5
  similarities[0, 1] = 0.4  # the scale ends here: 1 is not drawn to scale
  figure = pictures.draw_position_similarity(similarities, grid, "sine")
  shown = [axis for axis in figure.axes if axis.images]
  columns = np.linspace(0, 11, 6).round().astype(int)
  expected = [(row, column) for row in (0, 2, 5) for column in columns]
  for axis, (row, column) in zip(shown, expected, strict=True):
    values = axis.images[0].get_array()
    assert np.unravel_index(values.argmax(), grid) == (row, column)
    assert axis.get_title() == f"column {column}, row {row}"
    assert axis.images[0].norm.vmax == 0.4


def test_gradients_fill_the_cells_of_their_tokens():
  rng = np.random.default_rng(2)
  exact = rng.random((2, 12, 4)) + 0.1
  found = TokenGradients(
    heatmaps=rng.random((2, 8, 6)),
    attention=rng.random((2, 12, 12)),
    cells=np.array([[2, 1], [7, 5]]),
    tokens=np.array([3, 11]),
    exact=exact,
    closed_form=1.1 * exact,
    supplement=exact[::-1],
    direct=np.arange(12)[None] == np.array([[3], [11]]),
  )
  figure = pictures.draw_gradients(IMAGE, found, 1, POINTS[1], "gradient")
  first, second, third = (image.get_array() for image in _overlays(figure)[:3])
  norms = np.linalg.norm(exact, axis=-1)
  for token in range(12):
    row, column = divmod(token, 3)
    cell = slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8)
    np.testing.assert_allclose(first[cell], norms[1, token])
    np.testing.assert_allclose(second[cell], 1.1 * norms[1, token])
    np.testing.assert_allclose(third[cell], norms[0, token])
