"""Checks what a training is about to learn wrong from sound files."""

from collections.abc import Iterator

from fskd_jax.config import DataConfig
from fskd_jax.data import sides
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.messages import join_first


def doubts(dataset: KeypointDataset, cfg: DataConfig) -> Iterator[str]:
  """Yields a sentence for each doubt about a training on a data set.

  Args:
    dataset: The data set.
    cfg: Its configuration.
  """
  if cfg.flip_probability > 0 and not cfg.flip_pairs:
    found = sides.find(dataset.keypoint_names)
    lone = [*found.alone, *(" = ".join(pair) for pair in found.doubtful)]
    if lone:
      yield (
        f"{len(lone)} keypoint names of {dataset.name} seem to be of one side, and a "
        f"mirrored image exchanges them with no other: {join_first(lone, ', ')}. Name "
        "the pairs (--config.data.flip_pairs) or mirror no image "
        "(--config.data.flip_probability=0)"
      )
