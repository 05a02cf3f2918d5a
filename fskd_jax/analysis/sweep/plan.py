"""Plans sweeps: a configuration, what is varied, and the training seeds."""

import ast
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fskd_jax.config import Config
from fskd_jax.config.changes import with_fields
from fskd_jax.training.runs import run_file

CHECKPOINTS = 5
"""Number of checkpoints of a training, of which the last is kept."""


@dataclasses.dataclass(frozen=True)
class Sweep:
  """Variants of a configuration, crossed with a grid and with seeds.

  Attributes:
    base: The configuration that all share, with their budget of steps and episodes.
    variants: For each variant, the fields that it changes, {"section.field": value}.
      All are compared with the first.
    grid: For each field, the values that every variant is trained with.
    seeds: The training seeds.
  """

  base: Config
  variants: Mapping[str, Mapping[str, Any]] = dataclasses.field(
    default_factory=lambda: {"baseline": {}}
  )
  grid: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
  seeds: Sequence[int] = (0, 1, 2)


class Job(NamedTuple):
  """A training of a sweep, by the name of its variant and its seed."""

  name: str
  seed: int
  changes: Mapping[str, Any]
  config: Config


def load_sweep(path: str, values: Mapping[str, Any]) -> Sweep:
  """Returns the sweep of a Python file that has get_sweep().

  Args:
    path: The file, such as one in configs/sweeps/.
    values: Fields of the base to change, for a shorter sweep or another folder.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: It has no get_sweep() that returns a `Sweep`, or a field is wrong.
  """
  sweep = run_file(path, "get_sweep")
  if not isinstance(sweep, Sweep):
    raise ValueError(f"{path}: expected get_sweep() that returns fskd_jax's Sweep")
  if not sweep.variants or not sweep.seeds:
    raise ValueError(f"{path}: a sweep needs a variant and a seed")
  for field, listed in sweep.grid.items():
    if isinstance(listed, str) or not isinstance(listed, Sequence) or not listed:
      raise ValueError(f"{path}: grid: {field}: expected a list, got {listed!r}")
  if any("train.seed" in fields for fields in (sweep.grid, *sweep.variants.values())):
    raise ValueError(f"{path}: train.seed: name the seeds in Sweep(seeds=...)")
  return dataclasses.replace(sweep, base=_lean(with_fields(sweep.base, values)))


def points(sweep: Sweep) -> dict[str, dict[str, Any]]:
  """Returns the changed fields of every variant at every point of the grid, by name."""
  found = {}
  for name, changes in sweep.variants.items():
    for values in itertools.product(*sweep.grid.values()):
      at = dict(zip(sweep.grid, values))
      ends = [f"{field} = {value!r}" for field, value in at.items()]
      found[", ".join([name, *ends])] = dict(changes) | at
  return found


def jobs(sweep: Sweep, names: Sequence[str] | None = None) -> Iterator[Job]:
  """Yields the trainings of a sweep, seed by seed.

  Args:
    sweep: The sweep.
    names: Keys of `points`; default: all.

  Raises:
    ValueError: There is no such point, or its configuration is wrong.
  """
  every = points(sweep)
  unknown = [name for name in names or () if name not in every]
  if unknown:
    raise ValueError(f"unknown variants {unknown}; there are {list(every)}")
  chosen = {name: every[name] for name in (every if names is None else names)}
  configs = {name: with_fields(sweep.base, chosen[name]) for name in chosen}
  for seed, name in itertools.product(sweep.seeds, chosen):
    yield Job(
      name, seed, chosen[name], with_fields(configs[name], {"train.seed": seed})
    )


def parse_fields(texts: Sequence[str]) -> dict[str, Any]:
  """Parses "section.field=value", where the value is a Python literal or else text.

  Raises:
    ValueError: A text has no "=".
  """
  found = {}
  for text in texts:
    name, equals, value = text.partition("=")
    if not equals:
      raise ValueError(f"--set {text}: expected FIELD=VALUE")
    try:
      found[name] = ast.literal_eval(value)
    except (ValueError, SyntaxError):
      found[name] = value
  return found


def _lean(cfg: Config) -> Config:
  """Omits what a short training does not need: only its last step is scored.

  The few checkpoints let one that was interrupted go on.
  """
  cfg.train.validate_every = cfg.train.picture_every = cfg.train.steps
  cfg.train.validation_episodes = cfg.eval.batch_episodes
  cfg.train.checkpoint_every = max(cfg.train.steps // CHECKPOINTS, 1)
  cfg.train.keep_checkpoints = 1
  return cfg
