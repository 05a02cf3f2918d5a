"""What a training is told before it starts."""

import dataclasses
import io
import json
import shutil

import pytest
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.config import DataConfig
from fskd_jax.data import annotations
from fskd_jax.data.checks import training
from fskd_jax.data.feed import Feed


@pytest.fixture
def dataset(shapes_folder):
  return annotations.read_coco(shapes_folder)


def _named(dataset, *names):
  rest = dataset.keypoint_names[len(names) :]
  return dataclasses.replace(dataset, keypoint_names=(*names, *rest))


@pytest.fixture
def cfg(shapes_folder):
  return DataConfig(
    name="coco_keypoints",
    path=str(shapes_folder),
    executor="resident",
    base=("north",),
    unseen_species=("plum",),
  )


def test_nothing_is_told_of_a_sound_data_set(dataset, cfg):
  assert not [*training.doubts(Feed.of(dataset, cfg))]


def test_sides_left_alone_are_told_once_where_images_are_mirrored(dataset):
  lone = _named(dataset, "earR", "leye", "reye")
  (told,) = training.of_sides(lone, DataConfig())
  assert "2 keypoint names" in told and "earR, leye = reye" in told
  assert not [*training.of_sides(lone, DataConfig(flip_probability=0.0))]
  pairs = (("leye", "reye"),)
  assert not [*training.of_sides(lone, DataConfig(flip_pairs=pairs))]


def test_images_in_two_splits_and_turned_squares_are_told(dataset, cfg):
  splits = Feed.of(dataset, cfg).splits
  twin, original = splits.unseen[0].image, splits.train[0].image
  stream, exif = io.BytesIO(), Image.Exif()
  exif[274] = 3
  Image.new("RGB", (9, 9)).save(stream, "PNG", exif=exif)
  turned = splits.train[-1].image

  def read(number):
    if number == turned:
      return stream.getvalue()
    return dataset.read_image(original if number == twin else number)

  parts = {"train": splits.train, "unseen": splits.unseen}
  changed = dataclasses.replace(dataset, read_image=read)
  shared, square = training.of_images(changed, parts)
  names = dataset.image_names
  assert "1 images" in shared and names[original] in shared and names[twin] in shared
  assert square.startswith("1 images") and names[turned] in square
  assert not [*training.of_images(dataset, parts)]


def test_labels_without_any_visibility_are_refused_with_the_way_out(
  shapes_folder, tmp_path, capsys
):
  folder = tmp_path / "unseen"
  shutil.copytree(shapes_folder, folder)
  path = folder / "annotations.json"
  content = json.loads(path.read_text())
  for entry in content["annotations"]:
    entry["keypoints"][2::3] = [0] * (len(entry["keypoints"]) // 3)
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match="all have v = 0.*fskd data convert"):
    annotations.read_coco(folder)
  assert main.main(["data", "doctor", str(folder)]) == 1
  told = capsys.readouterr().out
  assert "did the tool write no visibility?" in told and "--all-visible" in told
  out = tmp_path / "seen.json"
  assert (
    main.main(["data", "convert", str(path), "--all-visible", "--out", str(out)]) == 0
  )
  path.write_bytes(out.read_bytes())
  assert len(annotations.read_coco(folder).instances) == len(content["annotations"])
