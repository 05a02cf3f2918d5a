"""Compares two detectors: their parameters, and the output of every stage."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from fskd_jax.config import Config
from fskd_jax.interop import state_dicts
from fskd_jax.interop.entries import COUNTER
from fskd_jax.interop.stages import order, run_stages, seeded_inputs
from fskd_jax.models.build import Model, make_model


class Difference(NamedTuple):
  """Difference between two arrays of one name.

  Attributes:
    name: Name of the parameter or stage.
    max_abs: Largest absolute difference.
    relative: `max_abs` over the largest absolute value in either; nan if either array
      holds a nan.
  """

  name: str
  max_abs: float
  relative: float


class Comparison(NamedTuple):
  """Result of `compare`.

  Attributes:
    parameters: Difference of each parameter that both have in the same shape.
    stages: Difference of each stage in the order of computation; empty if the
      parameters do not correspond.
    unmatched: Names that only one detector has, or that have different shapes.
  """

  parameters: list[Difference]
  stages: list[Difference]
  unmatched: list[str]

  def is_equal(self, tolerance: float) -> bool:
    """Returns whether every relative difference is within the tolerance."""
    differences = self.parameters + self.stages
    return not self.unmatched and all(d.relative <= tolerance for d in differences)


def compare(a: Model, b: Model) -> Comparison:
  """Compares parameters, and stages on seeded images of the first detector's size.

  Raises:
    ValueError: The second detector does not take images of that size.
  """
  first, second = (
    {
      name: value
      for name, value in state_dicts.state_dict(m.variables, m.config).items()
      if not name.endswith(COUNTER)
    }
    for m in (a, b)
  )
  shapes = [
    {(name, value.shape) for name, value in tensors.items()}
    for tensors in (first, second)
  ]
  unmatched = sorted({name for name, _ in shapes[0] ^ shapes[1]})
  parameters = [
    difference(name, first[name], second[name])
    for name in first
    if name not in unmatched
  ]
  stages = [] if unmatched else _compare_stages(a, b)
  return Comparison(parameters, stages, unmatched)


def difference(name: str, a: Any, b: Any) -> Difference:
  """Measures the difference of two arrays of one shape."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  max_abs = float(np.abs(a - b).max())
  largest = float(max(np.abs(a).max(), np.abs(b).max()))
  return Difference(name, max_abs, max_abs / largest if max_abs else 0.0)


def _compare_stages(a: Model, b: Model) -> list[Difference]:
  inputs = seeded_inputs(a.config)

  def compiled(cfg: Config) -> Any:
    return jax.jit(functools.partial(run_stages, make_model(cfg)))

  run_a = compiled(a.config)
  run_b = run_a if a.config.model == b.config.model else compiled(b.config)
  with jax.default_matmul_precision("highest"):
    first, second = run_a(a.variables, inputs), run_b(b.variables, inputs)
  # Compilation sorts the names; this restores the order of computation.
  starts = order(a.config.model)
  names = sorted(first, key=lambda n: [not n.startswith(start) for start in starts])
  return [difference(name, first[name], second[name]) for name in names]
