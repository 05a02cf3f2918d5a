"""Converts annotated images to the arrays that a network encodes."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from fskd_jax.config import DataConfig
from fskd_jax.data import augment
from fskd_jax.models.kernels import Kernels
from fskd_jax.prediction import batches, photographs, search
from fskd_jax.prediction.photographs import Photograph
from fskd_jax.prediction.support_points import (
  Box,
  Points,
  box_per_image,
  check_points,
  checked_box,
  points_by_name,
  require_list,
)

_log = logging.getLogger(__name__)


class Layout(NamedTuple):
  """The fields of `prior.Places` that come from the support, of one episode."""

  keypoints: Float[np.ndarray, "1 k n 2"]
  visible: Bool[np.ndarray, "1 k n"]
  boxes: Float[np.ndarray, "1 k 2"]


class Support(NamedTuple):
  """The keypoint types to look for, encoded once by `KeypointDetector.support`.

  It can be used in any number of `predict` calls of the detector that made it.

    support = detector.support(["ann.jpg"], [{"nose": (61, 70), "left eye": None}])
    support.names    # ("nose", "left eye")
    support.shown    # array([True, False]): nobody marked an eye

  Attributes:
    names: Names of the n keypoint types.
    shown: Whether some support image shows each type; only these are found.
    places: Keypoints of the k support images relative to the centre of their box, in
      units of its longer side; NaN where not visible. The search estimates the object's
      scale from them.
    kernels: Kernels that the network generated from the types, with the types padded.
    layout: Where the keypoints lie in the support crops, padded like the kernels, and
      the shapes of the support's boxes; the prior compares with them.
  """

  names: tuple[str, ...]
  shown: Bool[np.ndarray, " n"]
  places: Float[np.ndarray, "k n 2"]
  kernels: tuple[Kernels, ...]
  layout: Layout


class Shots(NamedTuple):
  """Annotated images in the form that a network takes.

  Attributes:
    names: Names of the n keypoint types.
    crops: Square crops around the boxes of the k images.
    keypoints: Keypoints in pixels of the crops.
    visible: Whether a keypoint is annotated and lies inside the crop.
    places: The same as `Support.places`.
    boxes: (width, height) of the boxes, pixels of the images.
  """

  names: tuple[str, ...]
  crops: UInt8[np.ndarray, "k l l 3"]
  keypoints: Float[np.ndarray, "k n 2"]
  visible: Bool[np.ndarray, "k n"]
  places: Float[np.ndarray, "k n 2"]
  boxes: Float[np.ndarray, "k 2"]


def prepare(
  images: Sequence[Photograph],
  keypoints: Sequence[Points],
  boxes: Sequence[Box | None] | None,
  names: Sequence[str] | None,
  cfg: DataConfig,
) -> Shots:
  """Reads, checks and crops annotated images; see `KeypointDetector.support`.

  Args:
    images: Annotated images.
    keypoints: Keypoints of each image.
    boxes: Box of the object in each image, or None.
    names: Names of keypoints given as arrays.
    cfg: Size and margin of the crops.

  Raises:
    FileNotFoundError: A file does not exist.
    ValueError: An image cannot be read, or the arguments do not fit together.
  """
  require_list(images, "images")
  labels = [photographs.describe(x, i, "support") for i, x in enumerate(images)]
  if len(keypoints) != len(images):
    raise ValueError(
      f"keypoints: got {len(keypoints)} lists for {len(images)} support images"
    )
  names, points = points_by_name(keypoints, names, labels)
  pixels = [photographs.read(x, label) for x, label in zip(images, labels)]
  sizes = [x.shape[1::-1] for x in pixels]
  given = zip(box_per_image(boxes, len(labels)), sizes, labels)
  known = np.array([checked_box(*row) for row in given], np.float64)
  crops, matrices = batches.cut(pixels, known, cfg)
  visible = np.logical_not(np.isnan(points).any(-1))
  for label, size, row, seen in zip(labels, sizes, points, visible):
    check_points(label, size, row, seen, names)
  placed, inside = augment.place_keypoints(
    points, visible, matrices, np.arange(len(names)), (cfg.image_size, cfg.image_size)
  )
  _warn_of_lost(labels, names, visible & ~inside)
  if not inside.any():
    raise ValueError("boxes: none has a keypoint in the square around it")
  places = search.relative_places(np.where(inside[..., None], points, np.nan), known)
  return Shots(names, crops, placed, inside, places, known[:, 2:])


def _warn_of_lost(
  labels: Sequence[str], names: tuple[str, ...], lost: Bool[np.ndarray, "k n"]
) -> None:
  for label, row in zip(labels, lost):
    if row.any():
      _log.warning(
        "%s: left out because outside the square around the box: %s",
        label,
        ", ".join(np.array(names)[row]),
      )
