"""The published data sets: facts, every accepted layout, and every broken one."""

import dataclasses
import importlib
import json
import pathlib
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from fskd_jax import config
from fskd_jax.cli import main
from fskd_jax.data import keypoint_types, sources, splits
from fskd_jax.data.annotations import read_coco
from fskd_jax.data.builders import cub_keypoints, records
from fskd_jax.data.published import facts, prepare
from fskd_jax.data.published.facts import PUBLISHED

BIRDS = [facts.CUB, facts.NABIRDS]
# keypoint types, base, novel, flip pairs; docs/algorithm.md#data-sets
COUNTS = {
  "animal_pose": (20, 11, 6, 8),
  "awa_pose": (39, 19, 6, 13),
  "cub_keypoints": (15, 10, 5, 3),
  "nabirds_keypoints": (11, 7, 4, 2),
}
# by index, as the original has them, and the pair that it forgets
AWA_FLIPS = """
  4-3 10-5 11-6 12-7 13-8 14-9 24-27 25-29 26-28 30-35 31-34 32-33 38-37
""".split()


def picture(path, number):
  """Writes an image of its own size, and returns (width, height)."""
  size = (40 + number % 7, 30 + number % 5)
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, (number, 0, 0)).save(path)
  return size


def flat(num_types, number):
  """Keypoints within the image; type i of animal n lies at x = i, y = n."""
  return [v for i in range(num_types) for v in (i, number % 30, (i + number) % 3 and 2)]


def species_of(published):
  """The species of every file of a small tree."""
  if published.name == "animal_pose":
    return {"all": published.species}
  if published.name == "awa_pose":
    return {"train": ("antelope", "bobcat"), "unseen": published.unseen_species}
  return {"train": ("a", "b"), "validation": ("c",), "unseen": ("d",)}


def small(published, splits=None):
  """The data set with the numbers of a small tree: two images per species."""
  sizes = splits or {"animal_pose": (4, 0, 1), "awa_pose": (2, 0, 10)}.get(
    published.name, (2, 1, 1)
  )
  count = 2 * sum(sizes)
  return dataclasses.replace(
    published, instances=count, images=count, classes=sum(sizes), split_sizes=sizes
  )


def write_coco(published, folder, *, below="", short=False):
  """Two images of each species; numbers start at 1 in every file."""
  names = published.short_names if short else published.keypoint_names
  total = 0
  for split, species in species_of(published).items():
    content = {"images": [], "annotations": [], "categories": []}
    for number, name in enumerate(species, start=1):
      content["categories"].append(
        {"id": number, "name": name, "keypoints": list(names), "skeleton": []}
      )
      for _ in range(2):
        image = len(content["images"]) + 1
        file_name = f"{name}/{total}.png"
        width, height = picture(
          folder / published.image_folders[0] / file_name, total := total + 1
        )
        content["images"].append(
          {"id": image, "file_name": file_name, "width": width, "height": height}
        )
        content["annotations"].append(
          {
            "id": image,
            "image_id": image,
            "category_id": number,
            "bbox": [1, 2, 20, 10],
            "keypoints": flat(len(names), total),
          }
        )
    path = folder / below / published.files[split]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
  return folder


def write_text(published, folder, num_classes):
  """Two images of each class; class numbers go up by 3, listed from the last."""
  (folder / "parts").mkdir(parents=True)
  numbers = [1 + 3 * i for i in range(num_classes)]
  start = 1 if published is facts.CUB else 0
  tables = {name: [] for name in ("images", "labels", "boxes", "locs")}
  for i, number in enumerate(numbers[::-1] * 2):
    image, name = f"id-{i}", f"{number:03}/{i}.png"
    picture(folder / "images" / name, i)
    tables["images"].append(f"{image} {name}")
    tables["labels"].append(f"{image} {number}")
    tables["boxes"].append(f"{image} 1.0 2.0 20.0 10.0")
    values = flat(len(published.keypoint_names), i)
    for part, (x, y, v) in enumerate(zip(*[iter(values)] * 3)):
      tables["locs"].append(f"{image} {part + start} {x}.0 {y}.0 {int(v > 0)}")
  classes = ["0 Birds", *(f"{n} Kind no. {n}" for n in numbers)]
  lines = {
    "images.txt": tables["images"],
    "image_class_labels.txt": tables["labels"],
    "bounding_boxes.txt": tables["boxes"],
    "parts/part_locs.txt": tables["locs"],
    "parts/parts.txt": [
      f"{i + start} {name}" for i, name in enumerate(published.keypoint_names)
    ],
    "classes.txt": classes,
  }
  if published.has_hierarchy:
    lines["hierarchy.txt"] = [f"{n} 0" for n in numbers]
  for name, table in lines.items():
    (folder / name).write_text("\n".join(table) + "\n")
  return folder


def edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_names_and_pairs_are_those_of_the_source(published):
  names = published.keypoint_names
  types, base, novel, pairs = COUNTS[published.name]
  assert len(names) == len({*names}) == types
  assert (len(published.base), len(published.novel)) == (base, novel)
  assert not {*published.base} & {*published.novel}
  assert {*published.base, *published.novel} <= {*names}
  assert len(published.flip_pairs) == pairs
  assert all({*path} <= {*published.base} for path in published.auxiliary_paths)
  assert len(published.auxiliary_paths) == 6
  # Written out by hand, the pairs are still all names that differ by their side.
  np.testing.assert_array_equal(
    keypoint_types.flip_permutation(names, published.flip_pairs),
    keypoint_types.flip_permutation(names),
  )
  assert not published.short_names or len({*published.short_names}) == types
  assert sum(published.split_sizes) == published.classes


def test_facts_of_single_data_sets():
  animal, awa = facts.ANIMAL_POSE, facts.AWA_POSE
  assert (animal.keypoint_names[10], animal.short_names[10]) == (
    "left-back leg",
    "l_b_leg",
  )
  by_index = {frozenset(map(awa.keypoint_names.index, pair)) for pair in awa.flip_pairs}
  assert by_index == {frozenset(map(int, pair.split("-"))) for pair in AWA_FLIPS}
  assert [awa.keypoint_names[i] for i in (28, 29, 30)] == [
    "front_right_paw",
    "front_right_knee",
    "back_left_knee",
  ]
  assert (animal.instances, animal.images) == (6_117, 4_666)
  assert [p.images for p in (awa, *BIRDS)] == [10_064, 11_788, 48_562]
  assert [p.split_sizes for p in (awa, *BIRDS)] == [
    (25, 0, 10),
    (100, 50, 50),
    (333, 111, 111),
  ]


@pytest.mark.parametrize("below", ["", "annotations", "gt_coco"])
@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_the_authors_files(published, below, tmp_path):
  source = write_coco(published, tmp_path / "in", below=below)
  release = prepare.prepare(small(published), source, tmp_path / "out" / "data")
  dataset = read_coco(tmp_path / "out" / "data")
  assert dataset.keypoint_names == published.keypoint_names
  assert len(dataset.instances) == len(release.animals) == small(published).instances
  for i, name in enumerate(dataset.image_names):
    path = source / published.image_folders[0] / name
    assert dataset.read_image(i) == path.read_bytes()
    assert (tmp_path / "out" / "data" / "images" / name).samefile(path)
  for instance in dataset.instances:
    number = int(pathlib.Path(dataset.image_names[instance.image]).stem) + 1
    values = np.reshape(flat(len(published.keypoint_names), number), (-1, 3))
    np.testing.assert_array_equal(instance.visible, values[:, 2] > 0)
    np.testing.assert_array_equal(
      instance.keypoints, np.where(values[:, 2:] > 0, values[:, :2], 0)
    )
    assert dataset.image_names[instance.image].startswith(instance.species + "/")
  written = prepare.read_splits(tmp_path / "out" / "data")
  groups = {key: {*value} for key, value in species_of(published).items()}
  if "all" in groups:
    groups = {"train": groups["all"] - {"dog"}, "unseen": {"dog"}}
  assert {k: {*v} for k, v in written.items()} == {"validation": set()} | groups


def test_short_names_become_the_full_ones(tmp_path):
  published = facts.ANIMAL_POSE
  source = write_coco(published, tmp_path / "in", short=True)
  prepare.prepare(small(published), source, tmp_path / "out")
  assert read_coco(tmp_path / "out").keypoint_names == published.keypoint_names


@pytest.mark.parametrize("published", BIRDS, ids=["cub", "nabirds"])
def test_the_text_release(published, tmp_path):
  # Numbers 1, 4, 7, ..., so that 10 comes before 4 where they sort as text.
  num, sizes = (8, (4, 2, 2)) if published is facts.CUB else (10, (6, 2, 2))
  source = write_text(published, tmp_path / "in", num)
  prepare.prepare(small(published, splits=sizes), source, tmp_path / "out")
  dataset = read_coco(tmp_path / "out")
  names = [f"Kind no. {1 + 3 * i}" for i in range(num)]
  assert dataset.species == tuple(names)
  places = {
    "cub_keypoints": {"train": (1, 3, 5, 7), "validation": (0, 4), "unseen": (2, 6)},
    "nabirds_keypoints": {
      "train": (0, 1, 2, 5, 6, 7),
      "validation": (3, 8),
      "unseen": (4, 9),
    },
  }[published.name]
  assert prepare.read_splits(tmp_path / "out") == {
    split: tuple(names[i] for i in numbers) for split, numbers in places.items()
  }
  assert len(dataset.instances) == 2 * num
  for instance in dataset.instances:
    file_name = pathlib.Path(dataset.image_names[instance.image])
    assert instance.species == f"Kind no. {int(file_name.parent.name)}"
    assert instance.box == (1, 2, 20, 10)
    values = np.reshape(
      flat(len(published.keypoint_names), int(file_name.stem)), (-1, 3)
    )
    np.testing.assert_array_equal(instance.visible, values[:, 2] > 0)
    np.testing.assert_array_equal(
      instance.keypoints, np.where(values[:, 2:] > 0, values[:, :2], 0)
    )
  parents = json.loads((tmp_path / "out" / "annotations.json").read_text())
  expected = "Birds" if published.has_hierarchy else "bird"
  assert {c["supercategory"] for c in parents["categories"]} == {expected}


def test_equal_names_of_classes_get_their_numbers(tmp_path):
  source = write_text(facts.NABIRDS, tmp_path / "in", 5)
  path = source / "classes.txt"
  path.write_text(path.read_text().replace("Kind no. 4\n", "Kind no. 1\n"))
  prepare.prepare(small(facts.NABIRDS, splits=(3, 1, 1)), source, tmp_path / "out")
  species = read_coco(tmp_path / "out").species
  assert species[:3] == ("Kind no. 1 (1)", "Kind no. 1 (4)", "Kind no. 7")


TEXT_FAULTS = {
  "missing files of NABirds: bounding_boxes.txt, parts/parts.txt": lambda f: [
    (f / name).unlink() for name in ("parts/parts.txt", "bounding_boxes.txt")
  ],
  "missing files of NABirds: hierarchy.txt": lambda f: (f / "hierarchy.txt").unlink(),
  "missing files of NABirds: images/": lambda f: (f / "images").rename(f / "pictures"),
  "line 1 is 'id-0', expected 2": ("images.txt", "id-0 013/0.png", "id-0"),
  "id-1 occurs more than once": ("image_class_labels.txt", "id-0 ", "id-1 "),
  "unknown classes .'99'.": ("image_class_labels.txt", "id-0 13", "id-0 99"),
  "'013/0.png' has no box": ("bounding_boxes.txt", "id-0 ", "id-x "),
  "'nan'.*expected 4 numbers": ("bounding_boxes.txt", "id-0 1.0", "id-0 nan"),
  "unknown image or part: id-0 77": ("parts/part_locs.txt", "id-0 1 ", "id-0 77 "),
  "the parts are .'beak', 'crown'": ("parts/parts.txt", "bill", "beak"),
  r"classes \['13'\] have no parent": ("hierarchy.txt", "13 0", "13 5"),
  "1 of 10 images are not in .*: 013/0.png": lambda f: (
    f / "images/013/0.png"
  ).unlink(),
  "1 images in .* cannot be read: 013/0.png": lambda f: (
    f / "images/013/0.png"
  ).write_text("no image"),
  "made: 1 boxes": ("bounding_boxes.txt", "20.0 10.0", "0.0 10.0"),
}


@pytest.mark.parametrize("message", TEXT_FAULTS)
def test_faults_of_a_text_release(message, tmp_path):
  source, change = write_text(facts.NABIRDS, tmp_path / "in", 5), TEXT_FAULTS[message]
  if callable(change):
    change(source)
  else:
    name, old, new = change
    text = (source / name).read_text()
    assert old in text
    (source / name).write_text(text.replace(old, new, 1))
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    prepare.prepare(small(facts.NABIRDS, splits=(3, 1, 1)), source, tmp_path / "out")
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


def _rename_species(content):
  content["categories"][0]["name"] = "zebra"


COCO_FAULTS = {
  "missing files of CUB-200-2011: cub_split_val.json": ("cub_split_val.json", None),
  "image 'a/0.png' is in another split too": (
    "cub_split_val.json",
    lambda c: c["images"][0].update(file_name="a/0.png"),
  ),
  "species in more than one split: .'a'.": (
    "cub_split_val.json",
    lambda c: c["categories"][0].update(name="a"),
  ),
  "7 instances, expected 8;": (
    "cub_split_val.json",
    lambda c: c["annotations"].pop(),
  ),
  "CUB-200-2011: 7 images, expected 8": (
    "cub_split_val.json",
    lambda c: (
      c["images"].pop(),
      c["annotations"][1].update(image_id=1),
    ),
  ),
  "category 'a' has the keypoints": (
    "cub_split_train.json",
    lambda c: c["categories"][0]["keypoints"].reverse(),
  ),
  "category_id is 9, which is not in the file": (
    "cub_split_test.json",
    lambda c: c["annotations"][0].update(category_id=9),
  ),
  r"a/0.png is \(41, 31\), annotated as \(99, 31\)": (
    "cub_split_train.json",
    lambda c: c["images"][0].update(width=99),
  ),
  "whose path leads out of the folder of the images": (
    "cub_split_train.json",
    lambda c: c["images"][0].update(file_name="../x.png"),
  ),
}


@pytest.mark.parametrize("message", COCO_FAULTS)
def test_faults_of_the_authors_files(message, tmp_path):
  source = write_coco(facts.CUB, tmp_path / "in")
  name, change = COCO_FAULTS[message]
  edit(source / name, change) if change else (source / name).unlink()
  with pytest.raises((ValueError, FileNotFoundError), match=message):
    prepare.prepare(small(facts.CUB), source, tmp_path / "out")
  assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_wrong_species_wrong_counts_and_missing_images(tmp_path):
  published = facts.ANIMAL_POSE
  source = write_coco(published, tmp_path / "in")
  with pytest.raises(
    ValueError, match="10 instances, expected 6117; 10 images, expect"
  ):
    prepare.prepare(published, source, tmp_path / "out")
  (source / "images").rename(source / "photos")
  with pytest.raises(FileNotFoundError, match="no folder images with the images"):
    prepare.prepare(small(published), source, tmp_path / "out")
  edit(source / "animal_pose_dataset.json", _rename_species)
  (source / "photos").rename(source / "images")
  with pytest.raises(ValueError, match="'zebra'.*expected .'cat'"):
    prepare.prepare(small(published), source, tmp_path / "out")
  awa = write_coco(facts.AWA_POSE, tmp_path / "awa")
  edit(awa / "AwAPose_split_test.json", lambda c: c["categories"][0].update(name="cat"))
  with pytest.raises(ValueError, match="test species .'cat'.*expected .'cow'"):
    prepare.prepare(small(facts.AWA_POSE), awa, tmp_path / "out")


def test_folders_that_hold_none_of_it(tmp_path):
  with pytest.raises(FileNotFoundError, match="no folder .*; expected AwA-Pose"):
    prepare.prepare(facts.AWA_POSE, tmp_path / "in", tmp_path / "out")
  (tmp_path / "in" / "Annotations").mkdir(parents=True)
  with pytest.raises(FileNotFoundError, match="CUB.*cub_split_train.json.*text files"):
    prepare.prepare(facts.CUB, tmp_path / "in", tmp_path / "out")
  (tmp_path / "in" / "Annotations" / "cow.pickle").write_bytes(b"cos\nsystem\n.")
  with pytest.raises(
    FileNotFoundError, match="cow.pickle is a pickle.*never loaded.*AwAPose_split_train"
  ):
    prepare.prepare(facts.AWA_POSE, tmp_path / "in", tmp_path / "out")
  with pytest.raises(FileNotFoundError, match="splits.json.*fskd data prepare"):
    prepare.read_splits(tmp_path)


def test_only_pickles_of_the_release_are_spoken_of(tmp_path):
  (tmp_path / "x.pickle").write_bytes(b"")
  with pytest.raises(FileNotFoundError, match="holds no Animal Pose: expected animal_"):
    prepare.prepare(facts.ANIMAL_POSE, tmp_path, tmp_path / "out")


def test_nothing_there_is_written_over(tmp_path):
  source = write_coco(facts.CUB, tmp_path / "in")
  (tmp_path / "out").mkdir()
  with pytest.raises(ValueError, match="out exists already; name a new folder"):
    prepare.prepare(small(facts.CUB), source, tmp_path / "out")


def test_images_are_copied_where_links_fail(tmp_path, monkeypatch):
  def refuse(*_):
    raise OSError("another file system")

  monkeypatch.setattr(prepare.os, "link", refuse)
  source = write_coco(facts.CUB, tmp_path / "in")
  prepare.prepare(small(facts.CUB), source, tmp_path / "out")
  path = tmp_path / "out" / "images" / "a" / "0.png"
  assert path.read_bytes() == (source / "images" / "a" / "0.png").read_bytes()
  assert not path.samefile(source / "images" / "a" / "0.png")


def test_the_command(tmp_path, monkeypatch, capsys):
  monkeypatch.setitem(PUBLISHED, "cub_keypoints", small(facts.CUB))
  source, out = write_coco(facts.CUB, tmp_path / "in"), tmp_path / "out"
  args = [
    "data",
    "prepare",
    "cub_keypoints",
    "--source",
    str(source),
    "--out",
    str(out),
  ]
  assert main.main(args) == 0
  text = capsys.readouterr().out
  assert "8 instances in 8 images, 4 species: train 2 species / 4 instances" in text
  assert "Terms: non-commercial" in text and "Wah et al." in text
  assert main.main(args) == 2
  assert capsys.readouterr().err == f"fskd: {out} exists already; name a new folder\n"


@pytest.mark.slow
@pytest.mark.parametrize("published", PUBLISHED.values(), ids=PUBLISHED.keys())
def test_the_builders(published, tmp_path, monkeypatch):
  importlib.import_module(f"fskd_jax.data.builders.{published.name}")  # registers it
  builder_class: Any = tfds.builder_cls(published.name)
  assert published.files[min(published.files)] in (
    builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
  )
  monkeypatch.setattr(builder_class, "PUBLISHED", small(published))
  write_coco(published, tmp_path / "manual" / published.name)
  builder = builder_class(
    data_dir=str(tmp_path / "cache"), file_format=tfds.core.FileFormat.ARRAY_RECORD
  )
  builder.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(tmp_path / "manual"))
  )
  stored = records.load(builder_class(data_dir=str(tmp_path / "cache")))
  direct = read_coco(tmp_path / "cache" / f"{published.name}_coco")
  assert stored.species == direct.species and stored.name == published.name
  assert stored.keypoint_names == published.keypoint_names
  assert stored.image_names == direct.image_names
  assert [i.species for i in stored.instances] == [i.species for i in direct.instances]
  assert stored.read_image(3) == direct.read_image(3)


def test_a_builder_without_files_tells_what_to_get(tmp_path):
  builder = cub_keypoints.CubKeypoints(data_dir=str(tmp_path))
  with pytest.raises(AssertionError, match="(?s)cub_split_train.json.*Terms: non-comm"):
    builder.download_and_prepare()


@pytest.mark.parametrize("name", ["animal_pose", "awa_pose", "cub", "nabirds"])
def test_experiments(name, tmp_path, monkeypatch):
  published = PUBLISHED[name if name.endswith("pose") else f"{name}_keypoints"]
  source, out = write_coco(published, tmp_path / "in"), tmp_path / "out"
  written = prepare.prepare(small(published), source, out).splits
  module = importlib.import_module(f"configs.{name}")
  cfg = module.get_config(*([] if name.endswith("pose") else [str(out)]))
  config.validate(cfg)
  assert (cfg.data.unseen_species, cfg.data.validation_species) == (
    written["unseen"],
    written["validation"],
  )
  cfg.data.path, cfg.data.executor = str(out), "resident"
  dataset = sources.load_dataset(cfg.data)
  parts = splits.split_instances(dataset, cfg.data)
  assert {i.species for i in parts.train} == {*written["train"]}
  assert {i.species for i in parts.unseen} == {*written["unseen"]}
  types = keypoint_types.look_up(cfg.data, dataset.keypoint_names)
  assert len(types.base) == len(published.base)
  assert (cfg.train.shots, cfg.eval.shots) == (1, 1)
  if name == "animal_pose":
    assert module.get_config("cat").data.unseen_species == ("cat",)
    with pytest.raises(ValueError, match="'fox': choose one of cat, dog"):
      module.get_config("fox")
