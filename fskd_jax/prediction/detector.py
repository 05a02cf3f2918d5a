"""Detector for the user's own images.

  detector = fskd_jax.load("runs/faces")
  support = detector.support(["ann.jpg"], [{"nose": (61, 70), "left eye": (48, 52)}])
  prediction = detector.predict(support, ["bob.jpg", "eve.png"])

Coordinates are pixel indices of the picture as a viewer shows it, turned as its EXIF
data says: the centre of the first pixel is (0, 0).
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.models.build import Model
from fskd_jax.prediction import batches, photographs, search, supports
from fskd_jax.prediction.batches import QUERY_BATCH, padded, power_of_two
from fskd_jax.prediction.network import Network
from fskd_jax.prediction.objects import find_objects
from fskd_jax.prediction.photographs import Photograph
from fskd_jax.prediction.results import Heatmaps, Prediction
from fskd_jax.prediction.rows import Boxes, Rows, placed
from fskd_jax.prediction.support_points import (
  Box,
  Points,
  box_per_image,
  require_list,
)
from fskd_jax.prediction.supports import Layout, Support


class KeypointDetector:
  """A trained few-shot detector for the user's own images; `load` returns one.

    detector = fskd_jax.load("runs/faces")
    support = detector.support(["ann.jpg"], [{"nose": (61, 70)}], [(20, 10, 90, 110)])
    prediction = detector.predict(support, ["bob.jpg", "eve.png"])
    prediction.keypoints    # [2 1 2]: (x, y) of the nose in both images
    detector.heatmaps(support, ["bob.jpg"]).heatmaps    # [1 1 h w]

  Attributes:
    config: Configuration of the run that trained it.
    calibration: Calibration of its confidence, or None: confidence is a raw score then.
  """

  def __init__(self, model: Model, calibrated: Calibration | None = None):
    """Puts a model on the first device.

    Args:
      model: Configuration and variables of a few-shot detector.
      calibrated: Calibration of its confidence; without it the confidence is a raw
        score.

    Raises:
      ValueError: The model was trained for another task.
    """
    cfg = model.config
    if cfg.task != "few_shot":
      raise ValueError(
        f"{cfg.name} was trained for the task {cfg.task!r}; support images are what "
        "few-shot detectors take"
      )
    self.config, self.calibration = cfg, calibrated
    self._network = Network(model, calibrated)

  def with_variables(self, variables: Mapping[str, Any]) -> "KeypointDetector":
    """Returns a detector with other variables, which shares the compiled programs."""
    other = copy.copy(self)
    other._network = self._network.with_variables(variables)
    return other

  def support(
    self,
    images: Sequence[Photograph],
    keypoints: Sequence[Points],
    boxes: Sequence[Box | None] | None = None,
    names: Sequence[str] | None = None,
  ) -> Support:
    """Encodes the keypoint types of k annotated images, for any number of queries.

    Images may have different keypoint names: a name that an image lacks counts as not
    visible there. A keypoint outside the square around its box is left out with a
    warning.

    Args:
      images: Files, arrays or PIL images, see `photographs.read`.
      keypoints: Keypoints of each image, pixels: {name: (x, y)} or an array [n 2] (or
        [n 3] with a visibility); None, NaN or v = 0 for those that are not visible.
      boxes: (x, y, width, height) of the object in each image, pixels; None is the
        whole image.
      names: Names of the n points, if `keypoints` are arrays; by default "keypoint 1"
        and so on.

    Returns:
      The support for `predict` and `heatmaps`.

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: An image cannot be read, has no keypoints or one outside it, or the
        arguments do not fit together. The message names the image.
    """
    shots = supports.prepare(images, keypoints, boxes, names, self.config.data)
    count, types = shots.visible.shape
    sizes = power_of_two(count, 1), power_of_two(types, 8)
    layout = Layout(
      padded(shots.keypoints, sizes)[None].astype(np.float32),
      padded(shots.visible, sizes)[None],
      padded(shots.boxes, sizes[:1])[None].astype(np.float32),
    )
    kernels = self._network.encode(padded(shots.crops, sizes[:1])[None], *layout[:2])
    shown = np.asarray(shots.visible.any(0))
    return Support(shots.names, shown, shots.places, kernels, layout)

  def predict(
    self,
    support: Support,
    query_images: Sequence[Photograph],
    boxes: Sequence[Boxes] | None = None,
    objects: int | None = 1,
  ) -> Prediction:
    """Finds the keypoint types of the support in q other images.

    Args:
      support: The keypoint types, as returned by `support` of this detector.
      query_images: Files, arrays or PIL images, see `photographs.read`.
      boxes: (x, y, width, height) of the object in each image, pixels, or those of
        several objects; None if they are to be searched for, which costs about ten
        times as much.
      objects: Number of objects to search for in each image, at most; None for all.
        Several cost four times as much again.

    Returns:
      The objects of all images, in the order of the images; in an image, those given in
      their order, those found with the best first. With `objects` = 1 and at most one
      box each there is one object for each image (r = q).

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: An image cannot be read, or a box is empty or outside its image. The
        message names the image.
    """
    labels, boxes = _queries(query_images, boxes)
    started = []
    for part in batches.slices(len(labels)):
      pixels = _read(query_images[part], labels[part])
      rows = self.locate(support, pixels, boxes[part], labels[part], objects)
      started.append((part.start, rows, self._network.start(support, pixels, rows)))
    found = [
      (rows.numbers + first, rows.boxes, *self._network.finish(support, pending)[:3])
      for first, rows, pending in started  # the next crops were cut meanwhile
    ]
    return Prediction(*map(np.concatenate, zip(*found)), names=support.names)

  def locate(
    self,
    support: Support,
    pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    boxes: Sequence[Boxes],
    labels: Sequence[str],
    objects: int | None = 1,
  ) -> Rows:
    """Returns where the objects of images are: as given, or else found by a search.

    Args:
      support: The keypoint types.
      pixels: The images, RGB.
      boxes: The boxes given for each image, or None.
      labels: Names of the images in messages.
      objects: Number of objects to search for, as for `predict`.

    Raises:
      ValueError: A box is empty or outside its image, or several objects are to be
        searched for by a single keypoint.
    """
    sizes = [image.shape[1::-1] for image in pixels]
    margin = self.config.data.crop_margin

    def find(missing: list[int]) -> tuple[np.ndarray, np.ndarray]:
      look = self._network.looker(support, [pixels[i] for i in missing])
      where = [sizes[i] for i in missing]
      if objects != 1:
        return find_objects(look, where, support.places, margin, objects)
      found = search.find_boxes(look, where, support.places, margin)
      return np.arange(len(missing)), found

    return placed(boxes, sizes, labels, find)

  def detect(
    self, support: Support, pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]], rows: Rows
  ) -> tuple[Prediction, Float[np.ndarray, " r"]]:
    """Finds the keypoints of objects whose places are known.

    Args:
      support: The keypoint types.
      pixels: The images, RGB.
      rows: The objects.

    Returns:
      The objects, and their raw scores, 0..1: the mean share of a heat-map around its
      maximum. Unlike calibrated confidences they can be compared between places.
    """
    pending = self._network.start(support, pixels, rows, is_tight=True)
    keypoints, confidence, covariance, mass = self._network.finish(support, pending)
    scores = np.nanmean(mass, axis=1)
    arrays = rows.numbers, rows.boxes, keypoints, confidence, covariance
    return Prediction(*arrays, names=support.names), scores

  def features(
    self, images: Sequence[Photograph], boxes: Sequence[Box]
  ) -> Float[np.ndarray, "q c"]:
    """Returns a description of each object: its mean features, of length 1.

    Args:
      images: Images, as for `predict`.
      boxes: Box of the object in each image, pixels.

    Raises:
      FileNotFoundError, ValueError: As for `predict`.
    """
    labels, boxes = _queries(images, boxes)
    found = []
    for part in batches.slices(len(labels)):
      known = np.array(boxes[part], np.float64)
      crops, _ = batches.cut(_read(images[part], labels[part]), known, self.config.data)
      found.append(self._network.describe(crops))
    return np.concatenate(found)

  def heatmaps(
    self,
    support: Support,
    query_images: Sequence[Photograph],
    boxes: Sequence[Box | None] | None = None,
  ) -> Heatmaps:
    """Returns the heat-maps from which `predict` reads the keypoints.

    Args:
      support: The keypoint types, as returned by `support` of this detector.
      query_images: At most `QUERY_BATCH` (8) images, as for `predict`.
      boxes: The box of the object in each image, or None, as for `predict`.

    Raises:
      FileNotFoundError: An image file does not exist.
      ValueError: There are too many images, or `predict` would raise it.
    """
    labels, boxes = _queries(query_images, boxes)
    if len(labels) > QUERY_BATCH:
      raise ValueError(
        f"query_images: got {len(labels)}, expected {QUERY_BATCH} at most"
      )
    pixels = _read(query_images, labels)
    rows = self.locate(support, pixels, boxes, labels)
    crops, _ = batches.cut(pixels, rows.boxes, self.config.data)
    found, maps = self._network.run(crops, support, rows.shapes())
    count, types = len(crops), len(support.names)
    maps, points = (np.asarray(x)[:count, :types] for x in (maps, found.keypoints))
    return Heatmaps(crops, maps, points, support.names)


def _queries(
  images: Sequence[Photograph], boxes: Sequence[Any] | None
) -> tuple[list[str], Sequence[Boxes]]:
  """Checks that there are query images; returns their labels and boxes."""
  require_list(images, "query_images")
  labels = [photographs.describe(x, i, "query") for i, x in enumerate(images)]
  return labels, box_per_image(boxes, len(labels))


def _read(
  images: Sequence[Photograph], labels: Sequence[str]
) -> list[UInt8[np.ndarray, "_ _ 3"]]:
  return [photographs.read(image, label) for image, label in zip(images, labels)]
