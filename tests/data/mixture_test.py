"""Data sets side by side: common numbers, and nothing lost on the way."""

import dataclasses

import numpy as np
import pytest

from fskd_jax.data import mixture
from fskd_jax.data.annotations import read_coco


@pytest.fixture(scope="module")
def datasets(shapes_folder):
  first = read_coco(shapes_folder)
  names = ("top", "right", "bottom", "left", "middle")
  return {"one": first, "two": dataclasses.replace(first, keypoint_names=names)}


def test_every_source_keeps_its_labels_and_pixels_under_common_numbers(datasets):
  found = mixture.combine(datasets, {})
  assert found.whole.keypoint_names[:2] == ("one/north", "one/east")
  assert len(found.whole.keypoint_names) == 10
  by_id = {instance.instance_id: instance for instance in found.whole.instances}
  assert len(by_id) == sum(len(d.instances) for d in datasets.values())
  for name, dataset in datasets.items():
    part, ids = found.parts[name], found.type_ids[name]
    assert part.keypoint_names == dataset.keypoint_names
    for own, numbered in zip(dataset.instances, part.instances, strict=True):
      assert part.read_image(numbered.image) == dataset.read_image(own.image)
      assert part.image_names[numbered.image] == dataset.image_names[own.image]
      whole = by_id[numbered.instance_id]
      assert whole.species == f"{name}/{own.species}" and whole.image == numbered.image
      np.testing.assert_array_equal(whole.keypoints[ids], own.keypoints)
      np.testing.assert_array_equal(whole.visible[ids], own.visible)
      assert whole.visible.sum() == own.visible.sum()


def test_types_are_the_same_where_an_alias_says_so_and_nowhere_else(datasets):
  one = {"one": datasets["one"], "again": datasets["one"]}
  found = mixture.combine(one, {})
  assert not {*found.type_ids["one"]} & {*found.type_ids["again"]}
  aliases = {"one": [("north", "top")], "two": [("top", "top"), ("left", "top left")]}
  found = mixture.combine(datasets, aliases)
  shared = {*found.type_ids["one"].tolist()} & {*found.type_ids["two"].tolist()}
  assert [found.whole.keypoint_names[i] for i in shared] == ["top"]
  assert found.type_ids["two"].tolist()[0] == found.type_ids["one"].tolist()[0]
  with pytest.raises(ValueError, match=r"data.mixture.one.aliases: .*'nort' \(close"):
    mixture.combine(datasets, {"one": [("nort", "top")]})
