"""Detector for the user's own images.

  detector = fskd_jax.load("runs/faces")
  support = detector.support(["ann.jpg"], [{"nose": (61, 70), "left eye": (48, 52)}])
  prediction = detector.predict(support, ["bob.jpg", "eve.png"])

Coordinates are pixel indices of the picture as a viewer shows it, turned as its EXIF
data says: the centre of the first pixel is (0, 0).
"""

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, UInt8

from fskd_jax import geometry
from fskd_jax.data import augment
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.heatmaps import readout
from fskd_jax.models.build import Model
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps
from fskd_jax.models.kernels import Kernels
from fskd_jax.prediction import photographs, search
from fskd_jax.prediction.photographs import Photograph
from fskd_jax.prediction.support_points import (
  Box,
  Points,
  _per_image,
  _query_labels,
  _require_list,
  check_points,
  checked_box,
  points_by_name,
)

_log = logging.getLogger(__name__)

QUERY_BATCH = 8
"""Query images detected together; a single one is detected alone."""


class Support(NamedTuple):
  """What `KeypointDetector.support` made of annotated images.

  Attributes:
    names: of the keypoint types.
    shown: bool [n], which of them at least one support image shows.
    places: [k n 2], where in their box, see `object_search.relative_places`.
    kernels: padded to a few sizes.
  """

  names: tuple[str, ...]
  shown: Bool[np.ndarray, " n"]
  places: Float[np.ndarray, "k n 2"]
  kernels: tuple[Kernels, ...]


class Prediction(NamedTuple):
  """Keypoints found in q query images, in pixels of these images.

  Types that no support image shows are NaN, with confidence 0.

  Attributes:
    keypoints: [q n 2], (x, y).
    confidence: [q n], probability that the keypoint is visible and lies within a
      tenth of the longer box side, 0..1.
    covariance: [q n 2 2], of the location, square pixels.
    names: of the n keypoint types.
  """

  keypoints: Float[np.ndarray, "q n 2"]
  confidence: Float[np.ndarray, "q n"]
  covariance: Float[np.ndarray, "q n 2 2"]
  names: tuple[str, ...]


class Heatmaps(NamedTuple):
  """What a detector sees in q query images.

  Attributes:
    crops: the images as the network gets them.
    heatmaps: of the n keypoint types, fused over strides and kernel sizes.
    keypoints: read out of them, pixels of the crops.
  """

  crops: UInt8[np.ndarray, "q l l 3"]
  heatmaps: Float[np.ndarray, "q n h w"]
  keypoints: Float[np.ndarray, "q n 2"]


class KeypointDetector:
  """A trained detector, ready for anybody's images; `load` makes it."""

  def __init__(self, model: Model, calibrated: Calibration | None = None):
    """Puts a model on the first device.

    Args:
      model: of the few-shot task.
      calibrated: how its confidence was calibrated; without it the confidence is a
        raw score.

    Raises:
      ValueError: the model is of another task.
    """
    cfg = model.config
    if cfg.task != "few_shot":
      raise ValueError(
        f"{cfg.name} was trained for the task {cfg.task!r}; support images are what "
        "few-shot detectors take"
      )
    self.config, self.calibration = cfg, calibrated
    self._side = cfg.data.image_size
    self._variables = jax.device_put(model.variables, jax.local_devices()[0])
    detector = FewShotDetector(cfg.model, self._side)
    temperature = readout.temperature(cfg.loss)

    def encode_support(variables, images, keypoints, visible):
      return detector.apply(
        variables, images, keypoints, visible, method=detector.encode_support
      )

    def detect(variables, images, kernels):
      heatmaps: Any = detector.apply(variables, images, kernels, method=detector.detect)
      fused = fuse_heatmaps(heatmaps)[0]
      stride = self._side / fused.shape[-1]
      return readout.read_out(fused, stride, temperature), fused

    self._encode_support, self._detect = jax.jit(encode_support), jax.jit(detect)
    self._has_warned = False

  def support(
    self,
    images: Sequence[Photograph],
    keypoints: Sequence[Points],
    boxes: Sequence[Box | None] | None = None,
    names: Sequence[str] | None = None,
  ) -> Support:
    """Learns keypoint types from annotated images, once for any number of queries.

    Keypoints by name may differ between images: a name that an image does not have
    counts as not visible there. A keypoint outside the square around a box is left
    out, and the log tells.

    Args:
      images: files, arrays or PIL images, see `photographs.read`.
      keypoints: for each image, {name: point} or n points, see `Points`.
      boxes: (x, y, w, h) of the object in each image; None is the whole image.
      names: of n points; default "keypoint 1" and so on.

    Raises:
      FileNotFoundError, ValueError: an image cannot be read, has no keypoints or one
        outside it, or arguments do not fit together; says which.
    """
    _require_list(images, "images")
    labels = [photographs.describe(x, i, "support") for i, x in enumerate(images)]
    if len(keypoints) != len(images):
      raise ValueError(
        f"keypoints: got {len(keypoints)} lists for {len(images)} support images"
      )
    names, points = points_by_name(keypoints, names, labels)
    pixels = [photographs.read(x, label) for x, label in zip(images, labels)]
    sizes = [x.shape[1::-1] for x in pixels]
    known = np.array(
      [
        checked_box(box, size, label)
        for box, size, label in zip(_per_image(boxes, len(labels)), sizes, labels)
      ],
      np.float64,
    )
    crops, matrices = self._crops(pixels, known)
    visible = np.logical_not(np.isnan(points).any(-1))
    for label, size, row, seen in zip(labels, sizes, points, visible):
      check_points(label, size, row, seen, names)
    placed, inside = augment.place_keypoints(
      points, visible, matrices, np.arange(len(names)), (self._side, self._side)
    )
    for label, lost in zip(labels, visible & ~inside):
      if lost.any():
        _log.warning(
          "%s: left out, since outside the square around the box: %s",
          label,
          ", ".join(np.array(names)[lost]),
        )
    if not inside.any():
      raise ValueError("boxes: none has a keypoint in the square around it")
    shots, types = _power_of_two(len(images), 1), _power_of_two(len(names), 8)
    kernels = self._encode_support(
      self._variables,
      _padded(crops, (shots,))[None],
      _padded(placed, (shots, types))[None],
      _padded(inside, (shots, types))[None],
    )
    places = search.relative_places(np.where(inside[..., None], points, np.nan), known)
    return Support(names, np.asarray(inside.any(0)), places, kernels)

  def predict(
    self,
    support: Support,
    query_images: Sequence[Photograph],
    boxes: Sequence[Box | None] | None = None,
  ) -> Prediction:
    """Finds the keypoint types of the support in other images.

    Args:
      support: of `support`.
      query_images: files, arrays or PIL images, see `photographs.read`.
      boxes: (x, y, w, h) of the object in each image; None if it is to be searched
        for, which costs about ten times as much.

    Raises:
      FileNotFoundError, ValueError: an image cannot be read, or a box is wrong; says
        which.
    """
    labels = _query_labels(query_images)
    boxes = _per_image(boxes, len(labels))
    dispatched = []
    for first in range(0, len(labels), QUERY_BATCH):
      part = slice(first, first + QUERY_BATCH)
      crops, matrices = self._query_crops(
        support, query_images[part], boxes[part], labels[part]
      )
      found, _ = self._run(crops, support)
      dispatched.append((found, matrices))  # the next crops are cut meanwhile
    parts = [self._result(jax.device_get(f), m, support) for f, m in dispatched]
    keypoints, confidence, covariance = map(np.concatenate, zip(*parts))
    return Prediction(keypoints, confidence, covariance, support.names)

  def heatmaps(
    self,
    support: Support,
    query_images: Sequence[Photograph],
    boxes: Sequence[Box | None] | None = None,
  ) -> Heatmaps:
    """Returns what `predict` reads the keypoints from, of at most `QUERY_BATCH` images.

    Raises:
      FileNotFoundError, ValueError: as of `predict`.
    """
    labels = _query_labels(query_images)
    if len(labels) > QUERY_BATCH:
      raise ValueError(
        f"query_images: got {len(labels)}, expected {QUERY_BATCH} at most"
      )
    boxes = _per_image(boxes, len(labels))
    crops, _ = self._query_crops(support, query_images, boxes, labels)
    found, maps = self._run(crops, support)
    count, types = len(crops), len(support.names)
    maps, points = (np.asarray(x)[:count, :types] for x in (maps, found.keypoints))
    return Heatmaps(crops, maps, points)

  def _run(
    self, crops: UInt8[np.ndarray, "q l l 3"], support: Support
  ) -> tuple[readout.Readout, jax.Array]:
    """Starts the network on a batch; returns, with padding, what will be there."""
    size = 1 if len(crops) == 1 else QUERY_BATCH
    return self._detect(self._variables, _padded(crops, (size,))[None], support.kernels)

  def _query_crops(
    self,
    support: Support,
    images: Sequence[Photograph],
    boxes: Sequence[Box | None],
    labels: Sequence[str],
  ) -> tuple[UInt8[np.ndarray, "q l l 3"], Float[np.ndarray, "q 2 3"]]:
    """Reads images, and crops the boxes, given or searched for."""
    pixels = [photographs.read(x, label) for x, label in zip(images, labels)]
    known = np.zeros((len(pixels), 4))
    for i, (box, image, label) in enumerate(zip(boxes, pixels, labels)):
      if box is not None:
        known[i] = checked_box(box, image.shape[1::-1], label)
    missing = [i for i, box in enumerate(boxes) if box is None]
    if missing:
      known[missing] = self._search(support, [pixels[i] for i in missing])
    return self._crops(pixels, known)

  def _search(
    self, support: Support, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]
  ) -> Float[np.ndarray, "q 4"]:
    """Returns a box of the object in each image."""

    def look(numbers, boxes):
      dispatched = []
      for first in range(0, len(boxes), QUERY_BATCH):
        part = slice(first, first + QUERY_BATCH)
        crops, matrices = self._crops([images[i] for i in numbers[part]], boxes[part])
        dispatched.append((self._run(crops, support)[0], matrices))
      parts = [_in_image(jax.device_get(f), m, support) for f, m in dispatched]
      keypoints, _, mass, _ = map(np.concatenate, zip(*parts))
      return keypoints, mass

    return search.find_boxes(
      look,
      [image.shape[1::-1] for image in images],
      support.places,
      self.config.data.crop_margin,
    )

  def _crops(
    self,
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    boxes: Float[np.ndarray, "t 4"],
  ) -> tuple[UInt8[np.ndarray, "t l l 3"], Float[np.ndarray, "t 2 3"]]:
    """Returns the crops of boxes, and their matrices to the images."""
    matrices = augment.evaluation_crops(boxes, self.config.data)
    crops = [photographs.crop(x, m, self._side) for x, m in zip(images, matrices)]
    return np.stack(crops), matrices

  def _result(
    self,
    found: readout.Readout,
    to_original: Float[np.ndarray, "q 2 3"],
    support: Support,
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns keypoints, confidence and covariance, pixels of the original images."""
    keypoints, covariance, mass, peak = _in_image(found, to_original, support)
    if self.calibration is None:
      self._warn_once()
      confidence = mass
    else:
      confidence = self.calibration.confidence(mass, peak)
      covariance = covariance * self.calibration.covariance_scale
    return keypoints, np.where(support.shown, confidence, 0.0), covariance

  def _warn_once(self) -> None:
    if not self._has_warned:
      _log.warning(
        "%s is not calibrated: its confidence is a raw score (evaluate.py calibrates)",
        self.config.name,
      )
      self._has_warned = True


def _in_image(
  found: readout.Readout, to_original: Float[np.ndarray, "q 2 3"], support: Support
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
  """Drops the padding, and goes from crops to the original images.

  Returns:
    The fields of `Readout`; nan for what no support image shows.
  """
  count, types = len(to_original), len(support.names)
  points, spread, *scores = (np.asarray(x)[:count, :types] for x in found)
  matrix = to_original.astype(np.float64)
  linear = matrix[:, None, :, :2]
  fields = geometry.apply_affine(matrix, points), linear @ spread @ linear.mT, *scores
  fields = [field.astype(np.float64) for field in fields]
  for field in fields:
    field[:, ~support.shown] = np.nan
  keypoints, covariance, mass, peak = fields
  return keypoints, covariance, mass, peak


def _power_of_two(count: int, smallest: int) -> int:
  return max(smallest, 1 << (count - 1).bit_length())


def _padded(array: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
  """Fills the first axes up with zeros."""
  missing = [(0, size - there) for size, there in zip(sizes, array.shape)]
  return np.pad(array, missing + [(0, 0)] * (array.ndim - len(sizes)))
