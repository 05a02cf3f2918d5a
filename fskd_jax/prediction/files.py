"""Writes predictions to files: COCO results (JSON) and a table (CSV)."""

import csv
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from fskd_jax.files import written_whole
from fskd_jax.prediction.detector import Prediction


class PredictionFiles:
  """Collects predictions, then writes predictions.json and predictions.csv.

  A keypoint below the least confidence is written as missing: 0, 0 and confidence 0 in
  the JSON file; in the table its coordinates are blank and its confidence stays.
  """

  def __init__(self, names: Sequence[str], min_confidence: float):
    """Prepares empty files.

    Args:
      names: of the keypoint types.
      min_confidence: below it a keypoint is written as missing.
    """
    self._names, self._min_confidence = tuple(names), min_confidence
    self._entries: list[dict[str, Any]] = []
    self._rows: list[list[str]] = []

  def kept(self, prediction: Prediction) -> Bool[np.ndarray, "q n"]:
    """Says which keypoints are confident enough, and shown by the support at all."""
    shown = np.isfinite(prediction.keypoints).all(-1)
    return shown & (prediction.confidence >= self._min_confidence)

  def add(
    self, image_id: int, file: str, prediction: Prediction, frame: int | None = None
  ) -> None:
    """Adds the prediction of a single image.

    Args:
      image_id: its number.
      file: its name.
      prediction: with q = 1.
      frame: number of the frame, from 0, where `file` is a video.
    """
    (kept,) = self.kept(prediction)
    (points,), (confidence,) = prediction.keypoints, prediction.confidence
    (covariance,) = prediction.covariance
    triples = np.where(kept[:, None], np.c_[points, confidence], 0)
    spread = np.where(kept[:, None], covariance.reshape(-1, 4)[:, [0, 1, 3]], 0)
    self._entries.append(
      {
        "image_id": image_id,
        "category_id": 1,
        "keypoints": triples.ravel().round(4).tolist(),
        "score": float(confidence[kept].mean().round(4)) if kept.any() else 0.0,
        "file_name": file,
        **({} if frame is None else {"frame": frame}),
        "covariances": spread.ravel().round(4).tolist(),
      }
    )
    cells = [
      cell
      for point, sure, is_kept in zip(points, confidence, kept)
      for cell in (*((f"{v:.4f}" if is_kept else "") for v in point), f"{sure:.4f}")
    ]
    self._rows.append([file, "" if frame is None else str(frame), *cells])

  def write(self, folder: pathlib.Path) -> None:
    """Writes both files into a folder."""
    with written_whole(folder / "predictions.json") as unfinished:
      unfinished.write_text(json.dumps(self._entries) + "\n", encoding="utf-8")
    columns = [f"{n}.{part}" for n in self._names for part in ("x", "y", "confidence")]
    with (
      written_whole(folder / "predictions.csv") as unfinished,
      unfinished.open("w", newline="", encoding="utf-8") as file,
    ):
      csv.writer(file).writerows([["image", "frame", *columns], *self._rows])
