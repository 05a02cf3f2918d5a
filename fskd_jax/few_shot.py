"""Few-shot keypoint detection as a task to train and evaluate."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from fskd_jax import evaluator, plots, steps
from fskd_jax.config import Config
from fskd_jax.data.episodes import EpisodeSampler
from fskd_jax.data.feed import Feed
from fskd_jax.models.detector import FewShotDetector, init_variables


class FewShotTask:
  """Implements `task.Task` with the few-shot detector."""

  def __init__(self, cfg: Config):
    self._cfg = cfg
    self._detector = FewShotDetector(cfg.model, cfg.data.image_size)
    train = cfg.train
    self.images_per_step = train.episodes_per_step * (train.shots + train.queries)

  def init_variables(self) -> dict[str, Any]:
    """Draws the variables of an untrained detector."""
    return init_variables(self._detector, self._cfg.train.seed)

  def sampler(self, feed: Feed) -> EpisodeSampler:
    """Returns the sampler of training."""
    return feed.training_sampler(self._cfg.train)

  def train_step(self, tx: optax.GradientTransformation) -> Callable[..., Any]:
    """Returns `steps.train_step` of this experiment."""
    return functools.partial(
      steps.train_step,
      detector=self._detector,
      tx=tx,
      loss=self._cfg.loss,
      seed=self._cfg.train.seed,
      rotate_support=self._cfg.train.rotate_support,
      color_jitter=self._cfg.data.color_jitter,
    )

  def validator(self, feed: Feed) -> "FewShotValidator":
    """Returns what scores the detector during training."""
    return FewShotValidator(self._cfg, feed, self._detector)

  def check_evaluation(self, feed: Feed) -> None:
    """Does `evaluator.check_settings`."""
    evaluator.check_settings(feed, self._cfg.eval)

  def evaluate(
    self, variables: Any, step: int, workdir: str | os.PathLike
  ) -> dict[str, Any]:
    """Does `evaluator.evaluate`."""
    return evaluator.evaluate(self._cfg, variables, step, workdir)


class FewShotValidator:
  """Scores and draws a detector on the validation species, never the unseen."""

  def __init__(self, cfg: Config, feed: Feed, detector: FewShotDetector):
    self._cfg, self._feed = cfg, feed
    self._samplers = {
      kind: feed.evaluation_sampler(f"validation/{kind}", cfg.eval)
      for kind in ("base", "novel")
      if not feed.why_empty(f"validation/{kind}")
    }
    self.is_possible = bool(self._samplers)
    self._network = evaluator.network_predictor(detector, feed, cfg.train.backend)

  def _predictor(self, state: steps.TrainState) -> evaluator.Predictor:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return functools.partial(self._network, variables)

  def scores(self, state: steps.TrainState) -> dict[str, float]:
    """Returns PCK@0.1 (or nearest) by list of types."""
    predict = self._predictor(state)
    found = {}
    for kind, sampler in self._samplers.items():
      summaries, _ = evaluator.score(
        {"detector": predict},
        self._feed,
        sampler,
        self._cfg.eval,
        episodes=self._cfg.train.validation_episodes,
      )
      threshold = f"{evaluator.headline(self._cfg.eval):g}"
      found[f"val/{kind}/pck@{threshold}"] = summaries["detector"]["pck"][threshold][
        "mean"
      ]
    return found

  def picture(self, state: steps.TrainState, title: str) -> np.ndarray:
    """Draws the first validation episode of each list of types."""
    predict = self._predictor(state)
    return plots.draw_episodes(
      [
        evaluator.picture(f"{title}, {kind}", 0, sampler, self._feed, predict)
        for kind, sampler in self._samplers.items()
      ]
    )
