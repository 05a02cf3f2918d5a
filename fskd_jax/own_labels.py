"""Trains the package's detector on somebody's labels, if that helps."""

import contextlib
import os
import pathlib
import pprint
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from fskd_jax import config, experiment
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.sources import load_dataset
from fskd_jax.few_shot import recipe
from fskd_jax.files import write_text
from fskd_jax.interop.weights import read_config
from fskd_jax.prediction.load import PACKAGED
from fskd_jax.training import loop
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.state import TrainState

BEFORE = "before"
"""Folder of the run with the scores of the detector that it started from."""

_TIMED = 6  # steps, after the first, which compiles
_LEAST, _MOST = 50, 20_000  # steps


class Outcome(NamedTuple):
  """Scores on images that were not trained on, PCK@0.1 as a part of 1.

  Attributes:
    workdir: Folder of the run.
    copied: Score of the support's coordinates, copied relative to the box.
    before: Score of the detector that training started from.
    after: Score of the trained detector.
    is_kept: Whether the run holds the trained detector; else the one before.
  """

  workdir: pathlib.Path
  copied: float
  before: float
  after: float
  is_kept: bool

  def __str__(self) -> str:
    end = (
      f"{self.workdir} holds the trained detector"
      if self.is_kept
      else f"training did not help: {self.workdir} holds the detector as it was"
    )
    return (
      f"PCK@0.1 on images not trained on: copied coordinates {self.copied:.1%}, before "
      f"training {self.before:.1%}, after {self.after:.1%}; {end}"
    )


def train_on_labels(
  labels: str | os.PathLike,
  workdir: str | os.PathLike,
  *,
  minutes: float = 10.0,
  start: str | os.PathLike | None = None,
) -> Outcome:
  """Trains a few-shot detector on labels, and checks whether it became better.

  Args:
    labels: File or folder of labels, of any tool that is read.
    workdir: New folder for the run.
    minutes: About how long to train; evaluation comes on top.
    start: A .safetensors file of `fskd export` to start from; default: the detector
      that comes with the package.

  Returns:
    The scores before and after.

  Raises:
    FileNotFoundError: The labels, their images or the weights are missing.
    ValueError: The labels cannot be read or are too few, or the folder holds a run.
  """
  workdir, weights = pathlib.Path(workdir), pathlib.Path(start or PACKAGED)
  if (workdir / "checkpoints").exists():
    raise ValueError(f"{workdir} holds a run already; name a new folder")
  base = read_config(weights)
  if base is None or base.task != "few_shot":
    raise ValueError(f"{weights} is no few-shot detector with a configuration")
  base.data.mixture = ()
  base.data.path, base.data.name = str(labels), "coco_keypoints"
  base.data.executor = "resident"
  base.train.init_from, base.train.init_patterns = str(weights), ()
  chosen = recipe.choose(load_dataset(base.data), str(labels), base)
  print("\n".join(chosen.choices), flush=True)
  cfg = recipe.with_steps(chosen.config, _MOST)
  task = experiment.make_task(cfg)
  state = loop.new_state(task, cfg)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  seconds = _seconds_per_step(recipe.with_steps(cfg, 1 + _TIMED), state)
  steps = int(min(max(minutes * 60 / seconds, _LEAST), _MOST))
  cfg = recipe.with_steps(chosen.config, steps)
  print(f"steps: {steps}, {seconds:.2f} s each", flush=True)
  write_text(workdir / "config.py", _file(cfg, chosen.choices))
  before = task.evaluate(variables, 0, workdir / BEFORE)
  experiment.train(cfg, workdir)
  after = experiment.evaluate(workdir)
  score_before, score_after = _score(before), _score(after)
  is_kept = score_after > score_before
  if not is_kept:
    _keep(cfg, state, workdir)
  copied = _score(before, "copy_support")
  return Outcome(workdir, copied, score_before, score_after, is_kept)


def _seconds_per_step(cfg: Config, state: TrainState) -> float:
  """Returns the time of a step on this machine, of a few that are forgotten."""
  times = []

  def after_step(step: int, state: TrainState, metrics: Mapping[str, Any]) -> None:
    jax.block_until_ready(metrics)
    times.append(time.perf_counter())

  feed = Feed.open(cfg.data, cfg.train.backend)
  loop.fit(experiment.make_task(cfg), feed, state, cfg, after_step=after_step)
  return (times[-1] - times[0]) / (len(times) - 1)


def _score(results: Mapping[str, Any], baseline: str = "") -> float:
  found = results["settings"][recipe.SETTING]
  found = found["baselines"][baseline] if baseline else found
  return found["pck"]["0.1"]["mean"]


def _keep(cfg: Config, state: TrainState, workdir: pathlib.Path) -> None:
  """Makes the detector before training the newest of the run, and calibrates it."""
  with contextlib.closing(CheckpointStore(workdir, keep=1)) as checkpoints:
    checkpoints.save(cfg.train.steps + 1, state, config.to_dict(cfg))
  experiment.evaluate(workdir)


def _file(cfg: Config, choices: tuple[str, ...]) -> str:
  """Returns the text of a configuration file for train.py."""
  told = "\n".join(f"# {line}" for line in choices)
  content = pprint.pformat(config.to_dict(cfg), width=88, sort_dicts=False)
  return (
    '"""Chosen by fskd train."""\n\n'
    "from fskd_jax import config\n\n"
    f"{told}\nCONTENT = {content}\n\n\n"
    "def get_config():\n"
    '  """Returns the experiment."""\n'
    "  return config.from_dict(CONTENT)\n"
  )
