"""Protocols of a task, as the training loop and the scripts use it."""

import os
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import optax

from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler
from fskd_jax.training.state import TrainState


class Validator(Protocol):
  """Scores and pictures of a network during training, on the validation split."""

  @property
  def is_possible(self) -> bool:
    """Whether a validation split exists."""
    ...

  def scores(self, state: TrainState) -> dict[str, float]:
    """Returns scores by their name in the metrics file."""
    ...

  def picture(self, state: TrainState, title: str) -> np.ndarray:
    """Returns a picture of predictions, uint8 [h w 3]."""
    ...


class Task(Protocol):
  """A kind of experiment: a network, its episodes, its step and its scores."""

  @property
  def images_per_step(self) -> int:
    """Returns the number of images of a training step, over all devices."""
    ...

  def init_variables(self) -> dict[str, Any]:
    """Returns {"params", "batch_stats"} of an untrained network."""
    ...

  def sampler(self, feed: Feed) -> Sampler:
    """Returns the source of the training episodes."""
    ...

  def train_step(self, tx: optax.GradientTransformation) -> Callable[..., Any]:
    """Returns the step for `parallel.parallelize_training`."""
    ...

  def validator(self, feed: Feed) -> Validator:
    """Returns the validator of a training."""
    ...

  def check_evaluation(self, feed: Feed) -> None:
    """Checks, before training, that the settings of the evaluation can be scored.

    Settings without instances cause a warning.

    Raises:
      ValueError: A setting has instances, but too few.
    """
    ...

  def evaluate(
    self, variables: Any, step: int, workdir: str | os.PathLike
  ) -> dict[str, Any]:
    """Evaluates variables in every setting, and writes and returns the results."""
    ...
