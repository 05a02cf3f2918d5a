"""TFDS records and `load_dataset`: the same data set whichever way it is read."""

import dataclasses
import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from fskd_jax.config import DataConfig
from fskd_jax.data import annotations, sources
from fskd_jax.data.builders import coco_keypoints, records, synthetic_creatures


def write_folder(folder, shift=0.0):
  """Three images of two species; one image has two instances, one has none."""
  (folder / "images" / "sub").mkdir(parents=True)
  rng = np.random.default_rng(0)
  files = ("b.png", "sub/ä.jpg", "none.png")
  for i, name in enumerate(files):
    pixels = rng.integers(0, 255, (20 + i, 30 + i, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "images" / name)
  content = {
    "images": [
      {"id": 40 - i, "file_name": name, "width": 30 + i, "height": 20 + i}
      for i, name in enumerate(files)
    ],
    "categories": [
      {"id": 1, "name": "ant", "keypoints": ["eye", "leg"], "skeleton": [[1, 2]]},
      {"id": 2, "name": "öx", "keypoints": ["horn", "eye"], "skeleton": [[1, 2]]},
    ],
    "annotations": [
      {
        "id": 10 - i,
        "image_id": image,
        "category_id": category,
        "bbox": [1.1 + i, 2.3, 10.7, 9.9],
        "keypoints": [3.3 + shift, 4.7, 2, 5.1, 6 + i, i % 2],
      }
      for i, (image, category) in enumerate(((39, 2), (40, 1), (39, 1)))
    ],
  }
  (folder / "annotations.json").write_text(json.dumps(content))
  return folder


def assert_equal(a, b):
  for field in ("name", "keypoint_names", "skeleton", "species", "image_names"):
    assert getattr(a, field) == getattr(b, field), field
  assert len(a.instances) == len(b.instances)
  for one, two in zip(a.instances, b.instances):
    for field in dataclasses.fields(one):
      x, y = getattr(one, field.name), getattr(two, field.name)
      assert type(x) is type(y), field.name
      if isinstance(x, np.ndarray):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
      else:
        assert x == y, field.name
  for i in reversed(range(len(a.image_names))):
    assert a.read_image(i) == b.read_image(i)


def config(tmp_path, **fields):
  return DataConfig(cache_dir=str(tmp_path / "cache"), **fields)


def test_coco_records_equal_the_folder(tmp_path):
  folder = write_folder(tmp_path / "zoo")
  direct = annotations.read_coco(folder)
  assert [i.instance_id for i in direct.instances] == [9, 8, 10]
  fields = {"name": "coco_keypoints", "path": str(folder)}
  stored = sources.load_dataset(config(tmp_path, executor="grain", **fields))
  assert_equal(stored, direct)
  for i, name in enumerate(stored.image_names):
    assert stored.read_image(i) == (folder / "images" / name).read_bytes()
  assert_equal(
    sources.load_dataset(config(tmp_path, executor="resident", **fields)), direct
  )


def test_records_keep_the_vocabulary(tmp_path):
  folder = write_folder(tmp_path / "zoo")
  coco_keypoints.load(folder, tmp_path / "cache")
  (place,) = (tmp_path / "cache" / "coco_keypoints").glob("zoo-*/1.0.0")
  stored = records.load(tfds.builder_from_directory(place))
  assert stored.keypoint_names == ("eye", "leg", "horn")
  assert stored.skeleton == ((0, 1), (2, 0))
  assert stored.species == ("ant", "öx")


def test_caches_are_reused_and_never_collide(tmp_path):
  cache = tmp_path / "cache"
  one = write_folder(tmp_path / "one" / "zoo")
  two = write_folder(tmp_path / "two" / "zoo", shift=1.0)
  first = coco_keypoints.load(one, cache)
  second = coco_keypoints.load(two, cache)
  assert second.instances[0].keypoints[0, 0] == np.float32(4.3)
  stamps = {p: p.stat().st_mtime_ns for p in cache.rglob("*.array_record*")}
  assert len(stamps) == 2
  assert_equal(coco_keypoints.load(one, cache), first)
  assert {p: p.stat().st_mtime_ns for p in stamps} == stamps

  content = json.loads((one / "annotations.json").read_text())
  content["annotations"][1]["keypoints"][0] = 9.5
  (one / "annotations.json").write_text(json.dumps(content))
  changed = coco_keypoints.load(one, cache)
  assert changed.instances[0].keypoints[0, 0] == np.float32(9.5)
  name = coco_keypoints.builder.folder_config(one).name
  Image.new("RGB", (31, 21)).save(one / "images" / "sub" / "ä.jpg")
  assert coco_keypoints.builder.folder_config(one).name != name


def test_faults_of_a_folder_are_told(tmp_path):
  with pytest.raises(ValueError, match="no labels of a known kind"):
    coco_keypoints.load(tmp_path, tmp_path / "cache")
  with pytest.raises(ValueError, match="needs a folder"):
    coco_keypoints.CocoKeypoints(data_dir=str(tmp_path))
  folder = write_folder(tmp_path / "zoo")
  for image in (folder / "images").rglob("*.*"):
    image.unlink(missing_ok=True)
  with pytest.raises(FileNotFoundError, match="b.png"):
    coco_keypoints.load(folder, tmp_path / "cache")


def test_creatures_through_records_and_without(tmp_path):
  fields = {"name": "synthetic_creatures", "images_per_species": 1}
  stored = sources.load_dataset(config(tmp_path, executor="grain", **fields))
  direct = sources.load_dataset(config(tmp_path, executor="resident", **fields))
  assert_equal(stored, direct)
  assert len(direct.instances) == 13
  assert_equal(synthetic_creatures.load(tmp_path / "cache", 1), direct)


def test_tf_data_without_tensorflow_says_what_to_install(tmp_path, monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(ImportError, match=r"pip install -e '.\[tensorflow\]'.*'grain'"):
    sources.load_dataset(config(tmp_path, executor="tfdata"))


@pytest.mark.slow
def test_resident_data_never_imports_tensorflow(tmp_path):
  folder = write_folder(tmp_path / "zoo")
  code = f"""
import sys
from fskd_jax.config import DataConfig
from fskd_jax.data.sources import load_dataset
common = dict(executor="resident", cache_dir={str(tmp_path / "cache")!r})
load_dataset(DataConfig(name="coco_keypoints", path={str(folder)!r}, **common))
load_dataset(DataConfig(images_per_species=1, **common)).read_image(0)
heavy = {{"tensorflow", "tensorflow_datasets", "jax"}} & set(sys.modules)
assert not heavy, heavy
"""
  subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
  ("fields", "message"),
  [
    ({"name": "imagenet"}, "data.name is 'imagenet'.*'coco_keypoints'"),
    ({"executor": "grpc"}, "data.executor is 'grpc'.*'resident'"),
    ({"name": "coco_keypoints"}, "data.path is empty"),
  ],
)
def test_unknown_sources(tmp_path, fields, message):
  with pytest.raises(ValueError, match=message):
    sources.load_dataset(config(tmp_path, **fields))


def test_a_program_that_was_slower_takes_the_records_of_the_faster(
  tmp_path, monkeypatch
):
  folder, examples = write_folder(tmp_path / "zoo"), records.examples
  overtaken = []

  def slow_examples(dataset):
    if not overtaken:
      overtaken.append(True)  # the other program starts later, and ends first
      overtaken.append(coco_keypoints.load(folder, tmp_path / "cache"))
    return examples(dataset)

  monkeypatch.setattr(records, "examples", slow_examples)
  slower = coco_keypoints.load(folder, tmp_path / "cache")
  assert_equal(slower, overtaken[1])
  assert_equal(slower, annotations.read_coco(folder))
  assert not [path for path in tmp_path.rglob("*") if "incomplete" in path.name]


def test_a_builder_made_before_the_records_finds_them(tmp_path):
  folder, cache = write_folder(tmp_path / "zoo"), tmp_path / "cache"
  early = coco_keypoints.CocoKeypoints(
    config=coco_keypoints.builder.folder_config(folder), data_dir=str(cache)
  )
  expected = coco_keypoints.load(folder, cache)
  assert_equal(records.load(early), expected)


COLD = """
import pathlib, sys, time
from fskd_jax.data.builders import coco_keypoints
folder, cache, mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
while not other.exists():
  time.sleep(0.001)
print(len(coco_keypoints.load(folder, cache).instances))
"""


@pytest.mark.slow
def test_two_programs_prepare_one_cache_at_once(tmp_path):
  folder, ready = write_folder(tmp_path / "zoo"), [tmp_path / "0", tmp_path / "1"]
  running = [
    subprocess.Popen(
      [sys.executable, "-c", COLD, folder, tmp_path / "cache", *order],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for order in (ready, ready[::-1])
  ]
  told = [process.communicate(timeout=200) for process in running]
  assert [process.returncode for process in running] == [0, 0], told
  assert [out.split()[-1] for out, _ in told] == ["3", "3"]
