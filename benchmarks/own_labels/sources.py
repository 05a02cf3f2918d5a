"""Parts of a labelled data set: what may be labelled, and what is tested on."""

import argparse
import pathlib
from typing import NamedTuple

import numpy as np

from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.few_shot import recipe
from fskd_jax.own_labels.examples import units
from fskd_jax.own_labels.tuning import part


def parser(description: str | None) -> argparse.ArgumentParser:
  """Returns a parser of --root and --sources, for the docstring of a program."""
  made = argparse.ArgumentParser(description=description)
  made.add_argument("--root", type=pathlib.Path, required=True)
  made.add_argument("--sources", nargs="+", required=True)
  return made


class Parts(NamedTuple):
  """Objects that may be labelled, in the order in which they are, and test objects."""

  pool: KeypointDataset
  test: KeypointDataset


def divided(path: pathlib.Path, seed: int, pool: int, test: int) -> Parts:
  """Divides a data set by clip or image, half and half.

  Args:
    path: Folder of the labels.
    seed: Seed of the division and of the order.
    pool: Largest number of objects to label.
    test: Largest number of test objects.
  """
  dataset = read_dataset(path)
  numbers = units(dataset, recipe.clips(dataset))
  rng = np.random.default_rng(seed)
  different = rng.permutation(np.unique(numbers))
  first = np.isin(numbers, different[: len(different) // 2])
  rows = rng.permutation(np.flatnonzero(first))[:pool]
  others = rng.permutation(np.flatnonzero(~first))[:test]
  return Parts(part(dataset, rows.tolist()), part(dataset, others.tolist()))
