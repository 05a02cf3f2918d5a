"""Evaluates a detector on MP-100's pairs; each support is encoded once per episode."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from fskd_jax import geometry
from fskd_jax.analysis.mp100.metrics import Pairs
from fskd_jax.analysis.mp100.pairs import MP100Episode
from fskd_jax.data.published.mp100 import MAX_KEYPOINTS, MP100Object
from fskd_jax.models.build import Model
from fskd_jax.prediction.detector import KeypointDetector


def detector_of(model: Model) -> KeypointDetector:
  """Returns the detector of a model, with the crops of MP-100."""
  data = dataclasses.replace(model.config.data, crop_margin=geometry.CROP_MARGIN)
  return KeypointDetector(
    model._replace(config=dataclasses.replace(model.config, data=data))
  )


def evaluate(
  detector: KeypointDetector,
  episodes: Sequence[MP100Episode],
  images: pathlib.Path,
  progress: Callable[[Iterable], Iterable] = lambda x: x,
) -> Pairs:
  """Predicts every query of every episode.

  Keypoints that no support crop shows are predicted at the centre of the query's crop,
  and are scored like the others.

  Args:
    detector: The detector, as returned by `detector_of`.
    episodes: The episodes, as returned by `pairs.draw`.
    images: The folder that the objects' file names are relative to.
    progress: A wrapper of the episodes, to show progress.

  Raises:
    ValueError: An image cannot be read; the message names it.
  """
  distances, valid, size, category, number = [], [], [], [], []
  for place, episode in enumerate(progress(episodes)):
    predicted = _predict(detector, episode, images)
    seen = np.logical_and.reduce([x.visible for x in episode.support])
    for query, points in zip(episode.queries, predicted):
      offsets = np.linalg.norm(points - query.keypoints, axis=-1)
      distances.append(_padded(offsets))
      valid.append(_padded(query.visible & seen).astype(bool))
      size.append(max(query.box[2:]))
      category.append(episode.category)
      number.append(place)
  return Pairs(
    np.stack(distances),
    np.stack(valid),
    np.array(size, np.float64),
    np.array(category),
    np.array(number),
  )


def _predict(
  detector: KeypointDetector, episode: MP100Episode, images: pathlib.Path
) -> Float[np.ndarray, "q n 2"]:
  boxes = [query.box for query in episode.queries]
  centers = geometry.box_center(np.array(boxes))[:, None]
  shape = (len(boxes), len(episode.support[0].visible), 2)
  points = [_shown(x) for x in episode.support]
  useful = [i for i, row in enumerate(points) if np.isfinite(row).any()]
  if not useful:
    return np.broadcast_to(centers, shape)
  support = detector.support(
    [images / episode.support[i].image for i in useful],
    [points[i] for i in useful],
    [episode.support[i].box for i in useful],
  )
  found = detector.predict(support, [images / x.image for x in episode.queries], boxes)
  return np.where(np.isnan(found.keypoints), centers, found.keypoints)


def _shown(support: MP100Object) -> Float[np.ndarray, "n 2"]:
  """Returns the keypoints inside the support crop, nan for others."""
  points, half = support.keypoints, geometry.CROP_MARGIN * max(support.box[2:]) / 2
  inside = np.abs(points - geometry.box_center(np.array(support.box))) <= half
  inside &= (points >= -0.5) & (points <= np.array(support.image_size) - 0.5)
  return np.where((support.visible & inside.all(1))[:, None], points, np.nan)


def _padded(values: np.ndarray) -> np.ndarray:
  return np.pad(values, (0, MAX_KEYPOINTS - len(values)))
