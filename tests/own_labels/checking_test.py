"""Faults that are put into labels are found, and nothing else is doubted."""

import warnings

import numpy as np
import pytest

from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.own_labels import checking
from fskd_jax.own_labels.cross_prediction import Expected
from fskd_jax.own_labels.examples import Examples

NAMES = ("left eye", "right eye", "left ear", "right ear", "nose")
PLACES = np.array([(30, 40), (60, 40), (20, 20), (70, 20), (45, 60)], float)


def _examples(labels, images=None):
  """Objects of these labels, NaN being none, in images of their own."""
  images = images or range(len(labels))
  instances = tuple(
    Instance(
      instance_id=100 + row,
      image=image,
      image_size=(100, 100),
      species="head",
      box=(0.0, 0.0, 100.0, 100.0),
      keypoints=np.nan_to_num(points),
      visible=np.isfinite(points).all(-1),
    )
    for row, (points, image) in enumerate(zip(labels, images))
  )
  return Examples(
    KeypointDataset(
      name="heads",
      keypoint_names=NAMES,
      skeleton=(),
      species=("head",),
      instances=instances,
      image_names=tuple(f"{i}.png" for i in range(len(labels))),
      read_image=lambda number: b"",
    )
  )


def _expected(count, trust=0.95):
  """Two predictions at the places, each with an error of 2 pixels."""
  points = np.stack([np.tile(PLACES + step, (count, 1, 1)) for step in (-1.0, 1.0)])
  spread = np.broadcast_to(4.0 * np.eye(2), (*points.shape, 2))
  sure = np.full(points.shape[:-1], trust)
  return Expected(points, spread, sure, np.full(count, 100.0**2))


def test_each_fault_is_named_and_good_labels_are_not():
  rng = np.random.default_rng(0)
  labels = PLACES + rng.normal(0, 1.5, (6, 5, 2))
  labels[0, [0, 1]] = labels[0, [1, 0]]
  labels[1, [0, 1, 2, 3]] = labels[1, [1, 0, 3, 2]]
  labels[2, 4] = (90, 90)
  labels[3, 2], labels[3, 3] = PLACES[3], np.nan
  labels[4, 0] = labels[4, 1]
  found = checking.doubts(_examples(labels), _expected(6))
  told = {(d.object, d.kind, d.keypoints) for d in found}
  assert told == {
    (100, checking.SWAPPED, ("left eye", "right eye")),
    (101, checking.SWAPPED, ("left eye", "right eye", "left ear", "right ear")),
    (102, checking.FAR, ("nose",)),
    (103, checking.OTHER, ("left ear",)),
    (104, checking.TWICE, ("left eye",)),
  }
  assert [d.probability for d in found] == sorted(d.probability for d in found)[::-1]
  (nose,) = (d for d in found if d.kind == checking.FAR)
  assert nose.distance == pytest.approx(np.linalg.norm([44, 29]) / 2, abs=0.1)


def test_predictions_that_are_not_trusted_raise_no_doubt():
  labels = np.stack([PLACES, PLACES])
  labels[0, 4] = (90, 90)
  assert not checking.doubts(_examples(labels), _expected(2, trust=0.3))


def test_a_name_that_one_object_alone_has_is_told_apart_from_what_it_stands_for():
  labels = np.tile(PLACES, (3, 1, 1))
  labels[0, 4] = np.nan  # its nose is called otherwise, as by a slip of the keyboard
  labels[1:, 2], labels[0, 2] = np.nan, PLACES[4]
  expected = _expected(3)
  points, spread = expected.points.copy(), expected.spread.copy()
  points[:, 0, 2] = spread[:, 0, 2] = np.nan
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    found = checking.doubts(
      _examples(labels), expected._replace(points=points, spread=spread)
    )
  (odd,) = found
  assert (odd.object, odd.kind, odd.keypoints) == (100, checking.OTHER, ("left ear",))
  assert odd.text == "left ear seems to be nose" and odd.distance is None


def test_an_object_labelled_twice_is_found():
  labels = np.stack([PLACES, PLACES + 20, PLACES + 0.1])
  found = checking.doubts(_examples(labels, images=[0, 0, 0]), _expected(3, trust=0.3))
  assert [(d.kind, d.object) for d in found] == [(checking.TWICE, 102)]
  assert "object 100" in found[0].text


def test_the_density_of_labels_integrates_to_one():
  expected = _expected(1)
  x, y = np.meshgrid(np.arange(-0.5, 100), np.arange(-0.5, 100))
  places = np.stack([x.ravel(), y.ravel()], -1)
  total = np.exp(expected.log_density(0, places)).sum(0)
  np.testing.assert_allclose(total, 1, atol=0.02)
