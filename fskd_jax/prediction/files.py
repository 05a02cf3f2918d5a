"""Writes predictions: a table that grows row by row, and COCO keypoints at the end.

A row of each object is added to predictions.csv as soon as an image is predicted: the
rows survive if the program is killed; an image without objects has a row without
keypoints. Both files hold every coordinate with its confidence; `fskd data convert` and
`--keypoints` read both.
"""

import csv
import dataclasses
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fskd_jax.data import coco_values
from fskd_jax.data.labels import coco, row_names
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.files import append_text, write_json
from fskd_jax.messages import printable
from fskd_jax.prediction.clip_results import ClipResults
from fskd_jax.prediction.journal import JOURNAL
from fskd_jax.prediction.results import Prediction

TABLE, COCO = "predictions.csv", "predictions.json"
SMOOTHED, CLIPS = "smoothed.csv", "clips.json"
FILES = (TABLE, COCO, SMOOTHED, CLIPS)

SPECIES = "object"
"""Category of all predictions."""


def new_folder(
  path: pathlib.Path, others: Sequence[str] = (), *, resume: bool = False
) -> pathlib.Path:
  """Creates a folder for results, or accepts one that holds none.

  Args:
    path: Path of the folder.
    others: Names of further results, beside the tables and the COCO file.
    resume: Whether the results of a run that did not end are accepted, see
      `start_again`.

  Raises:
    ValueError: The folder holds results of an earlier run.
  """
  found = [name for name in (*FILES, *others) if (path / name).exists()]
  is_unfinished = (path / JOURNAL).exists()
  if (found or is_unfinished) and not (resume and is_unfinished):
    what = "did not end: go on with --resume, name" if is_unfinished else "ended: name"
    listed = ", ".join(found or [JOURNAL])
    raise ValueError(
      f"{path} holds the results of an earlier run ({listed}), which {what} another "
      "folder, or remove it"
    )
  path.mkdir(parents=True, exist_ok=True)
  return path


def start_again(folder: pathlib.Path) -> None:
  """Removes the tables of a run that goes on, which its journal makes again."""
  for name in FILES:
    (folder / name).unlink(missing_ok=True)


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

  Attributes:
    images: Number of images and frames added.
    empty: Number of those in which no keypoint is confident enough.
    confident: Number of keypoints that are confident enough.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    names: Sequence[str],
    min_confidence: float | Float[np.ndarray, " n"],
    scope: str = "",
  ):
    """Opens the table.

    Args:
      folder: Folder of both files.
      names: Names of the keypoint types.
      min_confidence: Confidence below which a keypoint has v = 0 in the COCO file, of
        all types or of each.
      scope: What predictions.json says of the confidences, see `Calibration.scope`.

    Raises:
      FileExistsError: The folder holds a table.
    """
    self._folder, self._least, self._scope = folder, min_confidence, scope
    self._names = tuple(map(printable, names))
    self._images: list[LabelledImage] = []
    self._more: list[dict[str, Any]] = []
    self._of_objects: list[dict[str, Any]] = []
    self._confidence: list[Float[np.ndarray, " n"]] = []
    self.images = self.empty = self.confident = 0
    if (folder / TABLE).exists():
      raise FileExistsError(f"{folder / TABLE} is there already")
    parts = ("x", "y", "confidence")
    columns = [f"{name}.{part}" for name in self._names for part in parts]
    about = ["image", "frame", "time", "object", "width", "height"]
    append_row(folder / TABLE, [*about, *columns])

  def __enter__(self) -> "PredictionFiles":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def kept(self, prediction: Prediction) -> Bool[np.ndarray, "r n"]:
    """Returns whether each keypoint is shown by the support and confident enough."""
    return prediction.is_shown() & (prediction.confidence >= self._least)

  def confidences(self) -> Float[np.ndarray, " k"]:
    """Returns the confidences of all keypoints added that the support shows."""
    return np.concatenate([np.empty(0), *self._confidence])

  def add(
    self,
    name: str,
    size: tuple[int, int],
    prediction: Prediction,
    frame: tuple[int, float] | None = None,
    *,
    boxes: Sequence[Sequence[float]] | None = None,
    identities: Sequence[int] | np.ndarray | None = None,
  ) -> None:
    """Adds the objects of one image, with their keypoints moved into it.

    Args:
      name: Name of the file, or of the video.
      size: (width, height) of the image.
      prediction: The objects.
      frame: Number of the frame, from 0, and its time in seconds, where the file is a
        video.
      boxes: (x, y, width, height) of each object, if they were given.
      identities: Numbers of the objects; by default 1, 2, ... in their order.
    """
    name, number = printable(name), "" if frame is None else frame[0]
    time = "" if frame is None else f"{frame[1]:.4f}"
    count = len(prediction)
    identities = [*range(1, count + 1)] if identities is None else identities
    found, kept = inside(prediction, size), self.kept(prediction)
    for row, identity in enumerate(identities):
      cells = [name, number, time, identity, *size, *_cells(found[row])]
      append_row(self._folder / TABLE, cells)
    if not count:
      append_row(self._folder / TABLE, [name, number, time, "", *size])
    self.images, self.empty = self.images + 1, self.empty + (not kept.any())
    self.confident += int(kept.sum())
    self._confidence.append(prediction.confidence[prediction.is_shown()])
    objects = []
    for row, identity in enumerate(identities):
      objects.append(
        self._object(
          found[row], kept[row], size, None if boxes is None else tuple(boxes[row])
        )
      )
      about = _about(found[row], kept[row])
      about |= {} if frame is None else {"track_id": int(identity)}
      self._of_objects.append(about)
    called = name if frame is None else row_names.frame_name(name, frame[0])
    self._images.append(LabelledImage(called, size, tuple(objects)))
    of_frame = {} if frame is None else {"video": name, "frame": number, "time": time}
    self._more.append(of_frame)

  def close(self) -> None:
    """Writes predictions.json with every row added."""
    categories = {SPECIES: Category(self._names)}
    content = coco.content(Labels(tuple(self._images), categories, 0.0))
    for image, more in zip(content["images"], self._more):
      image |= more | ({"time": float(more["time"])} if more else {})
    for annotation, about in zip(content["annotations"], self._of_objects):
      kept = about.pop("kept")
      values = annotation["keypoints"]
      values[2::3] = [v * bool(k) for v, k in zip(values[2::3], kept)]
      annotation["num_keypoints"] = int(kept.sum())
      annotation |= about
    info = {"info": {"description": self._scope}} if self._scope else {}
    write_json(self._folder / COCO, info | content, indent=None)

  def _object(
    self,
    found: Prediction,
    kept: Bool[np.ndarray, " n"],
    size: tuple[int, int],
    box: tuple[float, ...] | None,
  ) -> LabelledObject:
    """Returns one object with a box: given, or made around its keypoints."""
    (points,), (confidence,), (shown,) = (
      found.keypoints, found.confidence, found.is_shown(),
    )  # fmt: skip
    values = zip(self._names, points.tolist(), confidence.tolist(), shown)
    keypoints = {n: Keypoint(*p, confidence=c) for n, p, c, there in values if there}
    around = points[kept] if kept.any() else points[shown]
    box = box or coco_values.box_around([*map(tuple, around.tolist())], size)
    return LabelledObject(keypoints, SPECIES, box)  # pyright: ignore[reportArgumentType]


def write_smoothed(
  path: pathlib.Path, names: Sequence[str], results: ClipResults
) -> None:
  """Appends the smoothed keypoints of a video to a table, which starts with a header.

  The column `sd` is a standard deviation in pixels; the confidence is the measured one,
  blank where the object was not found.
  """
  if not path.exists():
    parts = ("x", "y", "confidence", "sd")
    columns = [f"{printable(name)}.{part}" for name in names for part in parts]
    append_row(path, ["image", "frame", "time", "object", *columns])
  for place, identity, points, deviation, sure in results.smoothed():
    values = np.column_stack([points, sure, deviation]).ravel()
    cells = ["" if np.isnan(value) else f"{value:.4f}" for value in values]
    number, time = results.numbers[place], f"{results.times[place]:.4f}"
    append_row(path, [printable(results.name), number, time, identity, *cells])


def append_row(path: pathlib.Path, cells: Sequence[object]) -> None:
  """Appends a row to a table, in one call to the system."""
  text = io.StringIO(newline="")
  csv.writer(text).writerow(cells)
  append_text(path, text.getvalue())


def _cells(found: Prediction) -> list[str]:
  """Returns x, y and confidence of each keypoint of one object as text."""
  cells = []
  (points,), (confidence,), (shown,) = (
    found.keypoints, found.confidence, found.is_shown(),
  )  # fmt: skip
  for (x, y), sure, is_shown in zip(points, confidence, shown):
    cells += [f"{x:.4f}", f"{y:.4f}", f"{sure:.4f}"] if is_shown else ["", "", ""]
  return cells


def _about(found: Prediction, kept: Bool[np.ndarray, " n"]) -> dict[str, Any]:
  """Returns what predictions.json says of an object beside the COCO keypoints."""
  (confidence,), (covariance,), (shown,) = (
    found.confidence, found.covariance, found.is_shown(),
  )  # fmt: skip
  spread = np.where(shown[:, None], covariance.reshape(-1, 4)[:, [0, 1, 3]], 0)
  return {
    "kept": kept,
    "score": float(confidence[kept].mean().round(4)) if kept.any() else 0.0,
    "covariances": spread.ravel().round(4).tolist(),
  }
