"""Labelled objects in memory: parts, repetitions, and ways between detectors."""

import numpy as np
from helpers import shapes

from fskd_jax.data.annotations import read_coco
from fskd_jax.own_labels import tuning


def test_a_part_shows_the_same_objects(tmp_path):
  dataset = read_coco(shapes.write_folder(tmp_path / "labels", images_per_species=2))
  part = tuning.part(dataset, [7, 3])
  for found, row in zip(part.instances, (7, 3)):
    whole = dataset.instances[row]
    assert part.image_names[found.image] == dataset.image_names[whole.image]
    assert part.read_image(found.image) == dataset.read_image(whole.image)
    np.testing.assert_array_equal(found.keypoints, whole.keypoints)
  assert len(tuning.thinned(dataset, 4).instances) == 4


def test_between_two_detectors_lies_a_straight_way():
  start, end = {"a": np.array([0.0, 2.0])}, {"a": np.array([1.0, 0.0])}
  for share, expected in ((0, [0, 2]), (0.5, [0.5, 1]), (1, [1, 0])):
    np.testing.assert_allclose(tuning.between(start, end, share)["a"], expected)
