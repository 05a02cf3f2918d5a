"""Detector for the user's own images.

  detector = fskd_jax.load("runs/faces")
  support = detector.support(["ann.jpg"], [{"nose": (61, 70), "left eye": (48, 52)}])
  prediction = detector.predict(support, ["bob.jpg", "eve.png"])

Coordinates are pixel indices of the picture as a viewer shows it, turned as its EXIF
data says: the centre of the first pixel is (0, 0).
"""

import logging
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.heatmaps import decoding
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.heatmaps.prior import Places
from fskd_jax.models.build import Model, make_detector
from fskd_jax.models.detector import fuse_heatmaps
from fskd_jax.prediction import batches, photographs, search, supports
from fskd_jax.prediction.batches import QUERY_BATCH, padded, power_of_two
from fskd_jax.prediction.photographs import Photograph
from fskd_jax.prediction.results import Heatmaps, Prediction
from fskd_jax.prediction.support_points import (
  Box,
  Points,
  box_per_image,
  checked_box,
  require_list,
)
from fskd_jax.prediction.supports import Layout, Support

_log = logging.getLogger(__name__)


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
    self._variables = jax.device_put(model.variables, jax.local_devices()[0])
    detector = make_detector(cfg)
    temperature = decoding.temperature(cfg.loss)

    def encode_support(variables, images, keypoints, visible):
      return detector.apply(
        variables, images, keypoints, visible, method=detector.encode_support
      )

    def detect(variables, images, kernels, places=None):
      heatmaps: Any = detector.apply(variables, images, kernels, method=detector.detect)
      fused = fuse_heatmaps(heatmaps)[0]
      stride = cfg.data.image_size / fused.shape[-1]
      prior = None if places is None else calibrated and calibrated.prior
      found = decoding.decode(
        fused[None], stride, decoding.DEFAULT, temperature, prior, places
      )
      return jax.tree.map(lambda x: x[0], found), fused

    self._encode_support, self._detect = jax.jit(encode_support), jax.jit(detect)
    self._has_warned = False

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
    kernels = self._encode_support(
      self._variables, padded(shots.crops, sizes[:1])[None], *layout[:2]
    )
    shown = np.asarray(shots.visible.any(0))
    return Support(shots.names, shown, shots.places, kernels, layout)

  def predict(
    self,
    support: Support,
    query_images: Sequence[Photograph],
    boxes: Sequence[Box | None] | None = None,
  ) -> Prediction:
    """Finds the keypoint types of the support in q other images.

    Args:
      support: The keypoint types, as returned by `support` of this detector.
      query_images: Files, arrays or PIL images, see `photographs.read`.
      boxes: (x, y, width, height) of the object in each image, pixels; None if the
        object is to be searched for, which costs about ten times as much.

    Returns:
      One object for each image, in their order (r = q).

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: An image cannot be read, or a box is empty or outside its image. The
        message names the image.
    """
    labels, boxes = _queries(query_images, boxes)
    dispatched = []
    for part in batches.slices(len(labels)):
      crops, matrices, known = self._query_crops(
        support, query_images[part], boxes[part], labels[part]
      )
      found, _ = self._run(crops, support, batches.shapes(known, boxes[part]))
      dispatched.append((found, matrices, known))  # the next crops are cut meanwhile
    parts = [
      (known, *self._scored(jax.device_get(found), matrices, support))
      for found, matrices, known in dispatched
    ]
    box, keypoints, confidence, covariance = map(np.concatenate, zip(*parts))
    numbers = np.arange(len(labels))
    return Prediction(numbers, box, keypoints, confidence, covariance, support.names)

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
      boxes: Boxes as for `predict`.

    Raises:
      FileNotFoundError: An image file does not exist.
      ValueError: There are too many images, or `predict` would raise it.
    """
    labels, boxes = _queries(query_images, boxes)
    if len(labels) > QUERY_BATCH:
      raise ValueError(
        f"query_images: got {len(labels)}, expected {QUERY_BATCH} at most"
      )
    crops, _, known = self._query_crops(support, query_images, boxes, labels)
    found, maps = self._run(crops, support, batches.shapes(known, boxes))
    count, types = len(crops), len(support.names)
    maps, points = (np.asarray(x)[:count, :types] for x in (maps, found.keypoints))
    return Heatmaps(crops, maps, points, support.names)

  def _run(
    self,
    crops: UInt8[np.ndarray, "q l l 3"],
    support: Support,
    shapes: Float[np.ndarray, "q 2"] | None,
  ) -> tuple[Readout, jax.Array]:
    """Starts the network on a batch; returns readout and heat-maps, with padding.

    Args:
      crops: The images.
      support: The keypoint types.
      shapes: As `Places.query_boxes`; None reads every keypoint out for itself, without
        the prior.
    """
    size = 1 if len(crops) == 1 else QUERY_BATCH
    places = None
    if shapes is not None and self.calibration and self.calibration.prior:
      shapes = padded(shapes.astype(np.float32), (size,))[None]
      places = Places(*support.layout, query_boxes=shapes)
    queries = padded(crops, (size,))[None]
    return self._detect(self._variables, queries, support.kernels, places)

  def _query_crops(
    self,
    support: Support,
    images: Sequence[Photograph],
    boxes: Sequence[Box | None],
    labels: Sequence[str],
  ) -> tuple[
    UInt8[np.ndarray, "q l l 3"], Float[np.ndarray, "q 2 3"], Float[np.ndarray, "q 4"]
  ]:
    """Reads images, and returns crops, matrices and the boxes, given or found."""
    pixels = [photographs.read(x, label) for x, label in zip(images, labels)]
    known = np.zeros((len(pixels), 4))
    for i, (box, image, label) in enumerate(zip(boxes, pixels, labels)):
      if box is not None:
        known[i] = checked_box(box, image.shape[1::-1], label)
    missing = [i for i, box in enumerate(boxes) if box is None]
    if missing:
      known[missing] = self._search(support, [pixels[i] for i in missing])
    return *batches.cut(pixels, known, self.config.data), known

  def _search(
    self, support: Support, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]
  ) -> Float[np.ndarray, "q 4"]:
    """Returns a box of the object in each image."""
    cfg = self.config.data

    def look(numbers, boxes):
      dispatched = []
      for part in batches.slices(len(boxes)):
        views = [images[i] for i in numbers[part]]
        crops, matrices = batches.cut(views, boxes[part], cfg)
        # Without the prior, which is of keypoints in the box of an object.
        dispatched.append((self._run(crops, support, None)[0], matrices))
      parts = [
        batches.in_images(jax.device_get(found), matrices, support.shown)
        for found, matrices in dispatched
      ]
      keypoints, _, mass, _ = map(np.concatenate, zip(*parts))
      return keypoints, mass

    sizes = [image.shape[1::-1] for image in images]
    return search.find_boxes(look, sizes, support.places, cfg.crop_margin)

  def _scored(
    self, found: Readout, to_original: Float[np.ndarray, "q 2 3"], support: Support
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns keypoints, confidence and covariance, pixels of the original images."""
    keypoints, covariance, mass, peak = batches.in_images(
      found, to_original, support.shown
    )
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


def _queries(
  images: Sequence[Photograph], boxes: Sequence[Box | None] | None
) -> tuple[list[str], Sequence[Box | None]]:
  """Checks that there are query images; returns their labels and boxes."""
  require_list(images, "query_images")
  labels = [photographs.describe(x, i, "query") for i, x in enumerate(images)]
  return labels, box_per_image(boxes, len(labels))
