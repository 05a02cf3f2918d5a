"""Labelled objects as supports and queries of a detector."""

import functools
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int, UInt8

from fskd_jax.data import images
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.data.splits import with_groups
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.photographs import Decoded
from fskd_jax.prediction.results import Prediction
from fskd_jax.prediction.supports import Support

_CACHED = 64
"""Number of decoded images that are kept."""


class Examples:
  """The labelled objects of a data set, one a row.

  Attributes:
    dataset: The data set.
    instances: Its objects.
    names: Names of the n keypoint types.
  """

  def __init__(self, dataset: KeypointDataset):
    """Opens the objects; images are decoded when they are needed."""
    self.dataset, self.instances = dataset, dataset.instances
    self.names = dataset.keypoint_names
    self._pixels = functools.lru_cache(maxsize=_CACHED)(self._decode)

  def pixels(self, row: int) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the image of an object, RGB."""
    return self._pixels(self.instances[row].image)

  def image_name(self, row: int) -> str:
    """Returns the name of the image of an object."""
    return self.dataset.image_names[self.instances[row].image]

  def points(self, row: int) -> Float[np.ndarray, "n 2"]:
    """Returns the labels of an object, pixels; NaN where there is none."""
    return labels_of(self.instances[row])

  def side(self, row: int) -> float:
    """Returns the longer side of the box of an object, pixels."""
    return max(self.instances[row].box[2:])

  def support(
    self, detector: KeypointDetector, rows: Iterable[int], points: dict | None = None
  ) -> Support:
    """Encodes objects as the support.

    Args:
      detector: The detector.
      rows: Numbers of the objects.
      points: Other labels than its own by number of an object, [n 2] each.
    """
    rows, points = [*rows], points or {}
    return detector.support(
      self._photographs(rows),
      [points.get(row, self.points(row)) for row in rows],
      [self.instances[row].box for row in rows],
      names=self.names,
    )

  def predict(
    self, detector: KeypointDetector, support: Support, rows: Sequence[int]
  ) -> Prediction:
    """Predicts objects in their given boxes, row for row."""
    boxes = [self.instances[row].box for row in rows]
    return detector.predict(support, self._photographs(rows), boxes)

  def distances(
    self, found: Prediction, rows: Sequence[int]
  ) -> Float[np.ndarray, "r n"]:
    """Returns distances from the labels in units of the longer side of the box.

    NaN where there is no label, or the support shows no such type.
    """
    offsets = found.keypoints - np.stack([self.points(row) for row in rows])
    sides = np.array([self.side(row) for row in rows])
    return np.linalg.norm(offsets, axis=-1) / sides[:, None]

  def _photographs(self, rows: Iterable[int]) -> list[Decoded]:
    return [Decoded(self.image_name(row), self.pixels(row)) for row in rows]

  def _decode(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
    name = self.dataset.image_names[number]
    return images.decode(self.dataset.read_image(number), name, 0)


def labels_of(instance: Instance) -> Float[np.ndarray, "n 2"]:
  """Returns the labels of an object, pixels; NaN where there is none."""
  return np.where(instance.visible[:, None], instance.keypoints, np.nan)


def units(dataset: KeypointDataset, pattern: str) -> Int[np.ndarray, " i"]:
  """Returns the number of the clip, or else of the image, of each object.

  Args:
    dataset: The labelled images.
    pattern: Regular expression of the clip in the names of images, or "".
  """
  found = [i.group or i.image for i in with_groups(dataset, pattern)]
  numbers = {unit: number for number, unit in enumerate(dict.fromkeys(found))}
  return np.array([numbers[unit] for unit in found])
