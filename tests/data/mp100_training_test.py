"""MP-100 for training: its files of a split become a folder, records, an experiment."""

import collections
import dataclasses
import importlib
import json
import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import mp100_files
from helpers.mp100_files import CATEGORIES

from fskd_jax import config
from fskd_jax.cli import main
from fskd_jax.data import keypoint_types, splits
from fskd_jax.data.annotations import read_coco
from fskd_jax.data.builders import mp100 as builders
from fskd_jax.data.builders import records
from fskd_jax.data.published import facts, mp100, prepare
from fskd_jax.few_shot import pools

NAME, PER_CATEGORY = "mp100_split2", 9
SMALL = dataclasses.replace(
  facts.MP100[NAME], classes=3 * CATEGORIES, split_sizes=(CATEGORIES,) * 3
)
FIRST = {"train": 0, "val": CATEGORIES, "test": 2 * CATEGORIES}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
  """The tree of MP-100: annotations/ and, where file_name leads, the images."""
  source = tmp_path_factory.mktemp("source") / "mp100"
  (source / "annotations").mkdir(parents=True)
  for part, first in FIRST.items():
    content = mp100_files.content(first, PER_CATEGORY)
    (source / "annotations" / f"{NAME}_{part}.json").write_text(json.dumps(content))
    mp100_files.write_images(content, source)
  return source


@pytest.fixture(scope="module")
def prepared(source, tmp_path_factory):
  out = tmp_path_factory.mktemp("prepared") / "data_cache" / NAME
  prepare.prepare(SMALL, source, out)
  return out


def _names(first):
  return tuple(f"category {first + c}" for c in range(CATEGORIES))


def test_the_folder_holds_the_cleaned_objects(source, prepared):
  dataset = read_coco(prepared)
  assert dataset.species == tuple(n for first in FIRST.values() for n in _names(first))
  assert dataset.keypoint_names == SMALL.keypoint_names and len(SMALL.base) == 100
  expected = {}
  for part in FIRST:
    file = mp100.read(source / "annotations" / f"{NAME}_{part}.json")
    expected |= {x.image: (name, x) for name in file.categories
                 for x in file.categories[name]}  # fmt: skip
  assert len(dataset.instances) == len(expected) == 3 * CATEGORIES * PER_CATEGORY
  for instance in dataset.instances:
    name, found = expected[dataset.image_names[instance.image]]
    assert instance.species == name
    np.testing.assert_allclose(instance.box, found.box, atol=1e-5)
    count = len(found.visible)
    np.testing.assert_array_equal(instance.visible[:count], found.visible)
    assert not instance.visible[count:].any()
    np.testing.assert_allclose(
      instance.keypoints[:count][found.visible],
      found.keypoints[found.visible],
      atol=1e-5,
    )
  assert prepare.read_splits(prepared) == {
    "train": _names(0), "validation": _names(5), "unseen": _names(10)
  }  # fmt: skip


def test_the_records_are_those_of_the_folder(tmp_path, source, monkeypatch):
  monkeypatch.setitem(builders.Mp100.OF_SPLIT, NAME, SMALL)
  (tmp_path / "manual").mkdir()
  (tmp_path / "manual" / "mp100").symlink_to(source)
  builder = builders.Mp100(
    config=NAME,
    data_dir=str(tmp_path / "cache"),
    file_format=tfds.core.FileFormat.ARRAY_RECORD,
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(tmp_path / "manual"))
  )
  stored, direct = records.load(builder), read_coco(tmp_path / "cache" / f"{NAME}_coco")
  assert stored.name == NAME and stored.species == direct.species
  assert stored.keypoint_names == direct.keypoint_names
  assert [i.instance_id for i in stored.instances] == [
    i.instance_id for i in direct.instances
  ]
  for one, two in zip(stored.instances, direct.instances):
    np.testing.assert_array_equal(one.keypoints, two.keypoints)
  assert stored.read_image(7) == direct.read_image(7)


def test_the_builder_tells_what_to_get(tmp_path):
  builder = builders.Mp100(config="mp100_split4", data_dir=str(tmp_path))
  with pytest.raises(AssertionError, match="(?s)mp100_split4_test.json.*AFLW.*Terms"):
    builder.download_and_prepare()


def _categories_twice(source):
  path = source / "annotations" / f"{NAME}_val.json"
  content = json.loads(path.read_text())
  content["categories"][0]["name"] = "category 1"
  path.unlink()  # a link to the file of all tests
  path.write_text(json.dumps(content))


FAULTS = {
  f"missing files of MP-100, split 2 of 5: {NAME}_val.json": lambda f: (
    f / "annotations" / f"{NAME}_val.json"
  ).unlink(),
  "two files: .'category 1'.": _categories_twice,
  "1 of 135 images are not in .*: c3/18.png": lambda f: (f / "c3/18.png").unlink(),
}


@pytest.mark.parametrize("message", FAULTS)
def test_faults_stop_it(tmp_path, source, message):
  damaged = shutil.copytree(source, tmp_path / "in", copy_function=os.link)
  FAULTS[message](damaged)
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    prepare.prepare(SMALL, damaged, tmp_path / "out")
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_the_command_knows_all_splits_and_their_counts(source, tmp_path, capsys):
  args = ["--source", str(source), "--out", str(tmp_path / "out")]
  assert main.main(["data", "prepare", NAME, *args]) == 2
  told = capsys.readouterr().err
  assert "15 species, expected 100" in told
  assert "(5, 5, 5) species of train, validation, unseen, expected (70, 10, 20)" in told
  assert "instances" not in told  # their number is not known
  assert len(facts.MP100) == 5


@pytest.fixture
def cfg(prepared, monkeypatch):
  monkeypatch.chdir(prepared.parents[1])
  return importlib.import_module("configs.mp100").get_config("2")


def test_the_experiment_trains_on_pairs_of_the_training_categories(cfg):
  config.validate(cfg)
  dataset = read_coco(cfg.data.path)
  types = keypoint_types.look_up(cfg.data, dataset.keypoint_names)
  parts = splits.split_instances(dataset, cfg.data)
  # A half of one category is gone: it must come as often as the others.
  gone = {i.instance_id for i in parts.train if i.species == "category 0"}
  gone = sorted(gone)[PER_CATEGORY // 2 :]
  train = [i for i in parts.train if i.instance_id not in gone]
  sampler = pools.make_sampler(
    train,
    types.base,
    shots=1,
    queries=1,
    num_slots=len(types.base),
    permutation=np.arange(len(dataset.keypoint_names)),
    cfg=cfg.data,
    seed=0,
    training=True,
  )
  species = {i.instance_id: i.species for i in train}
  drawn = collections.Counter(
    species[int(sampler.plan(i).query.instance[0])] for i in range(400)
  )
  assert {*drawn} == {*_names(0)}
  np.testing.assert_allclose(list(drawn.values()), 80, atol=28)
  assert {i.species for i in parts.unseen} == {*_names(10)}


def test_an_unknown_split_is_told(monkeypatch):
  with pytest.raises(ValueError, match="split '6' of MP-100: choose one of 1, 2, 3"):
    importlib.import_module("configs.mp100").get_config("6")
