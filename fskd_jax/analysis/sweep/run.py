"""Trains the variants of a sweep alike, and scores them on the same episodes.

Every (variant, seed) adds a line to results.jsonl with its configuration, commit,
device, time and the score of every episode. Pairs that are in the file are not run
again.
"""

import contextlib
import json
import logging
import pathlib
import re
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from fskd_jax import config, experiment
from fskd_jax.analysis.sweep import plan
from fskd_jax.analysis.sweep.plan import Sweep
from fskd_jax.analysis.sweep.report import THRESHOLD
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot import evaluation
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import reader_of, score
from fskd_jax.files import append_text, read_lines
from fskd_jax.models.build import count_parameters
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.log import recorded_seconds
from fskd_jax.training.writer import METRICS_FILE

_log = logging.getLogger(__name__)

FILE = "results.jsonl"


def run(
  sweep: Sweep,
  folder: pathlib.Path,
  names: Sequence[str] | None = None,
  shard: tuple[int, int] = (0, 1),
) -> None:
  """Trains and scores what is not in the folder yet, seed by seed.

  Args:
    sweep: The sweep.
    folder: The folder of results.jsonl and the runs.
    names: Keys of `plan.points`; default: all.
    shard: (i, n), every n-th of the list from the i-th, so that n processes with a
      folder each, or with the same one, share the work.

  Raises:
    ValueError: A variant does not exist, its configuration is invalid, or the folder
      holds it with another one; raised before anything is run. Or trainings failed;
      raised after the others.
  """
  listed, lines = list(plan.jobs(sweep, names)), read(folder)
  for job in listed:
    if job.config.task != "few_shot":
      raise ValueError(
        f"{job.name!r}: task {job.config.task!r} has no episodes to score"
      )
    if float(THRESHOLD) not in job.config.eval.thresholds:
      raise ValueError(
        f"{job.name!r}: eval.thresholds = {job.config.eval.thresholds} lacks "
        f"{THRESHOLD}, which the report compares"
      )
    _check_same(job, _find(lines, job))
  index, count = shard
  failed: list[str] = []
  for job in listed[index::count]:
    if _find(read(folder), job):  # another shard may have added lines
      continue
    _log.info("%s, seed %d", job.name, job.seed)
    try:
      line = run_one(job, folder)
    except (ValueError, FloatingPointError, jax.errors.JaxRuntimeError) as error:
      _log.error("%s, seed %d, failed: %s", job.name, job.seed, error)
      failed.append(f"{job.name!r}, seed {job.seed}")
      continue
    append_text(folder / FILE, json.dumps(line) + "\n")
  if failed:
    raise ValueError(
      f"{len(failed)} of the trainings failed, see above: "
      f"{'; '.join(failed)}; the same command tries them again, --report shows the "
      "others"
    )


def _find(lines: Sequence[dict[str, Any]], job: plan.Job) -> dict[str, Any] | None:
  for line in lines:
    if (line["variant"], line["seed"]) == (job.name, job.seed):
      return line
  return None


def _check_same(job: plan.Job, line: Mapping[str, Any] | None) -> None:
  """Raises a ValueError if a line was made with other fields than a job has."""
  if line is None:
    return
  mine = config.shared(job.config)
  other = config.shared(config.from_dict(line["config"]))
  differ = [name for name in mine if mine[name] != other.get(name)]
  if differ:
    name = differ[0]
    raise ValueError(
      f"{job.name!r}, seed {job.seed}, is in the folder with {name} = "
      f"{other.get(name)!r} instead of {mine[name]!r} ({len(differ)} fields differ): "
      "name another --out, or take its line out of results.jsonl"
    )


def run_one(job: plan.Job, folder: pathlib.Path) -> dict[str, Any]:
  """Trains a variant unless it is trained, and scores it; returns its line."""
  cfg = job.config
  workdir = folder / "runs" / f"{re.sub(r'[ /]', '_', job.name)}-{job.seed}"
  start = time.perf_counter()
  experiment.train(cfg, workdir)
  with contextlib.closing(CheckpointStore(workdir)) as checkpoints:
    saved = checkpoints.restore_model()
  feed = Feed.open(cfg.data, cfg.train.backend)
  placed = parallel.replicate(saved.variables, backend=cfg.train.backend)
  predictors = {evaluation.DETECTOR: reader_of(cfg, feed, placed)}
  settings = {}
  for setting in feed.held(cfg.eval.settings):
    sampler = evaluation_sampler(feed, setting, cfg.eval)
    record = score(
      predictors, feed, sampler, cfg.eval, episodes=cfg.eval.episodes
    ).record
    settings[setting] = {
      "manifest": record["manifest"],
      "pck": record["scores"][evaluation.DETECTOR]["pck"],
    }
  return {
    "variant": job.name,
    "seed": job.seed,
    "changes": dict(job.changes),
    "config": config.to_dict(cfg),
    "commit": _commit(),
    "device": jax.devices()[0].device_kind,
    "parameters": count_parameters(saved.variables["params"]),
    "train_seconds": round(recorded_seconds(workdir / METRICS_FILE), 1),
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
      raise ValueError(
        f"{path}, line {number} is damaged: {error}; remove the line, and its training "
        "is done again"
      ) from error


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
