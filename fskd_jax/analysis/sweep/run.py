"""Trains the variants of a sweep alike, and scores them on the same episodes.

Every (variant, seed) adds a line to results.jsonl with its configuration, commit,
device, time and the score of every episode. Pairs that are in the file are not run
again.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from fskd_jax import config, experiment
from fskd_jax.analysis.sweep import plan
from fskd_jax.analysis.sweep.plan import Sweep
from fskd_jax.analysis.sweep.report import THRESHOLD
from fskd_jax.config import Config
from fskd_jax.config.changes import with_fields
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot import evaluation
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import reader_of, score
from fskd_jax.files import append_text, parse_line, read_lines
from fskd_jax.models.build import count_parameters
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.log import recorded_seconds
from fskd_jax.training.writer import METRICS_FILE

_log = logging.getLogger(__name__)

FILE = "results.jsonl"

_ATTEMPTS = 20
"""Number of times that a last line is read which another process may be writing."""

_KINDS = {"variant": str, "seed": int, "config": dict, "settings": dict}
"""Fields of every line, with their types."""


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
      holds one with other fields; raised before anything is run. Or one was scored on
      other episodes than those before. Or trainings failed; raised after the others.
  """
  listed, places = list(plan.jobs(sweep, names)), {}
  check(sweep, read(folder))
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
    other = places.setdefault(_workdir(job, folder), job)
    if other != job:
      raise ValueError(f"{job.name!r} and {other.name!r} would share a folder: rename")
  (index, count), known = shard, plan.points(sweep)
  failed: list[str] = []
  latest = LatestFeed()
  for job in listed[index::count]:
    if _find(read(folder), job):  # another shard may have added lines
      continue
    _log.info("%s, seed %d", job.name, job.seed)
    try:
      line = run_one(job, folder, latest)
    except (ValueError, FloatingPointError, jax.errors.JaxRuntimeError) as error:
      _log.error("%s, seed %d, failed: %s", job.name, job.seed, error)
      failed.append(f"{job.name!r}, seed {job.seed}")
      continue
    _check_episodes(line, [x for x in read(folder) if x["variant"] in known])
    append_text(folder / FILE, json.dumps(line, default=dataclasses.asdict) + "\n")
  if failed:
    raise ValueError(
      f"{len(failed)} of the trainings failed, see above: "
      f"{'; '.join(failed)}; the same command tries them again, --report shows the "
      "others"
    )


def check(sweep: Sweep, lines: Sequence[Mapping[str, Any]]) -> None:
  """Checks that lines were made with the fields that a sweep has now.

  Lines of variants and points that it no longer has are left out of its report.

  Raises:
    ValueError: A line was made with other fields; the message names the first.
  """
  points, left_out = plan.points(sweep), set()
  for line in lines:
    name, seed = line["variant"], line["seed"]
    if name not in points:
      left_out.add(name)
      continue
    cfg = with_fields(sweep.base, points[name] | {"train.seed": seed})
    # Through a dictionary, so that a list is the same as a tuple.
    mine, other = (
      config.shared(config.from_dict(x)) for x in (config.to_dict(cfg), line["config"])
    )
    differ = [field for field in mine if mine[field] != other.get(field)]
    if differ:
      field = differ[0]
      raise ValueError(
        f"{name!r}, seed {seed}, is in the folder with {field} = "
        f"{other.get(field)!r} instead of {mine[field]!r} ({len(differ)} fields "
        "differ): give the same --set, name another --out, or take its line out of "
        f"{FILE}"
      )
  if left_out:
    _log.warning("not in the sweep, and left out: %s", ", ".join(sorted(left_out)))


def _check_episodes(line: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]):
  """Raises a ValueError if a line cannot be compared with those before."""
  for setting, found in line["settings"].items():
    for before in lines:
      there = before["settings"].get(setting)
      if there and there["manifest"] != found["manifest"]:
        raise ValueError(
          f"{line['variant']!r} was scored on other episodes of {setting} than "
          f"{before['variant']!r}, so there is no difference to report: expected the "
          "same data, crops and eval.episodes for all of a sweep"
        )


def _find(lines: Sequence[dict[str, Any]], job: plan.Job) -> dict[str, Any] | None:
  for line in lines:
    if (line["variant"], line["seed"]) == (job.name, job.seed):
      return line
  return None


def _workdir(job: plan.Job, folder: pathlib.Path) -> pathlib.Path:
  """Returns the folder of a training; long names end in a hash: systems allow 255."""
  name = re.sub(r"[ /]", "_", job.name)
  if len(name.encode()) > 200:
    name = f"{name[:40]}…{hashlib.sha256(job.name.encode()).hexdigest()[:12]}"
  return folder / "runs" / f"{name}-{job.seed}"


class LatestFeed:
  """The data set of the latest training, which most variants share."""

  def __init__(self):
    self._feed: Feed | None = None
    self._key = ""

  def of(self, cfg: Config) -> Feed:
    """Returns the opened data set of a configuration."""
    key = repr((cfg.data, cfg.train.backend))
    if self._feed is None or key != self._key:
      self._feed = None  # gone before the next one is decoded
      self._feed, self._key = Feed.open(cfg.data, cfg.train.backend), key
    return self._feed


def run_one(job: plan.Job, folder: pathlib.Path, latest: LatestFeed) -> dict[str, Any]:
  """Trains a variant unless it is trained, and scores it; returns its line.

  Args:
    job: The variant and its seed.
    folder: The folder of the sweep.
    latest: The data set of the training before, taken if it is that of this one.
  """
  cfg = job.config
  workdir = _workdir(job, folder)
  start, feed = time.perf_counter(), latest.of(cfg)
  experiment.train(cfg, workdir, feed=feed)
  with contextlib.closing(CheckpointStore(workdir)) as checkpoints:
    saved = checkpoints.restore_model()
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
  for attempt in range(_ATTEMPTS if path.is_file() else 0):
    raw = read_lines(path)
    found = [parse_line(line, _KINDS) for line in raw]
    damaged = [number for number, line in enumerate(found, 1) if line is None]
    if not damaged:
      return [line for line in found if line is not None]
    # A system may show a part of the last line while another process writes it.
    if damaged[0] < len(raw) or attempt == _ATTEMPTS - 1:
      raise ValueError(
        f"{path}, line {damaged[0]} is damaged: remove it, and its training is done "
        "again"
      )
    time.sleep(0.05)
  return []


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
