"""Chooses the prior that a run's heat-maps are read out with."""

import functools
import itertools
import logging
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fskd_jax.config import Config, LossConfig
from fskd_jax.data.evaluation_batches import evaluation_batches
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot.encoded import EncodedCrops
from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.few_shot.scoring import run_detector
from fskd_jax.few_shot.step import read_keypoints
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.metrics.scores import EpisodeScores
from fskd_jax.models.detector import DetectorOutput

STRENGTHS = 0.7, 1.0, 1.5
SIGMAS = 0.03, 0.05, 0.08
"""The priors to choose from, beside none."""

EPISODES, LEAST = 200, 10
"""Episodes that the choice is made on, over all settings; and of each, at least."""

_log = logging.getLogger(__name__)


def choose_prior(
  cfg: Config,
  feed: Feed,
  samplers: Mapping[str, EpisodeSampler],
  variables: Any,
) -> Prior | None:
  """Returns the prior that finds most keypoints, or None if none finds more.

  Args:
    cfg: Configuration of the run.
    feed: The data set.
    samplers: The settings to choose on, as returned by `fitting.fitting_samplers`.
    variables: params and batch_stats of the detector.
  """
  grid = list(itertools.product(STRENGTHS, SIGMAS))
  reduce = functools.partial(
    _keypoints,
    image_size=cfg.data.image_size,
    loss=cfg.loss,
    strengths=STRENGTHS,
    sigmas=SIGMAS,
  )
  run = run_detector(cfg, feed, reduce, kept_as="choice of the prior")
  placed = parallel.replicate(variables, backend=cfg.train.backend)
  crops = EncodedCrops(cfg, feed, placed)
  count = min(max(EPISODES // len(samplers), LEAST), cfg.eval.episodes)
  means = []
  for sampler in samplers.values():
    scores = [
      EpisodeScores((THRESHOLD,), feed.dataset.keypoint_names)
      for _ in range(len(grid) + 1)
    ]
    with evaluation_batches(feed, sampler, count, cfg.eval.batch_episodes) as batches:
      for batch in batches:
        species = feed.species(batch.query.instance)
        found = np.asarray(run(placed, crops.put_into(batch)))
        for number, of_prior in enumerate(scores):
          of_prior.add(batch, found[:, number], species)
    means.append([s.summary()["pck"][f"{THRESHOLD:g}"]["mean"] or 0.0 for s in scores])
  pck = np.mean(means, axis=0)
  best = int(pck.argmax())  # the first of equals: none before any
  prior = None
  if best > 0:
    strength, sigma = grid[best - 1]
    prior = Prior(strength=strength, sigma=sigma)
  _log.info("PCK@%g without a prior %.1f %%, with %s %.1f %%",
    THRESHOLD, 100 * pck[0], prior, 100 * pck[best],
  )  # fmt: skip
  return prior


def _keypoints(
  output: DetectorOutput,
  batch: EpisodeBatch,
  *,
  image_size: int,
  loss: LossConfig,
  strengths: tuple[float, ...],
  sigmas: tuple[float, ...],
) -> Float[Array, "b g m n 2"]:
  """Reads an output out without a prior, and with each of a grid, strength by strength.

  None is a strength of 0. Priors of one width differ by a factor, so their hypotheses
  are made once.
  """

  def read(strength: Array, sigma: Array) -> Array:
    prior = Prior(strength=strength, sigma=sigma)
    found = read_keypoints(
      output, batch, image_size=image_size, loss=loss, kind="mode", prior=prior
    )
    return jnp.asarray(found.keypoints)

  of_width = functools.partial(
    jax.vmap(read, in_axes=(0, None)), jnp.array([0.0, *strengths])
  )
  found = jax.lax.map(of_width, jnp.array(sigmas)).swapaxes(0, 1)  # strengths first
  none, others = found[0, :1], found[1:].reshape(-1, *found.shape[2:])
  return jnp.moveaxis(jnp.concatenate([none, others]), 0, 1)
