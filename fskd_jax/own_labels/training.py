"""Trains the package's detector on somebody's labels, if that helps."""

import os
import pathlib
import pprint
from collections.abc import Mapping
from typing import Any, NamedTuple

from fskd_jax import config, experiment
from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.data.sources import load_dataset
from fskd_jax.few_shot import evaluation, recipe
from fskd_jax.files import read_json, write_json, write_text
from fskd_jax.interop.weights import read_config
from fskd_jax.metrics import results
from fskd_jax.own_labels import engine
from fskd_jax.prediction.load import PACKAGED
from fskd_jax.prediction.run_labels import trained_on
from fskd_jax.training import loop
from fskd_jax.training.runs import load_config

BEFORE = "before"
"""Folder of the run with the scores of the detector that it started from."""

PLAN = "config.py"
"""File of the run's configuration, written before it is trained."""

OUTCOME = "outcome.json"
"""File of the scores; it names the workdir once everything is done."""

_LEAST, _MOST = 50, 20_000  # steps


class Given(NamedTuple):
  """Paths that a run is made from; no unlabelled images are ""."""

  labels: str
  unlabelled: str
  weights: str


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
  unlabelled: str | os.PathLike | None = None,
  minutes: float = 10.0,
  start: str | os.PathLike | None = None,
) -> Outcome:
  """Trains a few-shot detector on labels, and checks whether it became better.

  Args:
    labels: File or folder of labels, of any tool that is read.
    workdir: New folder for the run, or the folder of one that was stopped, which goes
      on with the steps that it had chosen.
    unlabelled: Folder of images without labels to learn from as well: their points must
      be found again after turning and zooming.
    minutes: About how long to train; evaluation comes on top.
    start: A .safetensors file of `fskd export` to start from; default: the detector
      that comes with the package.

  Returns:
    The scores before and after.

  Raises:
    FileNotFoundError: The labels, their images or the weights are missing.
    ValueError: The labels cannot be read or are too few, or the folder holds a run that
      is finished, or one from other labels or weights.
  """
  workdir, weights = pathlib.Path(workdir), pathlib.Path(start or PACKAGED)
  given = Given(engine.lasting(labels), engine.lasting(unlabelled), str(weights))
  cfg = _planned(workdir, given) or _plan(workdir, given, minutes)
  task = experiment.make_task(cfg)
  state = loop.new_state(task, cfg)
  scored = results.results_folder(workdir / BEFORE, cfg.eval) / "results.json"
  if not scored.exists():
    task.evaluate(engine.variables_of(state), 0, workdir / BEFORE)
  outcome = _outcome(workdir)
  if outcome is None:
    experiment.train(cfg, workdir)
    before, after = read_json(scored), experiment.evaluate(workdir)
    score_before, score_after = _score(before), _score(after)
    copied = _score(before, "copy_support")
    is_kept = score_after > score_before
    outcome = Outcome(workdir, copied, score_before, score_after, is_kept)
    write_json(workdir / OUTCOME, outcome._asdict() | {"workdir": ""})
  if not outcome.is_kept:
    # The detector before training becomes the newest of the run, and is calibrated.
    engine.keep(cfg, state, cfg.train.steps + 1, workdir)
    experiment.evaluate(workdir)
  write_json(workdir / OUTCOME, outcome._asdict() | {"workdir": str(workdir)})
  return outcome


def _planned(workdir: pathlib.Path, given: Given) -> Config | None:
  """Returns the configuration of a run that was stopped; None for a new folder."""
  if not (workdir / PLAN).exists():
    engine.new_run(workdir)
    return None
  cfg = load_config(str(workdir / PLAN))
  photographs = [x.data.path for x in cfg.data.mixture if x.name == recipe.UNLABELLED]
  there = Given(trained_on(cfg.data), "".join(photographs), cfg.train.init_from)
  if given != there:
    raise ValueError(
      f"{workdir} holds a run from {there._asdict()}, not from {given._asdict()}; "
      "name a new folder"
    )
  if (workdir / OUTCOME).exists() and read_json(workdir / OUTCOME)["workdir"]:
    raise ValueError(f"{workdir} holds a run already; name a new folder")
  print(f"going on with {workdir / PLAN}: {cfg.train.steps} steps", flush=True)
  return cfg


def _plan(workdir: pathlib.Path, given: Given, minutes: float) -> Config:
  """Chooses a configuration, prints it and writes it to the workdir."""
  labels, unlabelled, weights = given
  base = read_config(weights)
  if base is None or base.task != "few_shot":
    raise ValueError(f"{weights} is no few-shot detector with a configuration")
  base.data.mixture = ()
  base.data.path, base.data.name = labels, "coco_keypoints"
  base.data.executor = "resident"
  base.train.init_from, base.train.init_patterns = weights, ()
  chosen = recipe.choose(load_dataset(base.data), labels, base, unlabelled)
  print("\n".join(chosen.choices), flush=True)
  cfg = recipe.with_steps(chosen.config, _MOST)
  feed = Feed.open(cfg.data)
  evaluation.setting_samplers(feed, cfg.eval)  # before it is waited for
  state = loop.new_state(experiment.make_task(cfg), cfg)
  seconds = engine.seconds_per_step(cfg, feed, state)
  steps = int(min(max(minutes * 60 / seconds, _LEAST), _MOST))
  cfg = recipe.with_steps(chosen.config, steps)
  print(f"steps: {steps}, {seconds:.2f} s each", flush=True)
  write_text(workdir / PLAN, _file(cfg, chosen.choices))
  return cfg


def _outcome(workdir: pathlib.Path) -> Outcome | None:
  """Returns what a run that was stopped afterwards had come to."""
  if not (workdir / OUTCOME).exists():
    return None
  return Outcome(**read_json(workdir / OUTCOME) | {"workdir": workdir})


def _score(content: Mapping[str, Any], baseline: str = "") -> float:
  (found,) = content["settings"].values()
  found = found["baselines"][baseline] if baseline else found
  return found["pck"]["0.1"]["mean"]


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
