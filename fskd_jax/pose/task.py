"""Supervised pose estimation as a `training.task.Task`."""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from fskd_jax.config import Config, rates
from fskd_jax.data.feed import Feed
from fskd_jax.metrics import scores as metrics_scores
from fskd_jax.models.build import make_transpose
from fskd_jax.models.transpose import init_variables
from fskd_jax.pictures import episodes
from fskd_jax.pose import evaluation, prediction, scores, step
from fskd_jax.pose.sampler import PoseSampler
from fskd_jax.training import state as train_state


class PoseTask:
  """Implements `training.task.Task` with TransPose; an episode is a person."""

  def __init__(self, cfg: Config):
    self._cfg = cfg
    self._model = make_transpose(cfg)
    self.images_per_step = cfg.train.episodes_per_step

  def init_variables(self) -> dict[str, Any]:
    """Draws the variables of an untrained network."""
    return init_variables(self._model, self._cfg.train.seed)

  def sampler(self, feed: Feed) -> PoseSampler:
    """Returns the sampler of training."""
    return prediction.person_sampler(self._cfg, feed, feed.splits.train, training=True)

  def train_step(self, tx: optax.GradientTransformation) -> Callable[..., Any]:
    """Returns `step.train_step` of this experiment."""
    return functools.partial(
      step.train_step,
      model=self._model,
      tx=tx,
      loss=self._cfg.loss,
      seed=self._cfg.train.seed,
      color_jitter=self._cfg.data.color_jitter,
      rates=rates(self._cfg),
      parts=self._cfg.train.parts,
    )

  def validator(self, feed: Feed) -> "PoseValidator":
    """Returns the validator that scores the network during training."""
    return PoseValidator(self._cfg, feed)

  def check_evaluation(self, feed: Feed) -> None:
    """Checks that persons to evaluate exist, and mirror partners for the flip test."""
    if feed.held(self._cfg.eval.settings, may_be_none=True):
      prediction.network_predictor(self._cfg, feed)

  def evaluate(
    self, variables: Any, step: int, workdir: str | os.PathLike
  ) -> dict[str, Any]:
    """Runs `evaluation.evaluate`."""
    return evaluation.evaluate(self._cfg, variables, step, workdir)


class PoseValidator:
  """Scores and pictures of a network on the first persons of the validation split."""

  def __init__(self, cfg: Config, feed: Feed):
    self._cfg, self._feed = cfg, feed
    self._persons = feed.splits.validation[: cfg.train.validation_episodes]
    self.is_possible = bool(self._persons)
    if self.is_possible:
      self._sampler = prediction.person_sampler(
        cfg, feed, self._persons, training=False
      )
      self._network = prediction.network_predictor(cfg, feed)

  def scores(self, state: train_state.TrainState) -> dict[str, float]:
    """Returns PCK at every threshold."""
    predicted = prediction.predict(
      {"network": self._predictor(state)},
      self._feed,
      self._sampler,
      persons=len(self._persons),
      batch_persons=self._cfg.eval.batch_episodes,
    )["network"]
    entries = scores.distances(self._persons, predicted[..., :2], self._feed.types.base)
    return {
      f"val/base/pck@{t:g}": metrics_scores.episode_mean(
        entries.to_box <= t, entries.episode
      )["mean"]
      or 0.0
      for t in self._cfg.eval.thresholds
    }

  def picture(self, state: train_state.TrainState, title: str) -> np.ndarray:
    """Draws the first validation persons."""
    shown = range(min(evaluation.PERSONS_DRAWN, len(self._persons)))
    row = prediction.picture(
      title, shown, self._sampler, self._feed, self._predictor(state)
    )
    return episodes.draw_episodes([row])

  def _predictor(self, state: train_state.TrainState) -> prediction.Predictor:
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return lambda batch: self._network(variables, batch, self._feed.store)
