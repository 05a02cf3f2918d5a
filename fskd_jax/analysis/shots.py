"""Measures accuracy over the number of support images, on the same queries and types.

Episodes are drawn with K support images, of which the k-shot detector sees the first k.
Only the types that the first image shows are scored, so that all numbers of shots are
scored on the same keypoints: otherwise more images would show more types.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from fskd_jax.config import DataConfig
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.few_shot.scoring import reader_of, score
from fskd_jax.metrics.intervals import Interval, crossed_bootstrap
from fskd_jax.models.build import Model


@dataclasses.dataclass(frozen=True)
class SameTypes:
  """Episodes of a sampler, in which only types of the first support are scored."""

  sampler: EpisodeSampler

  @property
  def cfg(self) -> DataConfig:
    """The configuration with the size of the crops."""
    return self.sampler.cfg

  def plan(self, index: int) -> EpisodeBatch:
    """Plans the episode with this index."""
    plan = self.sampler.plan(index)
    visible = plan.query.visible & plan.support.visible[:1]
    return plan._replace(query=plan.query._replace(visible=visible))


def first_shots(batch: EpisodeBatch, shots: int) -> EpisodeBatch:
  """Returns a batch with only the first support images of each episode."""
  return batch._replace(support=Views(*(x[:, :shots] for x in batch.support)))


class ShotScores(NamedTuple):
  """Scores of one run in one setting.

  Attributes:
    manifest: The hash of the episodes (`EpisodeRecord`).
    pck: PCK of each episode with 1 .. K shots; nan without a valid keypoint.
  """

  manifest: str
  pck: Float[np.ndarray, "k e"]


def measure(
  model: Model,
  feed: Feed,
  settings: Sequence[str],
  *,
  shots: int,
  episodes: int,
  threshold: float,
) -> dict[str, ShotScores]:
  """Scores a detector with 1 to `shots` support images, in every setting.

  Args:
    model: The model of a run.
    feed: The feed of its data set, on one device.
    settings: The names of settings, see `pools.evaluation_sampler`.
    shots: The largest number K of support images, at least 2.
    episodes: The number of episodes in each setting.
    threshold: The threshold of PCK, one of `eval.thresholds`.

  Raises:
    ValueError: A setting has too few images for such episodes.
  """
  cfg = model.config
  variables = parallel.replicate(model.variables, backend="single")
  read = reader_of(cfg, feed, variables, "single")
  predictors = {
    str(k): lambda batch, k=k: read(first_shots(batch, k)) for k in range(1, shots + 1)
  }
  drawn = dataclasses.replace(cfg.eval, shots=shots)
  found = {}
  for setting in settings:
    sampler = SameTypes(evaluation_sampler(feed, setting, drawn))
    record = score(
      predictors, feed, sampler, drawn, episodes=episodes, label=setting
    ).record
    pck = [record["scores"][k]["pck"][f"{threshold:g}"] for k in predictors]
    found[setting] = ShotScores(record["manifest"], np.array(pck, np.float64))
  return found


class Gain(NamedTuple):
  """PCK of a number of shots over runs and episodes, and its gain over 1 shot."""

  shots: int
  pck: Interval
  gain: Interval


def gains(runs: Sequence[ShotScores]) -> list[Gain]:
  """Compares numbers of shots, over runs that differ in their training seed.

  Raises:
    ValueError: The runs were scored on different episodes.
  """
  if len({run.manifest for run in runs}) > 1:
    raise ValueError(
      "the runs were scored on different episodes; expected runs of one data set, "
      "split and evaluation seed"
    )
  pck = np.stack([run.pck for run in runs], axis=1)
  return [
    Gain(k, crossed_bootstrap(scores), crossed_bootstrap(scores - pck[0]))
    for k, scores in enumerate(pck, 1)
  ]


def draw(found: dict[str, list[Gain]], threshold: float) -> Figure:
  """Draws PCK over the number of shots, one line per setting."""
  figure = Figure(figsize=(5, 3.4), layout="constrained", dpi=120)
  axis = figure.subplots()
  for place, (setting, rows) in enumerate(found.items()):
    pck = 100 * np.array([row.pck for row in rows])
    shots = [row.shots for row in rows]
    axis.plot(shots, pck[:, 0], "o-", color=f"C{place}", label=setting)
    axis.fill_between(
      shots, pck[:, 1], pck[:, 2], color=f"C{place}", alpha=0.15, linewidth=0
    )
  axis.set_xticks(shots)
  axis.set_xlabel("support images")
  axis.set_ylabel(f"PCK@{threshold:g}, %")
  axis.grid(color="0.9")
  axis.legend()
  return figure
