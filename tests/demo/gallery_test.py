"""Pictures of the page: of a folder, and added ones within limits."""

import io

import numpy as np
import pytest
from helpers.demo_page import png
from PIL import Image

from fskd_jax.demo import gallery
from fskd_jax.demo.gallery import Gallery


def test_a_folder_is_taken_with_the_folders_in_it(tmp_path):
  (tmp_path / "clip").mkdir()
  for name in ("b.png", "clip/a.png"):
    (tmp_path / name).write_bytes(png())
  (tmp_path / "notes.txt").write_text("no picture")
  (tmp_path / "broken.png").write_text("no picture")
  found = Gallery(tmp_path)
  assert [p.name for p in found.folder.values()] == ["b.png", "clip/a.png"]
  (problem,) = found.problems
  assert "broken.png" in problem and str(tmp_path) not in problem
  with pytest.raises(FileNotFoundError, match="no folder"):
    Gallery(tmp_path / "absent")
  (tmp_path / "empty").mkdir()
  with pytest.raises(ValueError, match="no picture"):
    Gallery(tmp_path / "empty")


def test_browsers_get_what_the_detector_sees():
  """A turned photograph of 16 bits, which browsers show differently."""
  pixels = np.linspace(0, 60_000, 60 * 20).reshape(20, 60).astype(np.uint16)
  exif = Image.Exif()
  exif[0x0112] = 6
  content = io.BytesIO()
  Image.fromarray(pixels).save(content, "PNG", exif=exif)
  picture = Gallery().add("deep.png", content.getvalue())
  assert picture.size == (20, 60)
  seen = picture.read().pixels
  sent = np.asarray(Image.open(io.BytesIO(gallery.for_browser(picture, False))), int)
  assert sent.shape == seen.shape
  assert np.abs(sent - seen.astype(int)).max() < 12
  small = Image.open(io.BytesIO(gallery.for_browser(picture, True)))
  assert max(small.size) <= 160


def test_added_pictures_give_way_only_when_nobody_looks(monkeypatch):
  shelf, one = Gallery(), png(seed=1)
  monkeypatch.setattr(gallery, "MAX_BYTES", 2 * len(one) + 50)
  first = shelf.add("C:\\photos\\a.png", one)
  assert first.name == "a.png"
  assert shelf.add("a.png", one).key == first.key
  second = shelf.add("b.png", png(seed=2))
  with pytest.raises(ValueError, match="--images"):
    shelf.add("c.png", png(seed=3))
  monkeypatch.setattr(gallery, "UNUSED_SECONDS", -1.0)
  shelf.get(first.key)
  third = shelf.add("c.png", png(seed=3))
  assert shelf.get(first.key) and shelf.get(third.key)
  with pytest.raises(LookupError, match="add it again"):
    shelf.get(second.key)
  with pytest.raises(ValueError, match="notes"):
    shelf.add("notes.png", b"no picture")
