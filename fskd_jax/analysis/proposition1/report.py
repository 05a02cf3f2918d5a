"""Runs the study of proposition 1, and draws it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fskd_jax.analysis.proposition1.study import EXAMPLES, Fit, expansion_error, fit

TEMPERATURES = (np.inf, 1.0, 0.25)
EXPANSION_TEMPERATURES = (1 / 64, 1 / 16, 1 / 4, 1.0, 4.0, 16.0, 1000.0)
EPSILONS = (0.0, 0.1, 1.0)


def run(
  seed: int = 0,
  trials: int = 1000,
  progress: Callable[[str], Any] = lambda _: None,
) -> tuple[dict[str, Any], Figure]:
  """Runs the study, and returns its numbers, ready for JSON, and its picture."""
  fits, found = {}, {}
  for temperature in TEMPERATURES:
    progress(f"fitting, {label(temperature)}")
    fits[temperature] = fit(seed, temperature, trials=trials)
    low, median, high = np.quantile(
      fits[temperature].distances, [0.1, 0.5, 0.9], axis=0
    )
    mds, smd = np.median(fits[temperature].losses, axis=0).tolist()
    found[label(temperature)] = {
      "first_distance": [x[0].item() for x in (low, median, high)],
      "last_distance": [x[-1].item() for x in (low, median, high)],
      "median_falls_by": (median[0] / median[-1]).item(),
      "iterations": len(median) - 1,
      "last_loss": {"mds": mds, "smd": smd},
    }
  progress("expanding")
  errors = {}
  for epsilon in EPSILONS:
    medians = np.stack(
      [
        np.median(expansion_error(seed, t, epsilon, trials), axis=0)
        for t in EXPANSION_TEMPERATURES
      ]
    )
    errors[f"{epsilon:g}"] = {
      kind: dict(zip((f"{t:g}" for t in EXPANSION_TEMPERATURES), column.tolist()))
      for kind, column in zip(("remainder", "second_order"), medians.T)
    }
  numbers = {"trials": trials, "fits": found, "expansion": errors}
  return numbers, draw(fits, errors)


def label(temperature: float) -> str:
  """Returns the name of an activation."""
  if np.isinf(temperature):
    return "ReLU (T = ∞)"
  return f"softplus, T = {temperature:g}"


def draw(
  fits: Mapping[float, Fit], errors: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> Figure:
  """Draws distances over iterations, example heat-maps, and the expansion's error."""
  figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
  left, middle, right = np.ravel(
    figure.subfigures(1, 3, squeeze=False, width_ratios=(1, 1.1, 1))
  )
  axis = left.subplots()
  for number, (temperature, found) in enumerate(fits.items()):
    low, median, high = np.quantile(found.distances, [0.1, 0.5, 0.9], axis=0)
    axis.semilogy(median, color=f"C{number}", label=label(temperature))
    axis.fill_between(
      range(len(median)), low, high, color=f"C{number}", alpha=0.15, linewidth=0
    )
  axis.set(
    xlabel="iteration",
    ylabel="distance of the heat-maps (RMS)",
    title="MDS and SMD fitted to the same target",
  )
  axis.legend(fontsize=8)
  example = next(iter(fits.values()))
  axes = middle.subplots(EXAMPLES, 5)
  heads = ("target", "MDS before", "SMD before", "MDS after", "SMD after")
  for row, line in enumerate(axes):
    maps = (example.targets[row], *example.before[row], *example.after[row])
    for axis, head, image in zip(line, heads, maps):
      axis.imshow(image, cmap="viridis", vmin=-0.5, vmax=1)
      axis.set_axis_off()
      if not row:
        axis.set_title(head, fontsize=8)
  axis = right.subplots()
  for number, (epsilon, by_kind) in enumerate(errors.items()):
    for kind, style in (("remainder", "o-"), ("second_order", "x:")):
      values = by_kind[kind]
      name = f"ε = {epsilon}" if kind == "remainder" else None
      places = [float(t) for t in values]
      axis.loglog(places, list(values.values()), style, color=f"C{number}", label=name)
  axis.set(
    xlabel="T of the activation",
    ylabel="part of the linear term (RMS)",
    title="First order: remainder (full line)\nand second-order term (dotted)",
    ylim=(1e-3, 1e3),
  )
  axis.legend(fontsize=8)
  return figure
