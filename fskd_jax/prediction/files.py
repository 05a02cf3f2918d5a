"""Writes predictions: a table that grows row by row, and COCO keypoints at the end.

A row is added to predictions.csv as soon as an image is predicted, so the rows survive
if the program is killed. Both files hold every coordinate with its confidence; `fskd
data convert` and `--keypoints` read both.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fskd_jax.data.labels import coco, completion, tables
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.files import append_text, write_json
from fskd_jax.messages import printable
from fskd_jax.prediction.results import Prediction

TABLE, COCO = "predictions.csv", "predictions.json"

SPECIES = "object"
"""Category of all predictions."""


def new_folder(path: pathlib.Path, others: Sequence[str] = ()) -> pathlib.Path:
  """Creates a folder for results, or accepts one that holds none.

  Args:
    path: Path of the folder.
    others: Names of further results, beside the two files.

  Raises:
    ValueError: The folder holds results of an earlier run.
  """
  found = [name for name in (TABLE, COCO, *others) if (path / name).exists()]
  if found:
    raise ValueError(
      f"{path} holds the results of an earlier run ({', '.join(found)}): name another "
      "folder, or remove it"
    )
  path.mkdir(parents=True, exist_ok=True)
  return path


def inside(prediction: Prediction, size: tuple[int, int]) -> Prediction:
  """Moves keypoints beyond the edge of an image to its nearest pixel.

  Args:
    prediction: Objects of one image.
    size: (width, height) of the image.
  """
  limits = np.array(size, np.float64) - 1
  points = np.clip(prediction.keypoints, 0, limits)
  return dataclasses.replace(prediction, keypoints=points)


class PredictionFiles:
  """Writes predictions.csv as they come, and predictions.json when it is closed.

  Types that no support image shows are missing: blank in the table, 0, 0, 0 and null in
  the COCO file.
  """

  def __init__(self, folder: pathlib.Path, names: Sequence[str], min_confidence: float):
    """Opens the table.

    Args:
      folder: Folder of both files.
      names: Names of the keypoint types.
      min_confidence: Confidence below which a keypoint has v = 0 in the COCO file.

    Raises:
      FileExistsError: The folder holds a table.
    """
    self._folder, self._min_confidence = folder, min_confidence
    self._names = tuple(map(printable, names))
    self._images: list[LabelledImage] = []
    self._more: list[tuple[dict[str, Any], dict[str, Any]]] = []
    self._confidence: list[Float[np.ndarray, " n"]] = []
    if (folder / TABLE).exists():
      raise FileExistsError(f"{folder / TABLE} is there already")
    parts = ("x", "y", "confidence")
    columns = [f"{name}.{part}" for name in self._names for part in parts]
    self._write_row(["image", "frame", "width", "height", *columns])

  def __enter__(self) -> "PredictionFiles":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def kept(self, prediction: Prediction) -> Bool[np.ndarray, "r n"]:
    """Returns whether each keypoint is shown by the support and confident enough."""
    return prediction.is_shown() & (prediction.confidence >= self._min_confidence)

  def confidences(self) -> Float[np.ndarray, " k"]:
    """Returns the confidences of all keypoints added that the support shows."""
    return np.concatenate([np.empty(0), *self._confidence])

  def add(
    self,
    name: str,
    size: tuple[int, int],
    prediction: Prediction,
    frame: int | None = None,
    box: Sequence[float] | None = None,
  ) -> None:
    """Adds the prediction of a single object, with its keypoints moved into the image.

    Args:
      name: Name of the file, or of the video.
      size: (width, height) of the image.
      prediction: One object (r = 1).
      frame: Number of the frame, from 0, where the file is a video.
      box: (x, y, width, height) of the object, if it was given.
    """
    name = printable(name)
    (points,), (confidence,) = inside(prediction, size).keypoints, prediction.confidence
    (covariance,), (shown,) = prediction.covariance, prediction.is_shown()
    cells = []
    for (x, y), sure, is_shown in zip(points, confidence, shown):
      cells += [f"{x:.4f}", f"{y:.4f}", f"{sure:.4f}"] if is_shown else ["", "", ""]
    self._write_row([name, "" if frame is None else frame, *size, *cells])
    self._confidence.append(confidence[shown])
    values = zip(self._names, points.tolist(), confidence.tolist(), shown)
    keypoints = {n: Keypoint(*p, confidence=c) for n, p, c, there in values if there}
    self._images.append(
      LabelledImage(
        name if frame is None else tables.frame_name(name, frame),
        size,
        (LabelledObject(keypoints, SPECIES, tuple(box) if box is not None else None),),  # pyright: ignore[reportArgumentType]
      )
    )
    kept = self.kept(prediction)[0]
    spread = np.where(shown[:, None], covariance.reshape(-1, 4)[:, [0, 1, 3]], 0)
    about = {
      "score": float(confidence[kept].mean().round(4)) if kept.any() else 0.0,
      "covariances": spread.ravel().round(4).tolist(),
    }
    self._more.append(({} if frame is None else {"video": name, "frame": frame}, about))

  def close(self) -> None:
    """Writes predictions.json with every row added."""
    categories = {SPECIES: Category(self._names)}
    labels = Labels(tuple(self._images), categories, self._min_confidence)
    boxed = tuple(
      image._replace(
        objects=tuple(completion.with_box(x, image.size, labels) for x in image.objects)
      )
      for image in labels.images
    )
    content = coco.content(labels._replace(images=boxed))
    entries = zip(content["images"], content["annotations"], self._more)
    for image, annotation, (of_image, of_annotation) in entries:
      image |= of_image
      annotation |= of_annotation
    write_json(self._folder / COCO, content, indent=None)

  def _write_row(self, cells: Sequence[object]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    append_text(self._folder / TABLE, text.getvalue())
