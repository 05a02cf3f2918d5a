"""Object keypoint similarity, and what is left without duplicates."""

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fskd_jax.tracking import similarity


def test_it_is_the_similarity_of_coco():
  rng = np.random.default_rng(0)
  side = 40.0
  one = rng.uniform(10, 50, (1, 5, 2))
  other = one + rng.normal(0, 4, (3, 5, 2))
  coco = COCO()
  coco.dataset = {
    "images": [{"id": 1}],
    "categories": [{"id": 1, "keypoints": list("abcde")}],
    "annotations": [
      {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 5}
      | {"bbox": [0, 0, side, side], "area": side**2}
      | {"keypoints": np.c_[one[0], np.full(5, 2)].ravel().tolist()}
    ],
  }
  coco.createIndex()
  found = [
    {"image_id": 1, "category_id": 1, "score": 1 - i / 10}
    | {"keypoints": np.c_[points, np.ones(5)].ravel().tolist()}
    for i, points in enumerate(other)
  ]
  evaluation = COCOeval(coco, coco.loadRes(found), "keypoints")
  evaluation.params.kpt_oks_sigmas = np.full(5, similarity.TOLERANCE / 2)
  evaluation._prepare()
  expected = evaluation.computeOks(1, 1)[:, 0]
  near = similarity.similarity(one, other, np.array([side]))
  np.testing.assert_allclose(near[0], expected, rtol=1e-6)


def test_missing_keypoints_do_not_count():
  points = np.array([[(0.0, 0), (5, 5)], [(0, 0), (np.nan, np.nan)]])
  near = similarity.similarity(points, points, np.array([10.0, 10]))
  np.testing.assert_array_equal(near, 1)
  nothing = np.full((1, 2, 2), np.nan)
  np.testing.assert_array_equal(similarity.similarity(nothing, points, np.ones(1)), 0)


def test_of_duplicates_the_best_stays():
  rng = np.random.default_rng(1)
  centers = np.array([[0.0, 0], [100, 0], [0, 100]])
  objects = centers[:, None] + rng.uniform(-10, 10, (3, 6, 2))
  every = np.concatenate([objects, objects + rng.normal(0, 0.3, objects.shape)])
  scores = np.array([0.9, 0.2, 0.5, 0.3, 0.8, 0.5])
  kept = similarity.distinct(every, scores, np.full(6, 20.0))
  assert kept.tolist() == [0, 4, 2]  # best first; of equal ones the first


def test_an_object_made_of_two_neighbours_goes():
  rng = np.random.default_rng(2)
  one = rng.uniform(0, 20, (6, 2))
  other = one + [25, 0]
  mixed = np.where(np.arange(6)[:, None] < 3, one, other)
  every = np.stack([mixed, one, other])
  kept = similarity.distinct(every, np.array([0.5, 0.9, 0.8]), np.full(3, 20.0))
  assert kept.tolist() == [1, 2]
