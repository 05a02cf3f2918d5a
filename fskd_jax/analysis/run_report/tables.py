"""The tables of a run's report, as rows of text."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fskd_jax.analysis.run_report.collect import RunContent
from fskd_jax.config import Config, flatten
from fskd_jax.interop.published.table import PUBLISHED
from fskd_jax.metrics.results import headline, percent


class Table(NamedTuple):
  """A table with a title.

  Attributes:
    title: The title.
    head: The names of the columns.
    rows: The rows, each as long as `head`.
  """

  title: str
  head: tuple[str, ...]
  rows: list[tuple[str, ...]]


def facts(run: RunContent) -> Table:
  """Returns what the run is, how long it took and on what."""
  model, train = run.cfg.model, run.cfg.train
  rows = [
    ("task", run.cfg.task),
    ("encoder", model.encoder),
    ("weights it started from", _start(run.cfg)),
    ("parameters", f"{run.parameters:,}"),
    ("input", f"{run.cfg.data.image_size} px"),
    ("steps", f"{run.step:,}"),
    ("training time", _time(run.seconds)),
    ("images per second", _number(run.images_per_second)),
    ("device of the evaluation", (run.results or {}).get("device", "not evaluated")),
    ("seed", str(train.seed)),
  ]
  return Table("Run", ("", ""), rows)


def machines(run: RunContent) -> Table:
  """Returns what trained which steps; starts in a row on equal machines are one row."""
  starts = [start for start in run.starts if start["step"] < run.step]
  first = starts[0]["step"] if starts else run.step
  rows = [(f"1–{first:,}", "not recorded", *[""] * 4)] if first else []
  ends = [*(start["step"] for start in starts[1:]), run.step]
  for machine, group in itertools.groupby(
    zip(starts, ends), lambda item: _machine(item[0])
  ):
    (begin, end), *others = group
    last = others[-1][1] if others else end
    steps = f"{begin['step'] + 1:,}–{last:,}"
    rows.append((steps, begin["time"], f"{1 + len(others)}", *machine))
  head = ("steps", "from", "starts", "devices", "processor", "software")
  return Table("Hardware of the training", head, rows)


def _machine(start: Mapping[str, Any]) -> tuple[str, str, str]:
  """Returns the devices, the processor and the software of a start."""
  kinds = " + ".join(f"{n} x {kind}" for kind, n in start["devices"].items())
  processes = start["processes"]
  spread = f", {processes} processes" if processes > 1 else ""
  return (
    f"{kinds} ({start['platform']}){spread}",
    f"{start['processor']}, {start['cores']} cores",
    ", ".join(f"{name} {version}" for name, version in start["versions"].items()),
  )


def sources(run: RunContent) -> Table:
  """Returns the data sets with their licences."""
  rows = [
    (x.name, x.path or "–", x.terms, "kept aside" if x.is_held_out else "trained on")
    for x in run.sources
  ]
  return Table("Data and licences", ("data set", "folder", "licences", "use"), rows)


def configuration(run: RunContent) -> Table:
  """Returns the fields that differ from the defaults."""
  usual = flatten(Config())
  rows = [
    (name, repr(value), repr(usual[name]) if name in usual else "–")
    for name, value in flatten(run.cfg).items()
    if name != "data.mixture" and (name not in usual or usual[name] != value)
  ]
  return Table("Configuration", ("field", "value", "default"), rows)


def scores(run: RunContent) -> Table | None:
  """Returns the scores of every setting with those of its baselines.

  None where the run was not evaluated, or without annotated keypoints.
  """
  found = _settings(run)
  if not found:
    return None
  key = f"{headline(run.cfg.eval):g}"
  every = [str(x) for entry in found.values() for x in entry["baselines"]]
  names = list(dict.fromkeys(every))
  rows = []
  for setting, entry in found.items():
    others = [entry["baselines"].get(name) for name in names]
    error = entry.get("calibration_error")
    rows.append(
      (
        setting,
        f"{entry['episodes' if 'episodes' in entry else 'persons']}",
        *("–" if x is None else percent(x["pck"][key]) for x in (entry, *others)),
        "–" if error is None else f"{100 * error:.1f}",
      )
    )
  unit = "persons" if run.cfg.task == "pose" else "episodes"
  heads: list[str] = [_BASELINES.get(name, name.replace("_", " ")) for name in names]
  head = ("setting", unit, "detector", *heads, "calibration error")
  return Table(f"PCK@{key} in %, with 95 % intervals over {unit}", head, rows)


def groups(run: RunContent) -> Iterator[Table]:
  """Yields the scores of every kind and keypoint of every setting, the worst first."""
  key = f"{headline(run.cfg.eval):g}"
  for setting, entry in _settings(run).items():
    for group, noun in (("per_species", "kind"), ("per_keypoint", "keypoint")):
      ordered = sorted(
        entry[group].items(), key=lambda item: item[1]["pck"][key]["mean"] or 0.0
      )
      rows = [(name, percent(x["pck"][key]), f"{x['count']}") for name, x in ordered]
      if rows:
        title = f"{setting}: PCK@{key} in % by {noun}"
        yield Table(title, (noun, "PCK", "number"), rows)


_BASELINES = {"copy_support": "copied", "untrained_encoder": "untrained"}
"""Heads of the columns of baselines that are called otherwise in results.json."""


def _settings(run: RunContent) -> Mapping[str, Any]:
  settings = (run.results or {}).get("settings", {})
  return {name: x for name, x in settings.items() if "per_keypoint" in x and "pck" in x}


def _start(cfg: Config) -> str:
  """Returns the weights that a run started from, with their licence if it is known."""
  published = PUBLISHED.get(cfg.model.pretrained)
  if published:
    return f"{published.name} ({published.licence})"
  return cfg.model.pretrained or cfg.train.init_from or "none: random"


def _time(seconds: float | None) -> str:
  if seconds is None:
    return "not recorded"
  return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.1f} minutes"


def _number(value: float | None) -> str:
  return "not recorded" if value is None else f"{value:.1f}"
