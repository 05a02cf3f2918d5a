"""Trains variants of a configuration alike, and scores them on the same episodes.

Every (variant, seed) adds a line to results.jsonl with its configuration, commit,
device, time and the score of every episode. Pairs that are in the file are not run
again.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import pathlib
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from fskd_jax import config, experiment
from fskd_jax.config import Config
from fskd_jax.data import keypoints
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot import evaluation
from fskd_jax.few_shot.sampler import evaluation_sampler
from fskd_jax.few_shot.scoring import keypoint_reader, score
from fskd_jax.files import append_text, read_lines
from fskd_jax.models.build import count_parameters
from fskd_jax.training.checkpoint import CheckpointStore

_log = logging.getLogger(__name__)

FILE = "results.jsonl"
BASELINE = "baseline"

_MFCL = {"loss.mfcl_weight": 0.02, "train.episodes_per_step": 2}
_PLAIN = {
  "model.similarity": "plain",
  "model.plain_scale": 1.0,
  "model.temperature": 1.0,
}
_MDS = {"model.head": "mds", "model.mds_widths": (64, 64, 128)}
_OTHER_SPECIES = ("sheep", "mouse", "bear", "giraffe", "dachshund", "deer")

VARIANTS: dict[str, dict[str, Any]] = {
  BASELINE: {},
  # Detection head and kernels.
  "MDS": _MDS,
  "MDS, rate 1e-3": _MDS | {"optim.learning_rate": 1e-3},
  "SMD, plain similarity": _PLAIN,
  "S = {3}": {"model.kernel_sizes": (3,)},
  "S = {5}": {"model.kernel_sizes": (5,)},
  "S = {1, 3}": {"model.kernel_sizes": (1, 3)},
  "S = {1, 3, 5}": {"model.kernel_sizes": (1, 3, 5)},
  "S = {1, 3}, no SRM": {
    "model.kernel_sizes": (1, 3),
    "model.kernel_generator": "no_srm",
  },
  "no CRM": {"model.kernel_generator": "no_crm"},
  "linear generator": {"model.kernel_generator": "linear"},
  "prototype only": {"model.kernel_generator": "prototype"},
  "CRM without residual": {"model.residual_crm": False},
  "two scales": {"model.strides": (8, 16), "model.heatmap_scale": (2.0, 4.0)},
  # Contrastive learning.
  "MFCL 0.002": _MFCL | {"loss.mfcl_weight": 0.002},
  "MFCL 0.02": _MFCL,
  "MFCL 0.1": _MFCL | {"loss.mfcl_weight": 0.1},
  "MFCL 0.02, no negatives": _MFCL | {"loss.negatives_per_image": 0},
  "MFCL 0.02, instance level": _MFCL | {"loss.mfcl_level": "instance"},
  "MFCL 0.02, alpha 0.8": _MFCL | {"loss.negative_box_scale": 0.8},
  "MFCL 0.02, alpha 2": _MFCL | {"loss.negative_box_scale": 2.0},
  "MFCL 0.02, rho 10": _MFCL | {"loss.negative_distance": 10 / 384},
  "MFCL 0.02, rho 60": _MFCL | {"loss.negative_distance": 60 / 384},
  "MFCL 0.02, 30 negatives": _MFCL | {"loss.negatives_per_image": 30},
  "MFCL 0.02, four episodes a step": _MFCL | {"train.episodes_per_step": 4},
  "four episodes a step": {"train.episodes_per_step": 4},
  # Training data and loss.
  "no auxiliary types": {"data.auxiliary_paths": ()},
  "auxiliary types near novel ones only": {
    "data.auxiliary_paths": keypoints.ANIMAL_PATHS
  },
  "auxiliary types away from novel ones": {
    "data.auxiliary_paths": keypoints.ANIMAL_BODY_PATHS
  },
  "three training species": {
    "data.validation_species": ("rabbit", *_OTHER_SPECIES),
  },
  "heat-map MSE": {"loss.heatmap": "mse", "model.temperature": 1.0},
  "weighted heat-map MSE": {"loss.heatmap": "weighted_mse", "model.temperature": 1.0},
}
"""Changed fields of the configuration, by variant."""


def with_overrides(cfg: Config, overrides: Mapping[str, Any]) -> Config:
  """Returns a configuration with fields replaced, {"section.field": value}.

  Raises:
    ValueError: A field does not exist, or the configuration is invalid.
  """
  sections: dict[str, dict[str, Any]] = {}
  for name, value in overrides.items():
    section, _, field = name.partition(".")
    if name not in config.flatten(cfg):
      raise ValueError(f"there is no field {name!r} in the configuration")
    sections.setdefault(section, {})[field] = value
  changed = dataclasses.replace(
    cfg,
    **{
      section: dataclasses.replace(getattr(cfg, section), **fields)
      for section, fields in sections.items()
    },
  )
  config.validate(changed)
  return changed


def run(
  cfg: Config,
  variants: Sequence[str],
  seeds: Sequence[int],
  folder: pathlib.Path,
  shard: tuple[int, int] = (0, 1),
) -> None:
  """Trains and scores the variants that are not in the folder yet, seed by seed.

  Args:
    cfg: The configuration to vary, with the budget of all variants.
    variants: Names in `VARIANTS`.
    seeds: The training seeds.
    folder: The folder of results.jsonl and the runs.
    shard: (i, n), every n-th of the list from the i-th, so that n processes with a
      folder each, or with the same one, share the work.

  Raises:
    ValueError: A variant does not exist, or a configuration is invalid; raised before
      anything is run.
  """
  unknown = [name for name in variants if name not in VARIANTS]
  if unknown:
    raise ValueError(f"unknown variants {unknown}; there are {list(VARIANTS)}")
  configs = {name: with_overrides(cfg, VARIANTS[name]) for name in variants}
  jobs = [(name, seed) for seed in seeds for name in variants]
  index, count = shard
  for name, seed in jobs[index::count]:
    if any(x["variant"] == name and x["seed"] == seed for x in read(folder)):
      continue
    _log.info("%s, seed %d", name, seed)
    line = run_one(configs[name], name, seed, folder)
    append_text(folder / FILE, json.dumps(line) + "\n")


def run_one(cfg: Config, name: str, seed: int, folder: pathlib.Path) -> dict[str, Any]:
  """Trains a variant unless it is trained, and scores it."""
  cfg = with_overrides(cfg, {"train.seed": seed})
  workdir = folder / "runs" / f"{name.replace(' ', '_')}-{seed}"
  start = time.perf_counter()
  experiment.train(cfg, workdir)
  trained = time.perf_counter()
  place = functools.partial(parallel.replicate, backend=cfg.train.backend)
  with contextlib.closing(CheckpointStore(workdir)) as checkpoints:
    saved = checkpoints.restore_model()
  feed = Feed.open(cfg.data, cfg.train.backend)
  read = keypoint_reader(cfg, feed)
  predictors = {evaluation.DETECTOR: functools.partial(read, place(saved.variables))}
  settings = {}
  for setting in cfg.eval.settings:
    sampler = evaluation_sampler(feed, setting, cfg.eval)
    record = score(
      predictors, feed, sampler, cfg.eval, episodes=cfg.eval.episodes
    ).record
    settings[setting] = {
      "manifest": record["manifest"],
      "pck": record["scores"][evaluation.DETECTOR]["pck"],
    }
  return {
    "variant": name,
    "seed": seed,
    "overrides": VARIANTS[name],
    "config": config.to_dict(cfg),
    "commit": _commit(),
    "device": jax.devices()[0].device_kind,
    "parameters": count_parameters(saved.variables["params"]),
    "train_seconds": round(trained - start, 1),
    "seconds": round(time.perf_counter() - start, 1),
    "settings": settings,
  }


def read(folder: pathlib.Path) -> list[dict[str, Any]]:
  """Returns the lines of a folder, none if nothing was run.

  Raises:
    ValueError: A line is damaged; the message has its number.
  """
  path = folder / FILE
  return list(_lines(path)) if path.is_file() else []


def _lines(path: pathlib.Path) -> Iterator[dict[str, Any]]:
  for number, line in enumerate(read_lines(path), 1):
    try:
      yield json.loads(line)
    except ValueError as error:
      raise ValueError(f"{path}, line {number} is damaged: {error}") from error


def _commit() -> str:
  """Returns the commit of the package, "+" after it if files differ; "" without git."""

  def git(*arguments: str) -> str:
    return subprocess.run(
      ["git", *arguments],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      check=False,
    ).stdout.strip()

  found = git("rev-parse", "--short", "HEAD")
  return found + "+" if found and git("status", "--short") else found
