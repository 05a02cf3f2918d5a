"""Photographs without labels: read, thinned, reduced, and left out where broken."""

import io
import logging

import numpy as np
import pytest
from helpers import shapes
from PIL import Image

from fskd_jax.config import DataConfig, SelfSupervisedConfig
from fskd_jax.data import images, resident, sources, unlabelled
from fskd_jax.data.annotations import read_coco


def _data(folder, executor="resident", **fields):
  views = SelfSupervisedConfig(share=1.0, region="image", scale_range=(0.5, 1.5))
  return DataConfig(
    name="unlabelled", path=str(folder), executor=executor, image_size=32,
    crop_margin=1.25, self_supervised=views, **fields,
  )  # fmt: skip


def _photograph(path, size=(30, 20)):
  """Writes a horizontal ramp."""
  ramp = np.linspace(0, 250, size[0]).astype(np.uint8)
  Image.fromarray(np.tile(ramp, (size[1], 1))).convert("RGB").save(path)


def _cut_off(path):
  """Writes an image whose header is whole, and whose pixels are not."""
  _photograph(path)
  path.write_bytes(path.read_bytes()[:-40])


def test_photographs_of_all_folders_are_objects_without_keypoints(tmp_path):
  (tmp_path / "below").mkdir()
  for name, size in (("b.png", (30, 20)), ("below/a.jpg", (16, 40))):
    _photograph(tmp_path / name, size)
  (tmp_path / "notes.txt").write_text("no image")
  found = unlabelled.read_photographs(tmp_path)
  assert found.image_names == ("b.png", "below/a.jpg") and not found.keypoint_names
  assert [i.box for i in found.instances] == [(0, 0, 30, 20), (0, 0, 16, 40)]
  assert Image.open(io.BytesIO(found.read_image(1))).size == (16, 40)


def test_a_folder_without_photographs_is_refused(tmp_path):
  with pytest.raises(ValueError, match="holds no image"):
    unlabelled.read_photographs(tmp_path)
  with pytest.raises(FileNotFoundError, match="nowhere"):
    unlabelled.read_photographs(tmp_path / "nowhere")
  (tmp_path / "broken.png").write_bytes(b"text")
  with pytest.raises(ValueError, match="none of the 1 photographs .*broken.png"):
    unlabelled.read_photographs(tmp_path)
  (tmp_path / "broken.png").unlink()
  _cut_off(tmp_path / "short.jpg")
  with pytest.raises(ValueError, match="none of the 1 photographs .*short.jpg"):
    sources.load_dataset(_data(tmp_path))


@pytest.mark.parametrize("executor", ["resident", "grain"])
def test_what_cannot_be_read_is_left_out_and_named(tmp_path, caplog, executor):
  for name in ("a.jpg", "c.jpg"):
    _photograph(tmp_path / name)
  (tmp_path / "b.jpg").write_bytes(b"text")
  _cut_off(tmp_path / "d.jpg")
  with caplog.at_level(logging.WARNING):
    found = sources.load_dataset(_data(tmp_path, executor))
  assert found.image_names == ("a.jpg", "c.jpg")
  assert [instance.image for instance in found.instances] == [0, 1]
  assert len(caplog.records) == 2 and "1 of 4" in caplog.messages[0]
  assert "b.jpg" in caplog.messages[0] and "d.jpg" in caplog.messages[1]


def test_no_photograph_is_larger_than_the_closest_view_needs(tmp_path):
  # 32 px show 0.4 of the longer side, times 1.25 for the margin, zoomed 1.5 times.
  needed = round(32 / (0.4 * 1.25 / 1.5))
  for name, size in (("a.jpg", (960, 720)), ("b.png", (720, 960)), ("c.png", (96, 9))):
    _photograph(tmp_path / name, size)
  found = sources.load_dataset(_data(tmp_path))
  sizes = [instance.image_size for instance in found.instances]
  assert sizes == [(needed, 72), (72, needed), (96, 9)]
  assert [i.box[2:] for i in found.instances] == sizes
  store = resident.load_store(found)
  assert store.sizes[:, 0].tolist() == [[*size] for size in sizes]
  for number, width in ((0, needed), (1, 72)):
    shown = images.decode(found.read_image(number), "")
    ramp = np.linspace(0, 250, width)
    assert abs(shown.mean(axis=(0, 2)) - ramp).max() < 4


def test_memory_is_for_some_of_many_photographs(tmp_path, monkeypatch, caplog):
  for number in range(9):
    _photograph(tmp_path / f"{number}.png")
  monkeypatch.setattr(unlabelled, "MOST_PIXELS", 4 * 30 * 20)
  found = sources.load_dataset(_data(tmp_path))
  assert found.image_names == ("0.png", "3.png", "6.png")
  assert "memory is for 3 of the 9 photographs" in caplog.text
  assert len(sources.load_dataset(_data(tmp_path, "grain")).image_names) == 9


def test_a_part_shows_the_same_objects(tmp_path):
  dataset = read_coco(shapes.write_folder(tmp_path / "labels", images_per_species=2))
  part = unlabelled.part(dataset, [7, 3])
  for found, row in zip(part.instances, (7, 3)):
    whole = dataset.instances[row]
    assert part.image_names[found.image] == dataset.image_names[whole.image]
    assert part.read_image(found.image) == dataset.read_image(whole.image)
    np.testing.assert_array_equal(found.keypoints, whole.keypoints)
  assert len(unlabelled.thinned(dataset, 4).instances) == 4
