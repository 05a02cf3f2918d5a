"""Runs the network of a detector on crops of images, in batches of a few sizes."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jaxtyping import Bool, Float, UInt8

from fskd_jax.device.traces import Program
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.heatmaps import decoding
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.heatmaps.prior import Places
from fskd_jax.models.build import Model, make_detector
from fskd_jax.models.detector import fuse_heatmaps
from fskd_jax.models.kernels import Kernels
from fskd_jax.prediction import batches, search
from fskd_jax.prediction.batches import padded, power_of_two, usual_size
from fskd_jax.prediction.rows import Rows
from fskd_jax.prediction.supports import Support

for kind in (Kernels, Places, Readout):
  export.register_namedtuple_serialization(kind, serialized_name=kind.__name__)

_log = logging.getLogger(__name__)

Images = Sequence[UInt8[np.ndarray, "_ _ 3"]]
"""Images in memory, RGB, of any sizes."""


class Network:
  """The compiled programs of a detector, and its weights on the first device."""

  def __init__(self, model: Model, calibrated: Calibration | None):
    """Puts a model on the first device.

    Args:
      model: Configuration and variables of a few-shot detector.
      calibrated: Calibration of its confidence, if it has one.
    """
    cfg = model.config
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

    def describe(variables, images):
      maps: Any = detector.apply(variables, images, method=detector.encode)
      mean = maps[-1][0].astype(jnp.float32).mean((1, 2))
      return mean / jnp.linalg.norm(mean, axis=-1, keepdims=True)

    self._encode_support, self._detect, self._describe = (
      Program(function, (function.__name__, cfg, calibrated and calibrated.prior))
      for function in (encode_support, detect, describe)
    )
    self._has_warned = False

  def with_variables(self, variables: Mapping[str, Any]) -> "Network":
    """Returns a network with other weights, which shares the compiled programs."""
    other = copy.copy(self)
    other._variables = jax.device_put(variables, jax.local_devices()[0])
    return other

  def describe(self, crops: UInt8[np.ndarray, "q l l 3"]) -> Float[np.ndarray, "q c"]:
    """Returns the mean features of at most `batches.QUERY_BATCH` crops, of length 1."""
    images = padded(crops, (usual_size(len(crops)),))[None]
    return np.asarray(self._describe(self._variables, images))[: len(crops)]

  def encode(
    self,
    crops: UInt8[np.ndarray, "1 k l l 3"],
    keypoints: Float[np.ndarray, "1 k n 2"],
    visible: Bool[np.ndarray, "1 k n"],
  ) -> tuple[Kernels, ...]:
    """Returns the kernels of the keypoint types of support crops."""
    return self._encode_support(self._variables, crops, keypoints, visible)

  def run(
    self,
    crops: UInt8[np.ndarray, "q l l 3"],
    support: Support,
    shapes: Float[np.ndarray, "q 2"] | None,
    size: int | None = None,
  ) -> tuple[Readout, jax.Array]:
    """Starts the network on a batch; returns readout and heat-maps, with padding.

    Args:
      crops: The images.
      support: The keypoint types.
      shapes: As `Places.query_boxes`; None reads every keypoint out for itself, without
        the prior.
      size: Number of images with the padding; by default `usual_size`.
    """
    size = size or usual_size(len(crops))
    places = None
    if shapes is not None and self.calibration and self.calibration.prior:
      shapes = padded(shapes.astype(np.float32), (size,))[None]
      places = Places(*support.layout, query_boxes=shapes)
    queries = padded(crops, (size,))[None]
    return self._detect(self._variables, queries, support.kernels, places)

  def start(
    self,
    support: Support,
    pixels: Images,
    rows: Rows,
    *,
    is_tight: bool = False,
  ) -> list[tuple[Readout, np.ndarray]]:
    """Starts the network on rows; returns the readouts, and matrices to the images.

    A tight batch is padded to a power of two, for videos: thousands of frames with the
    same few objects.
    """
    started = []
    for part in batches.slices(len(rows.boxes)):
      some = rows[part]
      views = [pixels[i] for i in some.numbers]
      crops, matrices = batches.cut(views, some.boxes, self.config.data)
      size = power_of_two(len(views), 1) if is_tight else None
      started.append((self.run(crops, support, some.shapes(), size)[0], matrices))
    return started

  def finish(
    self, support: Support, started: Sequence[tuple[Readout, np.ndarray]]
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Waits for readouts; returns keypoints, confidence, covariance and raw scores."""
    parts = [
      self._scored(jax.device_get(x), matrices, support) for x, matrices in started
    ]
    keypoints, confidence, covariance, mass = map(np.concatenate, zip(*parts))
    return keypoints, confidence, covariance, mass

  def looker(self, support: Support, images: Images) -> search.Look:
    """Returns the function that a search for objects in images looks with."""

    def look(numbers, boxes):
      dispatched = []
      for part in batches.slices(len(boxes)):
        views = [images[i] for i in numbers[part]]
        crops, matrices = batches.cut(views, boxes[part], self.config.data)
        # Without the prior, which is of keypoints in the box of an object.
        dispatched.append((self.run(crops, support, None)[0], matrices))
      parts = [
        batches.in_images(jax.device_get(found), matrices, support.shown)
        for found, matrices in dispatched
      ]
      keypoints, _, mass, _ = map(np.concatenate, zip(*parts))
      return keypoints, mass

    return look

  def _scored(
    self, found: Readout, to_original: Float[np.ndarray, "q 2 3"], support: Support
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns keypoints, confidence, covariance and raw scores, in image pixels."""
    keypoints, covariance, mass, peak = batches.in_images(
      found, to_original, support.shown
    )
    if self.calibration is None:
      self._warn_once()
      confidence = mass
    else:
      confidence = self.calibration.confidence(mass, peak)
      covariance = covariance * self.calibration.covariance_scale
    return keypoints, np.where(support.shown, confidence, 0.0), covariance, mass

  def _warn_once(self) -> None:
    if not self._has_warned:
      _log.warning(
        "%s is not calibrated: its confidence is a raw score (evaluate.py calibrates)",
        self.config.name,
      )
      self._has_warned = True
