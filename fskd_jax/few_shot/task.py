"""Few-shot keypoint detection as a `training.task.Task`."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from fskd_jax.config import Config, rates
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler
from fskd_jax.few_shot import evaluation, report
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.few_shot.mixing import training_sampler
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import Reader, reader_of, score
from fskd_jax.metrics import results
from fskd_jax.models.build import make_detector
from fskd_jax.models.detector import init_variables
from fskd_jax.pictures import episodes
from fskd_jax.training import state as train_state


class FewShotTask:
  """Implements `training.task.Task` with the few-shot detector."""

  def __init__(self, cfg: Config, search: evaluation.Searcher | None = None):
    """Creates the task.

    Args:
      cfg: The experiment.
      search: The search to measure, as for `evaluation.measure`.
    """
    self._search = search
    self._cfg = cfg
    self._detector = make_detector(cfg)
    train = cfg.train
    self.images_per_step = train.episodes_per_step * (train.shots + train.queries)

  def init_variables(self) -> dict[str, Any]:
    """Draws the variables of an untrained detector."""
    return init_variables(self._detector, self._cfg.train.seed)

  def sampler(self, feed: Feed) -> Sampler:
    """Returns the sampler of training."""
    return training_sampler(feed, self._cfg.train)

  def train_step(self, tx: optax.GradientTransformation) -> Callable[..., Any]:
    """Returns `step.train_step` of this experiment."""
    return functools.partial(
      few_shot_step.train_step,
      detector=self._detector,
      tx=tx,
      loss=self._cfg.loss,
      seed=self._cfg.train.seed,
      rotate_support=self._cfg.train.rotate_support,
      color_jitter=self._cfg.data.color_jitter,
      grey_probability=self._cfg.data.grey_probability,
      rates=rates(self._cfg),
      parts=self._cfg.train.parts,
    )

  def validator(self, feed: Feed) -> "FewShotValidator":
    """Returns the validator that scores the detector during training."""
    return FewShotValidator(self._cfg, feed)

  def check_evaluation(self, feed: Feed) -> None:
    """Runs `evaluation.check_settings`."""
    evaluation.check_settings(feed, self._cfg.eval)

  def evaluate(
    self, variables: Any, step: int, workdir: str | os.PathLike
  ) -> dict[str, Any]:
    """Runs `evaluation.evaluate`."""
    return evaluation.evaluate(self._cfg, variables, step, workdir, self._search)


class FewShotValidator:
  """Scores and pictures of a detector on validation species, never on unseen ones."""

  def __init__(self, cfg: Config, feed: Feed):
    self._cfg, self._feed = cfg, feed
    settings = feed.expand([f"validation/{kind}" for kind in ("base", "novel")])
    self._samplers = {
      setting.removeprefix("validation/"): evaluation_sampler(feed, setting, cfg.eval)
      for setting in settings
      if not feed.why_empty(setting)
    }
    self.is_possible = bool(self._samplers)

  def _reader(self, state: train_state.TrainState) -> Reader:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return reader_of(self._cfg, self._feed, variables)

  def scores(self, state: train_state.TrainState) -> dict[str, float]:
    """Returns PCK@0.1 (or at the nearest threshold) by list of types.

    A mixture has the means over its sources, and the scores of each source.
    """
    detector = {evaluation.DETECTOR: self._reader(state)}
    threshold = f"{results.headline(self._cfg.eval):g}"
    found = {}
    by_kind: dict[str, list[float]] = {}
    for name, sampler in self._samplers.items():
      summaries = score(
        detector,
        self._feed,
        sampler,
        self._cfg.eval,
        episodes=self._cfg.train.validation_episodes,
      ).summaries
      pck = summaries[evaluation.DETECTOR]["pck"][threshold]["mean"]
      kind, _, source = name.partition("@")
      by_kind.setdefault(kind, []).append(pck)
      if source:
        found[f"val/{kind}/{source}/pck@{threshold}"] = pck
    means = {
      f"val/{kind}/pck@{threshold}": sum(values) / len(values)
      for kind, values in by_kind.items()
    }
    return means | found

  def picture(self, state: train_state.TrainState, title: str) -> np.ndarray:
    """Draws the first validation episode of each list of types."""
    read = self._reader(state)
    return episodes.draw_episodes(
      [
        report.picture(f"{title}, {kind}", 0, sampler, self._feed, read)
        for kind, sampler in self._samplers.items()
      ]
    )
