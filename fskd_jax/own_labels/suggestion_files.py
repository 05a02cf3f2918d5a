"""Writes suggested frames: a list, a picture, and points for tools to correct."""

import csv
import io
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.labels import completion, formats
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.files import atomic_path, write_json, write_picture, write_text
from fskd_jax.pictures.marks import Marks, cut_out, draw_marks
from fskd_jax.pictures.predictions import THUMBNAIL, draw_contact_sheet
from fskd_jax.prediction import files, photographs
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.results import Prediction

TOOLS = {
  "label_studio.json": "label-studio",
  "cvat.xml": "cvat",
  "sleap.slp": "slp",
  "deeplabcut": "deeplabcut-project",
  "coco.json": "coco",
}
"""Formats of the predicted points by name of their file or folder."""

LIST, TABLE, SHEET = "suggestions.json", "suggestions.csv", "contact_sheet.png"
NAMES = (LIST, TABLE, SHEET, *TOOLS)

_SHOWN = 60  # frames on the sheet


class Suggestion(NamedTuple):
  """A frame to label.

  Attributes:
    query: The frame.
    size: (width, height), pixels.
    found: Its predicted keypoints, one object.
    confidence: Mean confidence of the prediction, 0..1.
    apart: Distance of its description from the nearest that was labelled or suggested
      before; two descriptions are 2 apart at most.
  """

  query: Query
  size: tuple[int, int]
  found: Prediction
  confidence: float
  apart: float


def write(
  suggested: Sequence[Suggestion], dataset: KeypointDataset, folder: pathlib.Path
) -> None:
  """Writes all files of a folder.

  SLEAP's file is left out where sleap-io is not installed.

  Args:
    suggested: The frames, the most useful first.
    dataset: The labels that were there, for names and skeleton.
    folder: The folder.
  """
  rows = [
    {
      "image": x.query.name,
      "confidence": round(x.confidence, 4),
      "apart": round(x.apart, 4),
    }
    for x in suggested
  ]
  write_json(folder / LIST, {"suggestions": rows})
  text = io.StringIO(newline="")
  table = csv.DictWriter(text, ["image", "confidence", "apart"])
  table.writeheader()
  table.writerows(rows)
  write_text(folder / TABLE, text.getvalue())
  if not suggested:
    return
  pictures = [(x.query.name, _thumbnail(x, dataset)) for x in suggested[:_SHOWN]]
  write_picture(folder / SHEET, draw_contact_sheet(pictures, dataset.keypoint_names))
  labels = labels_of(suggested, dataset)
  first = suggested[0].query
  depth = len(pathlib.PurePosixPath(first.name).parts)
  root = pathlib.Path(os.path.abspath(first.path)).parents[depth - 1]
  for name, kind in TOOLS.items():
    out = folder / name
    try:
      with atomic_path(out) as unfinished:
        formats.FORMATS[kind].write(labels, unfinished, out)
        formats.link_images(labels, kind, root, unfinished, out)
    except ImportError:  # sleap-io is an extra
      continue


def labels_of(suggested: Sequence[Suggestion], dataset: KeypointDataset) -> Labels:
  """Returns the predicted points as labels that a machine placed."""
  names = dataset.keypoint_names
  species = dataset.species[0]
  skeleton = tuple((names[a], names[b]) for a, b in dataset.skeleton)
  images = []
  labels = Labels((), {species: Category(names, skeleton)}, least_confidence=0.0)
  for frame in suggested:
    found = files.inside(frame.found, frame.size)
    points = {
      name: Keypoint(float(x), float(y), confidence=float(sure))
      for name, (x, y), sure in zip(names, found.keypoints[0], found.confidence[0])
      if np.isfinite(x)
    }
    marked = LabelledObject(points, species)
    marked = completion.with_box(marked, frame.size, labels)
    images.append(LabelledImage(frame.query.name, frame.size, (marked,)))
  return labels._replace(images=tuple(images))


def _thumbnail(frame: Suggestion, dataset: KeypointDataset):
  marks = Marks(
    title=frame.query.name,
    image=photographs.read(frame.query.path, frame.query.name),
    keypoints=files.inside(frame.found, frame.size).keypoints[0],
    filled=frame.found.confidence[0] >= 0.5,
    skeleton=dataset.skeleton,
    box=tuple(frame.found.box[0].tolist()),
  )
  return draw_marks(cut_out(marks), THUMBNAIL)
