"""Checks labels, and writes what is doubtful as a list and a picture."""

import os
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from fskd_jax.data.any_labels import read_dataset
from fskd_jax.few_shot import recipe
from fskd_jax.files import write_json, write_picture
from fskd_jax.own_labels import checking, cross_prediction
from fskd_jax.own_labels.checking import Doubt
from fskd_jax.own_labels.cross_prediction import Expected
from fskd_jax.own_labels.examples import Examples, units
from fskd_jax.pictures.marks import Marks, draw_marks
from fskd_jax.pictures.predictions import THUMBNAIL, draw_contact_sheet
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.load import load
from fskd_jax.prediction.run_labels import trained_on

LIST, SHEET = "doubts.json", "doubts.png"

_SHOWN = 30  # doubts on the sheet


def check(
  labels: str | os.PathLike | None,
  out: str | os.PathLike,
  *,
  detector: KeypointDetector | str | os.PathLike | None = None,
  progress: Callable[[Iterable], Iterable] = lambda x: x,
) -> list[Doubt]:
  """Returns labels that are probably wrong, and writes doubts.json and doubts.png.

  In the picture dots are the labels in doubt, and rings where they are expected.

  Args:
    labels: File or folder of labels; None is what the detector was trained on by
      `train_on_labels` or `adapt`.
    out: Folder for the results, which are replaced.
    detector: A detector, or the path that `load` takes; None is the detector that
      comes with the package.
    progress: Wrapper of the iterable of predictions.

  Returns:
    The doubts, most probable first.

  Raises:
    FileNotFoundError: The labels or the detector are missing.
    ValueError: They cannot be read, are all of one image or clip, or are not named.
  """
  if not isinstance(detector, KeypointDetector):
    detector = load(detector)
  examples = Examples(read_dataset(labels or trained_on(detector.config.data)))
  of_clips = units(examples.dataset, recipe.clips(examples.dataset))
  expected = cross_prediction.expect(detector, examples, of_clips, progress=progress)
  found = checking.doubts(examples, expected)
  folder = pathlib.Path(out)
  rows = [
    {key: value for key, value in doubt._asdict().items() if key != "row"}
    for doubt in found
  ]
  write_json(folder / LIST, {"labels": len(examples.instances), "doubts": rows})
  if found:
    pictures = [_drawn(examples, expected, doubt) for doubt in found[:_SHOWN]]
    write_picture(folder / SHEET, draw_contact_sheet(pictures))
  return found


def _drawn(
  examples: Examples, expected: Expected, doubt: Doubt
) -> tuple[str, Image.Image]:
  """Returns the title and the picture of a doubt: the object and a margin."""
  x, y, width, height = examples.instances[doubt.row].box
  margin = 0.3 * max(width, height)
  image = examples.pixels(doubt.row)
  left, top = int(max(x - margin, 0)), int(max(y - margin, 0))
  right, bottom = int(x + width + margin) + 1, int(y + height + margin) + 1
  which = [examples.names.index(name) for name in doubt.keypoints]
  labels = examples.points(doubt.row)[which]
  points = np.concatenate([labels, expected.center(doubt.row)[which]])
  marks = Marks(
    title=doubt.image,
    image=np.ascontiguousarray(image[top:bottom, left:right]),
    keypoints=points - [left, top],
    filled=np.arange(len(points)) < len(which),
  )
  return f"{doubt.probability:.0%} {doubt.text}", draw_marks(marks, THUMBNAIL)
