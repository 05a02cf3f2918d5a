"""Reports sweeps: paired differences from the baseline, as table and picture."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from fskd_jax.metrics.intervals import Interval, crossed_bootstrap, format_points

THRESHOLD = "0.1"


class Difference(NamedTuple):
  """Scores of a variant in one setting: PCK at `THRESHOLD`, as parts of 1.

  Attributes:
    variant: The name of the variant.
    setting: The setting of the evaluation.
    seeds: The number of training seeds.
    pck: The mean and interval over seeds and episodes.
    less_baseline: The difference from the baseline with the same seeds.
    train_seconds: The median training time over the seeds.
    parameters: The number of parameters of the network.
  """

  variant: str
  setting: str
  seeds: int
  pck: Interval
  less_baseline: Interval
  train_seconds: float
  parameters: int


def differences(
  lines: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[Difference]:
  """Compares every variant with the first, over the seeds that both have.

  The sources of a mixture are compared each by itself, and on average.

  Args:
    lines: The lines of results.jsonl.
    names: The variants, in the order of the result.

  Raises:
    ValueError: There is no line of the first, or it has other episodes.
  """
  by_variant: dict[str, dict[int, Mapping[str, Any]]] = {}
  for line in lines:
    by_variant.setdefault(line["variant"], {})[line["seed"]] = line
  if names[0] not in by_variant:
    raise ValueError(f"there is no result of the variant {names[0]!r}: run it first")
  baseline, found = by_variant[names[0]], []
  for variant in [name for name in names if name in by_variant]:
    runs = by_variant[variant]
    seeds = sorted(set(runs) & set(baseline))
    if not seeds:
      continue
    for setting in runs[seeds[0]]["settings"]:
      manifests = {
        x[s]["settings"][setting]["manifest"] for x in (runs, baseline) for s in seeds
      }
      if len(manifests) > 1:
        raise ValueError(
          f"{variant!r} and {names[0]!r} were scored on other episodes of {setting}; "
          "expected the same data, crops and eval.episodes for all of a sweep"
        )
    for setting, parts in _with_means(runs[seeds[0]]["settings"]).items():
      ours, theirs = (_scores([x[s] for s in seeds], parts) for x in (runs, baseline))
      found.append(
        Difference(
          variant=variant,
          setting=setting,
          seeds=len(seeds),
          pck=crossed_bootstrap(ours),
          less_baseline=crossed_bootstrap(ours - theirs),
          train_seconds=float(np.median([runs[s]["train_seconds"] for s in seeds])),
          parameters=runs[seeds[0]]["parameters"],
        )
      )
  return found


def _with_means(settings: Iterable[str]) -> dict[str, list[str]]:
  """Returns settings, and the settings that each is the mean of.

  "unseen/novel@doors" and so on, one for each source, are followed by their mean.
  """
  found, of_sources = {}, {}
  for setting in settings:
    found[setting] = [setting]
    name, at, _ = setting.partition("@")
    if at:
      of_sources.setdefault(name, []).append(setting)
  means = {f"{k}, mean of {len(v)}": v for k, v in of_sources.items() if len(v) > 1}
  return found | means


def _scores(
  runs: Sequence[Mapping[str, Any]], settings: Sequence[str]
) -> Float[np.ndarray, "s e"]:
  """Returns the PCK of every episode, averaged over settings of as many episodes.

  NaN is an episode without a keypoint to score.
  """
  pck = [[x["settings"][name]["pck"][THRESHOLD] for x in runs] for name in settings]
  return np.ma.masked_invalid(np.array(pck, np.float64)).mean(0).filled(np.nan)


def markdown(found: Sequence[Difference]) -> str:
  """Formats differences as a table: a row per variant, two columns per setting.

  The baseline is the first.
  """
  settings = list(dict.fromkeys(x.setting for x in found))
  heads = [f"{s} | less the baseline" for s in settings]
  columns = ["variant", "seeds", *heads, "training, s", "parameters"]
  lines = [
    "| " + " | ".join(columns) + " |",
    "|---" * (4 + 2 * len(settings)) + "|",
  ]
  for variant in dict.fromkeys(x.variant for x in found):
    rows = {x.setting: x for x in found if x.variant == variant}
    cells = []
    for setting in settings:
      row = rows[setting]
      cells += [f"{100 * row.pck.mean:.1f}", _difference(row.less_baseline)]
    any_row = next(iter(rows.values()))
    if variant == found[0].variant:
      cells[1::2] = ["" for _ in settings]
    ends = [f"{any_row.train_seconds:.0f}", f"{any_row.parameters:,}"]
    lines.append("| " + " | ".join([variant, str(any_row.seeds), *cells, *ends]) + " |")
  return "\n".join(lines) + "\n"


def _difference(interval: Interval) -> str:
  text = format_points(interval)
  return f"**{text}**" if interval.low > 0 or interval.high < 0 else text


def draw(found: Sequence[Difference]) -> Figure:
  """Draws the differences with their intervals, one panel per setting."""
  settings = list(dict.fromkeys(x.setting for x in found))
  variants = list(dict.fromkeys(x.variant for x in found))[1:]
  figure = Figure(
    figsize=(2.5 + 3.2 * len(settings), 1.2 + 0.27 * len(variants)),
    layout="constrained",
    dpi=120,
  )
  axes = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
  for axis, setting in zip(axes, settings):
    axis.axvline(0, color="0.6", linewidth=1)
    for place, variant in enumerate(variants):
      row = next(
        (x for x in found if (x.variant, x.setting) == (variant, setting)), None
      )
      if row is None:
        continue
      mean, low, high = (100 * float(x) for x in row.less_baseline)
      color = "C2" if low > 0 else "C3" if high < 0 else "0.4"
      axis.plot([low, high], [place, place], color=color, linewidth=2)
      axis.plot(mean, place, "o", color=color, markersize=5)
    axis.set_title(setting)
    axis.set_xlabel("PCK@0.1 less the baseline's, points")
    axis.grid(axis="x", color="0.9")
  axes[0].set_yticks(range(len(variants)), variants)
  axes[0].invert_yaxis()
  return figure
