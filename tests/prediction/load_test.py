"""The detector that comes with the package."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import fskd_jax
from fskd_jax.cli import main
from fskd_jax.prediction.load import PACKAGED

pytestmark = pytest.mark.slow

POINTS = {"tip": (60.0, 24.0), "left foot": (30.0, 90.0), "right foot": (90.0, 90.0)}
SHIFT = np.array([34.0, 21.0])


@pytest.fixture(scope="module")
def detector():
  return fskd_jax.load()


def _triangle(size, shift=(0, 0)):
  picture = Image.new("RGB", size, (70, 110, 80))
  corners = [(x + shift[0], y + shift[1]) for x, y in POINTS.values()]
  ImageDraw.Draw(picture).polygon(corners, fill=(210, 160, 60))
  return picture


def test_it_is_small_and_calibrated(detector):
  assert PACKAGED.stat().st_size < 12e6
  assert detector.calibration is not None


def test_it_finds_what_was_marked_where_it_went(detector):
  support = detector.support([_triangle((128, 120))], [POINTS])
  query = _triangle((200, 170), SHIFT)
  found = detector.predict(support, [query], [(40, 25, 110, 106)])
  expected = np.array(list(POINTS.values())) + SHIFT
  assert np.linalg.norm(found.keypoints[0] - expected, axis=-1).max() < 8


def test_commands_take_it_without_being_told(tmp_path, capsys):
  _triangle((128, 120)).save(tmp_path / "support.png")
  _triangle((200, 170), SHIFT).save(tmp_path / "query.png")
  (tmp_path / "support.json").write_text(
    str({name: list(xy) for name, xy in POINTS.items()}).replace("'", '"')
  )
  command = [
    *("predict", "--support", str(tmp_path / "support.png")),
    *("--keypoints", str(tmp_path / "support.json")),
    *("--query", str(tmp_path / "query.png"), "--whole-images"),
    *("--out", str(tmp_path / "found")),
  ]
  assert main.main(command) == 0
  assert "1 of 1 queries predicted" in capsys.readouterr().out


def test_a_path_that_is_not_there_is_named():
  with pytest.raises(FileNotFoundError, match=r"no run .* nowhere"):
    fskd_jax.load("nowhere")
