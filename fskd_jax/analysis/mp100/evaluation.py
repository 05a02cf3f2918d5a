"""Evaluates a detector on MP-100's pairs; each support is encoded once per episode."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fskd_jax import geometry
from fskd_jax.analysis.mp100 import metrics
from fskd_jax.analysis.mp100 import pairs as fixed_pairs
from fskd_jax.analysis.mp100.metrics import Pairs
from fskd_jax.analysis.mp100.pairs import MP100Episode
from fskd_jax.config import CROP_MARGIN
from fskd_jax.data.published import mp100
from fskd_jax.data.published.mp100 import MAX_KEYPOINTS, MP100File, MP100Object
from fskd_jax.few_shot import calibration
from fskd_jax.heatmaps import decoding
from fskd_jax.messages import join_first
from fskd_jax.metrics import record as episode_record
from fskd_jax.models.build import Model
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.training.runs import load_run

_REFERENCE, _OTHER = "MP-100 reference pairs", "MP-100, not the reference's pairs"


class Protocol(NamedTuple):
  """The objects and episodes of an evaluation.

  Attributes:
    annotations: The annotation file.
    images: The folder of the images.
    whole: All objects of the file.
    lost: The problem of each image that cannot be used, by file name.
    shots: The number of support images.
    count: The number of episodes of each category.
  """

  annotations: pathlib.Path
  images: pathlib.Path
  whole: MP100File
  lost: dict[str, str]
  shots: int
  count: int

  @property
  def is_reference(self) -> bool:
    """Whether the pairs are those of the reference."""
    return self.count == fixed_pairs.episodes_of(self.annotations) and not self.lost


def open_protocol(
  annotations: pathlib.Path,
  images: pathlib.Path,
  *,
  shots: int = 1,
  episodes: int | None = None,
  coverage: bool = False,
) -> Protocol:
  """Reads the objects and checks their images.

  Args:
    annotations: A file such as mp100_split1_test.json.
    images: The folder of the images.
    shots: The number of support images.
    episodes: The number of episodes of each category; None for the reference's.
    coverage: Whether to leave out objects whose images cannot be used.

  Raises:
    FileNotFoundError: A file or folder is missing, or images cannot be used.
    ValueError: A number is below 1, or the file has a fault.
  """
  count = fixed_pairs.episodes_of(annotations) if episodes is None else episodes
  if shots < 1 or count < 1:
    raise ValueError(f"--shots {shots}, --episodes {count}: at least 1")
  whole, root = mp100.read(annotations), mp100.image_root(images)
  lost = mp100.lost_images(whole, root)
  if lost and not coverage:
    raise FileNotFoundError(
      f"{len(lost)} images in {root} cannot be used: {describe(lost)}; every lost "
      "image changes all later pairs. To score the others, give --coverage"
    )
  return Protocol(annotations, root, whole, lost, shots, count)


def describe(lost: dict[str, str]) -> str:
  """Returns a list of the first lost images with their problems."""
  return join_first(f"{name} ({problem})" for name, problem in lost.items())


def evaluate_run(
  workdir: str, protocol: Protocol, progress: Callable[[Iterable], Iterable]
) -> dict[str, dict[str, Any]]:
  """Evaluates a run; returns the contents of its files by name, ready for JSON.

  Args:
    workdir: The folder of the run.
    protocol: The objects and episodes.
    progress: A wrapper of the episodes, to show progress.
  """
  annotations, images, whole, lost, shots, count = protocol
  file = whole.without(lost)
  episodes = fixed_pairs.draw(file, shots, count)
  model, step = load_run(workdir)
  start = time.perf_counter()
  detector = detector_of(model, calibration.load(workdir))
  found = evaluate(detector, episodes, images, progress)
  manifest = fixed_pairs.manifest(episodes)
  head = {
    "run": workdir,
    "step": step,
    "data": annotations.name,
    "protocol": _REFERENCE if protocol.is_reference else _OTHER,
    "decoding": decoding.DEFAULT,
    "shots": shots,
    "queries": fixed_pairs.QUERIES,
    "seed": fixed_pairs.SEED,
  }
  results = {
    "episodes": count,
    "manifest": manifest["sha256"],
    "coverage": {
      "objects": sum(1 for _ in file.objects()),
      "of": sum(1 for _ in whole.objects()),
      "lost_images": lost,
    },
    "seconds": round(time.perf_counter() - start, 1),
  }
  record = fixed_pairs.record(episodes, metrics.per_episode(found))
  return {
    "manifest.json": manifest,
    episode_record.FILE: head | {"settings": {annotations.stem: record}},
    "results.json": head | results | metrics.summary(found, file.keypoint_names),
  }


def detector_of(
  model: Model, calibrated: calibration.Calibration | None = None
) -> KeypointDetector:
  """Returns the detector of a model, with the crops of MP-100."""
  data = dataclasses.replace(model.config.data, crop_margin=CROP_MARGIN)
  return KeypointDetector(
    model._replace(config=dataclasses.replace(model.config, data=data)), calibrated
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
  points, half = support.keypoints, CROP_MARGIN * max(support.box[2:]) / 2
  inside = np.abs(points - geometry.box_center(np.array(support.box))) <= half
  inside &= (points >= -0.5) & (points <= np.array(support.image_size) - 0.5)
  return np.where((support.visible & inside.all(1))[:, None], points, np.nan)


def _padded(values: np.ndarray) -> np.ndarray:
  return np.pad(values, (0, MAX_KEYPOINTS - len(values)))
