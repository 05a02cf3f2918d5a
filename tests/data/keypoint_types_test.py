"""Numbers of keypoint types: in the vocabulary, in the mirror, between two others."""

import numpy as np
import pytest

from fskd_jax.config import DataConfig
from fskd_jax.data import keypoint_types

NAMES = ("nose", "left eye", "right eye", "Left_Ear", "Right_Ear", "left horn")


def test_left_and_right_change_places_by_name():
  permutation = keypoint_types.flip_permutation(NAMES)
  assert permutation.tolist() == [0, 2, 1, 4, 3, 5]
  np.testing.assert_array_equal(permutation[permutation], np.arange(6))


def test_explicit_pairs_replace_the_names_altogether():
  permutation = keypoint_types.flip_permutation(NAMES, [("nose", "left horn")])
  assert permutation.tolist() == [5, 1, 2, 3, 4, 0]


@pytest.mark.parametrize(
  "pairs, message",
  [
    ([("nose", "tail")], "'tail'"),
    ([("nose", "left eye"), ("left eye", "right eye")], "repeated"),
    ([("nose", "nose")], "repeated"),
  ],
)
def test_wrong_flip_pairs_are_refused(pairs, message):
  with pytest.raises(ValueError, match=message):
    keypoint_types.flip_permutation(NAMES, pairs)


def test_keypoint_ids_follow_the_order_asked_for():
  assert keypoint_types.keypoint_ids(["right eye", "nose"], NAMES).tolist() == [2, 0]


def test_an_unknown_keypoint_is_answered_with_close_matches():
  with pytest.raises(ValueError, match=r"'left eyes' \(close: \['left eye'"):
    keypoint_types.keypoint_ids(["nose", "left eyes"], NAMES)


def test_keypoint_types_numbers_paths_first_and_knots_within():
  cfg = DataConfig(
    base=("nose", "left eye", "right eye"),
    novel=("left horn",),
    auxiliary_paths=(("nose", "left eye"), ("right eye", "nose")),
    auxiliary_knots=(0.25, 0.5),
  )
  types = keypoint_types.look_up(cfg, NAMES)
  assert types.base.tolist() == [0, 1, 2] and types.novel.tolist() == [5]
  assert types.auxiliary.ends.tolist() == [[0, 1], [0, 1], [2, 0], [2, 0]]
  assert types.auxiliary.knots.tolist() == [0.25, 0.5, 0.25, 0.5]


def test_no_paths_give_empty_auxiliary_types():
  types = keypoint_types.look_up(DataConfig(base=("nose",)), NAMES)
  assert types.auxiliary.ends.shape == (0, 2) and types.auxiliary.knots.shape == (0,)


@pytest.mark.parametrize(
  "fields, message",
  [
    ({"base": ("nose",), "novel": ("nose",)}, r"both base and novel: \['nose'\]"),
    ({"base": ("nose",), "auxiliary_paths": (("nose", "left eye"),)}, "left eye"),
    ({"base": ("nose", "beak")}, "beak"),
  ],
)
def test_wrong_keypoint_lists_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    keypoint_types.look_up(DataConfig(**fields), NAMES)
