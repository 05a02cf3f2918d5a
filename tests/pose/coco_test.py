"""COCO's scores beside slow references."""

import json

import numpy as np
import pytest

from fskd_jax.data.keypoints import COCO_PERSON, COCO_SIGMAS
from fskd_jax.pose import coco

SIGMAS = np.array([0.03, 0.08, 0.1])


def _truth(rng, images=6, persons=3):
  """Annotations of three types, some hidden, some wholly."""
  annotations = []
  for number in range(images * persons):
    points = rng.uniform(0, 200, (3, 2))
    seen = rng.random(3) < (0.0 if number == 4 else 0.8)
    seen[0] |= number != 4
    triples = np.c_[points * seen[:, None], 2 * seen]
    annotations.append(
      {
        "id": number + 1,
        "image_id": number // persons,
        "category_id": 1,
        "bbox": [0.0, 0.0, 200.0, 200.0],
        "area": float(rng.uniform(1500, 20000)),
        "iscrowd": int(number == 7),
        "keypoints": triples.ravel().tolist(),
        "num_keypoints": int(seen.sum()),
      }
    )
  return {
    "images": [{"id": i} for i in range(images)],
    "annotations": annotations,
    "categories": [{"id": 1, "name": "any"}],
  }


def _results(truth, rng, noise):
  found = []
  for entry in truth["annotations"]:
    points = np.reshape(entry["keypoints"], (3, 3))[:, :2]
    points = points + rng.normal(size=(3, 2)) * noise * np.sqrt(entry["area"])
    triples = np.c_[points, np.ones(3)]
    found.append(
      {
        "image_id": entry["image_id"],
        "category_id": 1,
        "keypoints": triples.ravel().tolist(),
        "score": float(rng.random()),
      }
    )
  return found


def _oks(entry, found):
  truth = np.reshape(entry["keypoints"], (3, 3))
  guess = np.reshape(found["keypoints"], (3, 3))
  values = [
    np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * (2 * s) ** 2 * entry["area"]))
    for (x, y, seen), (u, v, _), s in zip(truth, guess, SIGMAS)
    if seen
  ]
  return np.mean(values)


def _is_counted(entry):
  return entry["num_keypoints"] and not entry["iscrowd"]


def slow_average_precision(truth, results, threshold):
  """Greedy matching by score, then precision at 101 recalls."""
  counted = truth["annotations"]
  taken, hits = set(), []
  for found in sorted(results, key=lambda r: -r["score"]):
    candidates = [
      (_oks(entry, found), entry["id"])
      for entry in counted
      if entry["image_id"] == found["image_id"] and entry["id"] not in taken
    ]
    oks, best = max(candidates, default=(0.0, None))
    hits.append(oks >= threshold)
    if oks >= threshold:
      taken.add(best)
  right = np.cumsum(hits)
  precision, recall = right / np.arange(1, len(hits) + 1), right / len(counted)
  at = [precision[recall >= r].max(initial=0.0) for r in np.linspace(0, 1, 101)]
  return np.mean(at)


def test_average_precision_equals_a_slow_reference():
  rng = np.random.default_rng(0)
  truth = _truth(rng)
  # Beside an ignored person a wrong result is not counted; here all are.
  truth["annotations"] = list(filter(_is_counted, truth["annotations"]))
  results = _results(truth, rng, 0.06)
  found = coco.average_precision(truth, results, SIGMAS)
  expected = {
    t: slow_average_precision(truth, results, t) for t in np.arange(0.5, 0.96, 0.05)
  }
  np.testing.assert_allclose(found["AP50"], expected[0.5], atol=1e-6)
  np.testing.assert_allclose(found["AP"], np.mean(list(expected.values())), atol=1e-6)
  assert 0.1 < found["AP"] < 0.9


def test_perfect_is_one_even_if_the_crowd_and_the_hidden_are_found():
  rng = np.random.default_rng(1)
  truth = _truth(rng)
  results = _results(truth, rng, 0.0)
  found = coco.average_precision(truth, results, SIGMAS)
  assert found["AP"] == found["AR"] == 1.0
  for entry in results:
    entry["keypoints"] = np.reshape(entry["keypoints"], (3, 3))[:, [1, 0, 2]]
    entry["keypoints"] = entry["keypoints"].ravel().tolist()
  assert coco.average_precision(truth, results, SIGMAS)["AP"] < 0.2
  assert coco.average_precision(truth, [], SIGMAS)["AP"] == 0.0


def test_near_duplicates_go_and_neighbours_stay():
  rng = np.random.default_rng(2)
  points = rng.uniform(0, 100, (1, 3, 2)) + np.array([0, 0.5, 40, 41])[:, None, None]
  scores, areas = np.array([0.3, 0.9, 0.8, 0.1]), np.full(4, 4000.0)
  assert coco.oks_nms(points, scores, areas, SIGMAS) == [1, 2]
  assert sorted(coco.oks_nms(points, scores, areas / 1e4, SIGMAS)) == [0, 1, 2, 3]


def test_a_persons_score_is_that_of_its_sure_keypoints_times_its_box():
  predicted = np.zeros((3, 3, 3))
  predicted[:, :, :2] = np.arange(9).reshape(3, 3, 1) * 50
  predicted[:, :, 2] = [[0.9, 0.3, 0.1], [0.1, 0.2, 0.0], [1.0, 1.0, 1.0]]
  found = coco.results(
    predicted, [5, 5, 6], [1, 1, 2], [0.5, 0.5, 0.25], np.full(3, 900.0), SIGMAS
  )
  np.testing.assert_allclose([r["score"] for r in found], [0.3, 0.0, 0.25])
  assert [(r["image_id"], r["category_id"]) for r in found] == [(5, 1), (5, 1), (6, 2)]
  assert json.loads(json.dumps(found)) == found
  assert found[2]["keypoints"] == predicted[2].ravel().tolist()


def test_sigmas_are_given_or_known_by_name():
  np.testing.assert_array_equal(coco.oks_sigmas(COCO_PERSON), COCO_SIGMAS)
  assert coco.oks_sigmas(("Left Knee", "head top")).tolist() == [0.087, 0.079]
  assert coco.oks_sigmas(("a", "b"), (0.1, 0.2)).tolist() == [0.1, 0.2]


@pytest.fixture
def folder(tmp_path):
  content = {
    "images": [
      {"id": 3, "file_name": "a.jpg", "width": 9, "height": 9},
      {"id": 9, "file_name": "b.jpg", "width": 9, "height": 9},
    ],
    "categories": [
      {"id": 1, "name": "cat", "keypoints": ["nose", "tail"]},
      {"id": 2, "name": "bird", "keypoints": ["wing", "nose"]},
    ],
    "annotations": [
      {
        "id": 1, "image_id": 3, "category_id": 1, "bbox": [0, 0, 4, 5], "area": 7,
        "keypoints": [1, 2, 2, 3, 4, 1],
      },
      {
        "id": 2, "image_id": 9, "category_id": 2, "bbox": [0, 0, 4, 5],
        "keypoints": [5, 6, 2, 0, 0, 0],
      },
      {"id": 3, "image_id": 3, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
    ],
  }  # fmt: skip
  (tmp_path / "annotations.json").write_text(json.dumps(content))
  (tmp_path / "images").mkdir()
  (tmp_path / "images" / "a.jpg").write_bytes(b"looked for, not read")
  return tmp_path


def test_the_truth_has_the_experiments_types_in_its_order(folder):
  truth = coco.ground_truth(folder, ("wing", "nose"))
  cat, bird, crowd = truth["annotations"]
  assert cat["keypoints"] == [0, 0, 0, 1, 2, 2] and cat["num_keypoints"] == 1
  assert bird["keypoints"] == [5, 6, 2, 0, 0, 0] and bird["category"] == 2
  assert (cat["area"], bird["area"]) == (7, 20)
  assert crowd["iscrowd"] == 1 and crowd["num_keypoints"] == 0
  chosen = coco.ground_truth(folder, ("nose",), {"b.jpg"})
  assert [e["id"] for e in chosen["annotations"]] == [2]
  assert chosen["images"] == [{"id": 9, "file_name": "b.jpg", "width": 9, "height": 9}]
