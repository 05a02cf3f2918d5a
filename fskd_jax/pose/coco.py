"""COCO results of pose estimation: OKS suppression and average precision.

pycocotools computes the precision. Its ground truth comes from the annotation file
itself, including the crowds that training leaves out.
"""

import contextlib
import io
import pathlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fskd_jax.data import any_labels, coco_file, coco_variants
from fskd_jax.data.keypoints import COCO_PERSON, COCO_SIGMAS
from fskd_jax.messages import naming

OTHER_SIGMA = 0.079
"""OKS sigma of types that COCO does not know; CrowdPose uses it for head and neck."""

MIN_SCORE = 0.2
"""Lowest score of keypoints that enter a person's score (docs/transpose.md#oks-ap)."""

NMS_THRESHOLD = 0.9
"""OKS above which two persons count as one (docs/transpose.md#oks-ap)."""

SUMMARY = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")
"""Names of the numbers that pycocotools reports for keypoints, in its order."""


def oks_sigmas(
  names: Sequence[str], given: Sequence[float] = ()
) -> Float[np.ndarray, " n"]:
  """Returns the OKS sigmas of keypoint types: given, COCO's by name, or the default."""
  if given:
    return np.array(given, np.float64)
  known = dict(zip(COCO_PERSON, COCO_SIGMAS))
  found = [known.get(name.lower().replace(" ", "_"), OTHER_SIGMA) for name in names]
  return np.array(found, np.float64)


def ground_truth(
  folder: pathlib.Path,
  keypoint_names: Sequence[str],
  image_names: Collection[str] | None = None,
) -> dict[str, Any]:
  """Reads the annotations in the form that pycocotools takes as ground truth.

  Args:
    folder: A folder or file of labels (`any_labels`), checked when it was opened.
    keypoint_names: The keypoint types, in this order. An annotation that shows none of
      them is ignored, not counted as missed.
    image_names: The file names of the images to keep; all by default.

  Returns:
    A COCO data set. Its annotations have the id and the category of the file, but all
    are evaluated as one category, so that the species in an image compete.
  """
  with naming(folder):  # its crowds are not checked yet
    entries = any_labels.locate(folder).entries
    return _ground_truth(entries, keypoint_names, image_names)


def _ground_truth(
  content: coco_variants.Standard,
  keypoint_names: Sequence[str],
  image_names: Collection[str] | None,
) -> dict[str, Any]:
  images = [
    image
    for image in content.images
    if image_names is None or image["file_name"] in image_names
  ]
  used = {image["id"] for image in images}
  places = {
    category["id"]: [
      category["keypoints"].index(name) if name in category["keypoints"] else -1
      for name in keypoint_names
    ]
    for category in content.categories
  }
  annotations = []
  for entry in content.annotations:
    if entry["image_id"] not in used:
      continue
    values = np.asarray(entry.get("keypoints") or [], np.float64).reshape(-1, 3)
    # The additional row stands for types that the category lacks, and for all types of
    # a crowd, which may have no keypoints.
    place = places[entry["category_id"]] if len(values) else [-1] * len(keypoint_names)
    values = np.concatenate([values, np.zeros((1, 3))])[place]
    _, _, width, height = entry["bbox"]
    numbers = [*entry["bbox"], entry.get("area", 0), entry.get("iscrowd", 0)]
    if not coco_file.are_finite(numbers) or not np.isfinite(values).all():
      raise ValueError(
        f"annotation {entry['id']}: bbox, keypoints, area and iscrowd must be finite "
        "numbers"
      )
    annotations.append(
      {
        "id": entry["id"],
        "image_id": entry["image_id"],
        "category_id": 1,
        "category": entry["category_id"],
        "bbox": entry["bbox"],
        "area": entry.get("area", width * height),
        "iscrowd": entry.get("iscrowd", 0),
        "keypoints": values.ravel().tolist(),
        "num_keypoints": int((values[:, 2] > 0).sum()),
      }
    )
  return {
    "images": images,
    "annotations": annotations,
    "categories": [{"id": 1, "name": "any"}],
  }


def results(
  predicted: Float[np.ndarray, "p n 3"],
  image_ids: Sequence[int],
  category_ids: Sequence[int],
  box_scores: Sequence[float],
  areas: Float[np.ndarray, " p"],
  sigmas: Float[np.ndarray, " n"],
) -> list[dict[str, Any]]:
  """Returns predictions in COCO's result format, without near-duplicates.

  Args:
    predicted: (x, y, score) in pixels of the original images.
    image_ids: The ids of the images in the annotation file.
    category_ids: The ids of the categories in the annotation file.
    box_scores: The scores of the boxes that the persons were predicted in.
    areas: The areas of the crops, in square pixels of the original images.
    sigmas: The OKS sigmas, as returned by `oks_sigmas`.
  """
  sure = predicted[..., 2] > MIN_SCORE
  scores = (predicted[..., 2] * sure).sum(1) / np.maximum(sure.sum(1), 1)
  scores = scores * np.asarray(box_scores)
  images = np.asarray(image_ids)
  kept = []
  for image in np.unique(images):
    rows = np.flatnonzero(images == image)
    points = predicted[rows, :, :2]
    kept += rows[oks_nms(points, scores[rows], areas[rows], sigmas)].tolist()
  return [
    {
      "image_id": int(image_ids[row]),
      "category_id": int(category_ids[row]),
      "keypoints": predicted[row].astype(float).round(3).ravel().tolist(),
      "score": float(scores[row]),
    }
    for row in sorted(kept)
  ]


def oks_nms(
  points: Float[np.ndarray, "p n 2"],
  scores: Float[np.ndarray, " p"],
  areas: Float[np.ndarray, " p"],
  sigmas: Float[np.ndarray, " n"],
) -> list[int]:
  """Returns the rows that are not near-duplicates of a row with a higher score."""
  kept: list[int] = []
  for row in np.argsort(-scores, kind="stable").tolist():
    squares = np.square(points[kept] - points[row]).sum(-1)  # [kept n]
    area = (areas[kept] + areas[row]) / 2
    oks = np.exp(-squares / (2 * (2 * sigmas) ** 2 * area[:, None])).mean(1)
    if not (oks > NMS_THRESHOLD).any():
      kept.append(row)
  return kept


def average_precision(
  truth: Mapping[str, Any],
  found: Sequence[Mapping[str, Any]],
  sigmas: Float[np.ndarray, " n"],
) -> dict[str, float | None]:
  """Scores results with pycocotools.

  Args:
    truth: The annotations, as returned by `ground_truth`.
    found: The predictions, as returned by `results`.
    sigmas: The OKS sigmas, as returned by `oks_sigmas`.

  Returns:
    The scores by the names in `SUMMARY`; None where no person is of that size.
  """
  if not found:
    return dict.fromkeys(SUMMARY, 0.0)
  with contextlib.redirect_stdout(io.StringIO()):  # it prints as it goes
    expected: Any = COCO()
    expected.dataset = {**truth}
    expected.createIndex()
    detected = expected.loadRes([{**entry, "category_id": 1} for entry in found])
    evaluation = COCOeval(expected, detected, "keypoints")
    evaluation.params.kpt_oks_sigmas = sigmas
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
  return {
    name: None if value < 0 else float(value)
    for name, value in zip(SUMMARY, evaluation.stats)
  }
