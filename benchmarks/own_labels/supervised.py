"""The usual way: a pose estimator of ImageNet weights, trained on the labels alone.

The network is the small TransPose of `configs/humans_pose.py:pretrained`. It trains on
turned and scaled crops of the labelled objects, mirrored where `fskd adapt` mirrors.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from configs import humans_pose
from fskd_jax import experiment
from fskd_jax.config import Config
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.feed import Feed
from fskd_jax.data.splits import Splits
from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.own_labels import engine
from fskd_jax.pose import prediction, scores
from fskd_jax.training import loop


class Supervised:
  """An untrained pose estimator beside labels that it may be trained on."""

  def __init__(
    self,
    pool: KeypointDataset,
    test: KeypointDataset,
    flip_probability: float,
    steps: int,
  ):
    """Decodes all images.

    Args:
      pool: The labelled objects.
      test: The objects to predict.
      flip_probability: Share of mirrored crops.
      steps: Number of steps of every training, of 8 objects each.
    """
    self._cfg = _config(pool.keypoint_names, flip_probability, steps)
    self._pool, self._test = (Feed.of(x, self._cfg.data) for x in (pool, test))
    self._task = experiment.make_task(self._cfg)
    self._step = experiment.compiled_step(self._cfg)
    self._start = loop.new_state(self._task, self._cfg)
    self._run = prediction.network_predictor(self._cfg, self._test)

  def pck(self, rows: Sequence[int]) -> Float[np.ndarray, " o"]:
    """Trains on some of the objects; returns PCK@0.1 of every test object, 0..1."""
    train = tuple(self._pool.dataset.instances[row] for row in rows)
    feed = dataclasses.replace(self._pool, splits=Splits(train, (), (), ()))
    state = loop.fit(self._task, feed, self._start, self._cfg, step_fn=self._step)
    variables = engine.variables_of(state)
    tested, objects = self._test, self._test.dataset.instances
    found = prediction.predict(
      {"network": lambda batch: self._run(variables, batch, tested.store)},
      tested,
      prediction.person_sampler(self._cfg, tested, objects, training=False),
      persons=len(objects),
      batch_persons=self._cfg.eval.batch_episodes,
    )
    places = found["network"][..., :2]
    return scores.person_pck(objects, places, tested.types.base, THRESHOLD)


def _config(names: tuple[str, ...], flip_probability: float, steps: int) -> Config:
  cfg = humans_pose.get_config("pretrained")
  cfg.data.base, cfg.data.flip_probability = names, flip_probability
  cfg.data.heldout_fraction = cfg.data.validation_fraction = 0.0
  pose = cfg.pose
  pose.flip_test = flip_probability > 0
  pose.lower_body, pose.scale_std, pose.rotation_std = (), 0.25, 20.0
  cfg.train.steps, cfg.train.episodes_per_step = steps, 8
  cfg.optim.warmup_steps = steps // 10
  return cfg
