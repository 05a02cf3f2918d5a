"""A folder of images by `fskd_jax.load`'s detector, beside the naive way.

Files are read from disk, as `fskd predict` does. Weights are random: speed does not
depend on them, but for the search of objects whose boxes are not given. The naive way
is that of the original code: the support goes through the network again with every
query, one query at a time.
"""

import functools
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.cases.evaluation import configuration
from benchmarks.harness.problem import Problem, Setup, Side
from benchmarks.opponents import ours
from configs import lightweight
from fskd_jax.config import Config
from fskd_jax.data.sources import annotation_folder, load_dataset
from fskd_jax.models.build import Model
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.support_points import Box
from fskd_jax.prediction.supports import Support

Folder = tuple[list[pathlib.Path], list[Box]]


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields one query and a folder of them, small network and large."""
  source = configuration(images_per_species=50 if setup.is_full else 12)
  networks = {"quickstart, 96 px": (source, 200 if setup.is_full else 12)}
  if setup.is_full:
    networks["ResNet-50, 384 px"] = (lightweight.get_config(), 24)
  for label, (cfg, many) in networks.items():
    for count in (1, many):
      make = functools.partial(_side, cfg, source, count)
      sides = {
        "ours": {"": functools.partial(make, _together)},
        "one at a time": {"": functools.partial(make, _one_by_one)},
        "support again for each": {"": functools.partial(make, _naively)},
      }
      if cfg is source:
        sides["ours, boxes searched"] = {"": functools.partial(make, _searched)}
      yield Problem(
        name=f"{count} query image{'s' * (count > 1)}, {label}",
        variables={"queries": count, "network": label},
        sides=sides,
        checks=(("ours", "one at a time"), ("ours", "support again for each")),
        is_long=cfg is not source,
        items=count,
      )


def _side(
  cfg: Config,
  source: Config,
  count: int,
  predict: Callable[[KeypointDetector, Callable[[], Support], Folder], np.ndarray],
) -> Side:
  dataset = load_dataset(source.data)
  folder = annotation_folder(source.data) / "images"
  shown, *queries = dataset.instances[: count + 1]
  files = [folder / dataset.image_names[x.image] for x in queries]
  network = FewShotDetector(cfg.model, cfg.data.image_size)
  detector = KeypointDetector(Model(cfg, ours.random_variables(network)))

  def support() -> Support:
    points = {
      name: tuple(point)
      for name, point, seen in zip(
        dataset.keypoint_names, shown.keypoints.tolist(), shown.visible
      )
      if seen
    }
    return detector.support([folder / dataset.image_names[shown.image]], [points])

  boxes: list[Box] = [x.box for x in queries]
  run = functools.partial(predict, detector, support, (files, boxes))
  return Side(run, lambda keypoints: [keypoints])


def _together(
  detector: KeypointDetector, support: Callable[[], Support], folder: Folder
) -> np.ndarray:
  files, boxes = folder
  return detector.predict(support(), files, boxes).keypoints


def _searched(
  detector: KeypointDetector, support: Callable[[], Support], folder: Folder
) -> np.ndarray:
  return detector.predict(support(), folder[0]).keypoints


def _one_by_one(
  detector: KeypointDetector, support: Callable[[], Support], folder: Folder
) -> np.ndarray:
  known = support()
  return np.concatenate(
    [detector.predict(known, [file], [box]).keypoints for file, box in zip(*folder)]
  )


def _naively(
  detector: KeypointDetector, support: Callable[[], Support], folder: Folder
) -> np.ndarray:
  return np.concatenate(
    [detector.predict(support(), [file], [box]).keypoints for file, box in zip(*folder)]
  )
