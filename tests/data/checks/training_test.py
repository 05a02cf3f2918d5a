"""What a training is told before it starts."""

import dataclasses

import pytest

from fskd_jax.config import DataConfig
from fskd_jax.data import annotations
from fskd_jax.data.checks import training


@pytest.fixture
def dataset(shapes_folder):
  return annotations.read_coco(shapes_folder)


def _named(dataset, *names):
  rest = dataset.keypoint_names[len(names) :]
  return dataclasses.replace(dataset, keypoint_names=(*names, *rest))


def test_nothing_is_told_of_a_sound_data_set(dataset):
  assert not [*training.doubts(dataset, DataConfig())]


def test_sides_left_alone_are_told_once_where_images_are_mirrored(dataset):
  lone = _named(dataset, "earR", "leye", "reye")
  (told,) = training.doubts(lone, DataConfig())
  assert "2 keypoint names" in told and "earR, leye = reye" in told
  assert not [*training.doubts(lone, DataConfig(flip_probability=0.0))]
  pairs = (("leye", "reye"),)
  assert not [*training.doubts(lone, DataConfig(flip_pairs=pairs))]
