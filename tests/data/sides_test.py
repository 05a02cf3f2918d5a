"""Which names are sides: words and letters by themselves, and nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax.data import keypoint_types, sides

PAIRS = (
  "left_eye right_eye, LeftEar RightEar, leftpaw rightpaw, tail.L tail.R",
  "upleft upright, downleft downright",
  "L_eye R_eye, earL earR, shoulder_l shoulder_r, RHip LHip, antTipL antTipR",
  "paw1LH paw1RH, lh rh, L_F_Paw R_F_Paw, FL_hoof FR_hoof, r1 l1",
  "left-elbow right_elbow, eye_left right_eye, l_knee right_knee",
  "lhip rhip, lkne rkne",
  "eyel eyer, earl earr",
  "oreille_gauche oreille_droite, Ohr_links Ohr_rechts",
  "L R",
)
NO_SIDES = (
  "bright upright leg reg lip nose",
  "bright_spot upright_ear blight_spot rightful",
  "a b c d e l m r t",
  "point_a point_b point_c point_d point_l point_r",
)


@pytest.mark.parametrize("text", PAIRS)
def test_sides_of_all_spellings_are_pairs(text):
  pairs = [tuple(pair.split()) for pair in text.split(", ")]
  names = [name for pair in pairs for name in pair] + ["nose", "bright", "aright"]
  found = sides.find(names)
  assert {frozenset(pair) for pair in found.pairs} == {*map(frozenset, pairs)}
  assert not found.alone and not found.doubtful
  expected = np.arange(len(names))
  expected[: 2 * len(pairs)] ^= 1
  assert keypoint_types.flip_permutation(names).tolist() == expected.tolist()


@pytest.mark.parametrize("text", NO_SIDES)
def test_words_that_only_contain_a_side_are_none(text):
  found = sides.find(text.split())
  assert not found.pairs and not found.alone


@pytest.mark.parametrize(
  "names, alone",
  [
    (["left_eye", "nose"], ["left_eye"]),
    (["earR", "nose"], ["earR"]),
    (["L_eye", "R_eye", "L_ear"], ["L_ear"]),
    (["LF_paw", "RF_paw", "LH_paw"], ["LH_paw"]),
    (["L1", "L2", "L3", "lh_value"], []),
  ],
)
def test_a_side_left_alone_is_known(names, alone):
  assert sides.find(names).alone == tuple(alone)


def test_one_pair_glued_to_words_is_only_a_doubt():
  assert sides.find(["lamp", "ramp", "base"]) == ((), (), (("lamp", "ramp"),))


@given(
  st.lists(
    st.tuples(
      st.sampled_from(["", "l", "r", "L", "R", "left", "Right", "bright", "LH"]),
      st.sampled_from(["_", "", " "]),
      st.sampled_from(["eye", "Ear", "hip2", "l", "left"]),
    ).map("".join),
    unique=True,
    max_size=8,
  )
)
def test_pairs_are_disjoint_and_a_mirror_undoes_itself(names):
  found = sides.find(names)
  both = [name for pair in found.pairs for name in pair]
  assert len(both) == len({*both}) and {*both} <= {*names}
  assert not {*both} & {*found.alone}
  for name in names:
    assert sides.mirror_name(sides.mirror_name(name)) == name
  permutation = keypoint_types.flip_permutation(names)
  np.testing.assert_array_equal(permutation[permutation], np.arange(len(names)))
