"""Episodes of one image: the same points in every view."""

import dataclasses

import numpy as np
import pytest

from fskd_jax import geometry
from fskd_jax.config import DataConfig, SelfSupervisedConfig, TrainConfig
from fskd_jax.data.annotations import Instance
from fskd_jax.episode import all_views, valid_queries
from fskd_jax.few_shot import self_supervision

BOX = (60.0, 40.0, 100.0, 50.0)
SIZE = (240, 180)


def _sampler(slots=12, **fields):
  instances = [
    Instance(
      instance_id=5 + i,
      image=i,
      image_size=SIZE,
      species="thing",
      box=BOX,
      keypoints=np.zeros((0, 2), np.float32),
      visible=np.zeros(0, bool),
    )
    for i in range(4)
  ]
  own = SelfSupervisedConfig(share=1.0, **fields)
  cfg = DataConfig(image_size=64, slots=slots, self_supervised=own)
  train = TrainConfig(shots=1, queries=3)
  return self_supervision.make_sampler(instances, cfg, train, first_id=30)


def _originals(views):
  """Returns the visible points in pixels of the image, nan elsewhere: [t n 2]."""
  points = geometry.apply_affine(views.to_original.astype(float), views.keypoints)
  return np.where(views.visible[..., None], points, np.nan)


@pytest.mark.parametrize("region", ["box", "image"])
def test_a_point_is_the_same_place_of_the_image_in_all_views(region):
  sampler = _sampler(region=region, flip_probability=0.5)
  mirrored, shown = set(), 0
  for index in range(40):
    plan = sampler.plan(index)
    views = all_views(plan)
    assert len({*views.images.tolist()}) == len({*views.instance.tolist()}) == 1
    points = _originals(views)
    middle = np.nanmean(points, axis=0, keepdims=True)
    assert np.nanmax(abs(points - middle)) < 2e-3
    assert (views.visible.sum(0) != 1).all()
    assert ((views.keypoints >= -0.5) & (views.keypoints <= 63.5)).all()
    found = middle[0][~np.isnan(middle[0, :, 0])]
    assert ((found >= -1e-3) & (found <= np.array(SIZE) - 1 + 1e-3)).all()
    mirrored.update(np.sign(np.linalg.det(views.to_original[:, :, :2])).tolist())
    shown += valid_queries(plan).sum()
  assert mirrored == {-1.0, 1.0}
  assert shown > 0.5 * 40 * 3 * 12


def test_views_differ_by_what_was_asked_for():
  still = {
    "flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "tilt_degrees": 0.0,
    "scale_range": (1.0, 1.0),
    "shift": 0.0,
  }
  matrices = all_views(_sampler(**still).plan(0)).to_original
  np.testing.assert_array_equal(matrices, matrices[:1].repeat(4, axis=0))
  for field, value in (
    ("rotation_degrees", 45.0),
    ("tilt_degrees", 40.0),
    ("scale_range", (0.6, 1.4)),
    ("shift", 0.2),
  ):
    matrices = all_views(_sampler(**(still | {field: value})).plan(0)).to_original
    assert len(np.unique(matrices.round(4), axis=0)) == 4, field


def test_hard_negatives_stand_close_to_another_point():
  def nearest(share):
    distances = []
    for index in range(60):
      plan = _sampler(hard_negatives=share, flip_probability=0.0).plan(index)
      points = np.nanmean(_originals(all_views(plan)), axis=0)
      points = points[~np.isnan(points[:, 0])]
      apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
      distances += (apart + 1e9 * np.eye(len(apart))).min(1).tolist()
    return np.median(distances)

  assert nearest(0.7) < 0.75 * nearest(0.0)


def test_no_two_episodes_share_an_id_and_none_is_that_of_a_type():
  sampler, period = _sampler(), self_supervision.ID_PERIOD
  ids = [sampler.plan(i).keypoint_ids for i in (0, 1, 2, period - 1)]
  flat = np.concatenate(ids)
  assert len({*flat.tolist()}) == len(flat) and flat.min() >= 30
  largest = dataclasses.replace(sampler, slots=1000).plan(period - 1).keypoint_ids
  assert largest.min() > 0  # no overflow
