"""A picture with marks, and `fskd predict` on it, for the trials that need both."""

import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Ended, Place, check, fskd

SIZE = (96, 80)

KEYPOINTS = {"nose": [30.0, 40.0], "tail": [60.0, 20.0], "paw": [48.0, 60.0]}


class Predicting:
  """A support picture with its keypoints, and the run that predicts from it."""

  def __init__(self, place: Place):
    """Draws the picture; trains the run if no class has done so."""
    self._place = place
    self._run = runs.trained(place)
    self.picture = _drawn()
    self.support = place.work / "support.png"
    self.picture.save(self.support)
    self.keypoints = place.work / "keypoints.json"
    self.keypoints.write_text(json.dumps(KEYPOINTS))
    self._count = 0

  def predict(self, *queries: Any, **options: Any) -> tuple[Ended, pathlib.Path]:
    """Runs `fskd predict`.

    Args:
      queries: files or folders.
      options: flags; `keypoints` is the prepared file if it is not given.

    Returns:
      How the command ended, and its folder of results.
    """
    self._count += 1
    out = self._place.work / f"out_{self._count}"
    options = {"keypoints": self.keypoints} | options
    if "boxes" not in options:
      options["whole_images"] = True
    words: list[Any] = ["--workdir", self._run, "--support", self.support]
    for name, value in options.items():
      flag = f"--{name.replace('_', '-')}"
      words += [flag] if value is True else [f"{flag}={value}"]
    return fskd("predict", *words, "--out", out, "--query", *queries), out


def entries(out: pathlib.Path) -> list[dict[str, Any]]:
  """Returns `file_name` and `keypoints` of every prediction in predictions.json."""
  path = out / "predictions.json"
  check(path.exists(), "no predictions.json")
  content = json.loads(path.read_text())
  if isinstance(content, list):  # until 0.1: COCO results with file names
    return content
  names = {image["id"]: image["file_name"] for image in content["images"]}
  return [
    {"file_name": names[found["image_id"]], "keypoints": found["keypoints"]}
    for found in content["annotations"]
  ]


def _drawn() -> Image.Image:
  pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
  picture = Image.fromarray(pixels).resize(SIZE, Image.Resampling.BICUBIC)
  draw = ImageDraw.Draw(picture)
  for (x, y), color in zip(KEYPOINTS.values(), ("red", "lime", "blue")):
    draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=color)
  return picture
