"""Thresholds by name, and the names of keypoints."""

import pytest

from fskd_jax.prediction.thresholds import Thresholds, split_names

NAMES = ["nose", "tail, base", "tail"]


@pytest.mark.parametrize(
  "text, values",
  [
    ("0.3", [0.3, 0.3, 0.3]),
    ("tail=0.6,0.2", [0.2, 0.2, 0.6]),
    ("0.2,tail=0.6", [0.2, 0.2, 0.6]),
    ("tail, base=0.1", [0.5, 0.1, 0.5]),
    ("nose=1,tail, base=0.1,0.25", [1.0, 0.1, 0.25]),
  ],
)
def test_a_name_has_its_own_threshold(text, values):
  thresholds = Thresholds.parse(text)
  assert thresholds.per_type(NAMES).tolist() == values
  assert Thresholds.parse(str(thresholds)) == thresholds


@pytest.mark.parametrize(
  "text", ["", "2", "tail", "tail=2", "0.1,0.2", "0.1,tail", "nan"]
)
def test_other_texts_are_refused(text):
  with pytest.raises(ValueError, match="expected a probability"):
    Thresholds.parse(text)


def test_all_unknown_names_are_in_one_message():
  with pytest.raises(ValueError, match="shows 'nos', 'leg'.*mean 'nose'.*'tail, base'"):
    split_names(["nos,tail", "leg"], NAMES)
  with pytest.raises(ValueError, match="min_confidence: no support image shows 'leg'"):
    Thresholds.parse("leg=0.2").per_type(NAMES)


def test_names_may_have_commas():
  assert split_names(["tail, nose", "tail, base"], NAMES) == [
    "tail",
    "nose",
    "tail, base",
  ]
