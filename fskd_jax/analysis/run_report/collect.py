"""Collects what a run left behind, for its report."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from fskd_jax import config
from fskd_jax.config import Config, DataConfig, source_data
from fskd_jax.files import read_json
from fskd_jax.metrics import lines as metrics_lines
from fskd_jax.models.build import count_parameters
from fskd_jax.training import starts
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.writer import METRICS_FILE

UNKNOWN = "not named in its file"


@dataclasses.dataclass(frozen=True)
class Source:
  """A data set that a run was trained on.

  Attributes:
    name: Its name in the mixture, or that of its folder.
    path: Its folder, "" for images that are drawn.
    terms: Its licences, as far as its file names them.
    is_held_out: Whether it was kept from training.
  """

  name: str
  path: str
  terms: str
  is_held_out: bool


@dataclasses.dataclass(frozen=True)
class RunContent:
  """Content of a run's report.

  Attributes:
    workdir: The folder of the run.
    cfg: Its configuration.
    step: The step of its newest checkpoint.
    parameters: The number of parameters, frozen ones included.
    sources: Its data sets.
    lines: The lines of metrics.jsonl; none for imported weights.
    starts: The starts that `starts.read` returns; none for older runs.
    results: The content of eval/results.json; None if it was not evaluated.
  """

  workdir: pathlib.Path
  cfg: Config
  step: int
  parameters: int
  sources: tuple[Source, ...]
  lines: list[dict[str, Any]]
  starts: list[dict[str, Any]]
  results: dict[str, Any] | None

  @property
  def seconds(self) -> float | None:
    """Returns the seconds of training, over all processes that went on with it."""
    found = [line["train/seconds"] for line in self.lines if "train/seconds" in line]
    return found[-1] if found else None

  @property
  def images_per_second(self) -> float | None:
    """Returns the last speed of training."""
    name = "train/images_per_second"
    found = [line[name] for line in self.lines if name in line]
    return found[-1] if found else None


def collect(workdir: str) -> RunContent:
  """Reads a run: its newest checkpoint, its metrics and its evaluation.

  Raises:
    FileNotFoundError: There is no run.
    ValueError: A file of it is damaged.
  """
  with contextlib.closing(CheckpointStore(workdir)) as checkpoints:
    saved = checkpoints.restore_model()
  folder = pathlib.Path(workdir)
  cfg = config.from_dict(saved.config)
  metrics, results = folder / METRICS_FILE, folder / "eval" / "results.json"
  return RunContent(
    workdir=folder,
    cfg=cfg,
    step=saved.step,
    parameters=count_parameters(saved.variables["params"]),
    sources=_sources(cfg.data),
    lines=metrics_lines.read(metrics) if metrics.is_file() else [],
    starts=starts.read(folder),
    results=read_json(results) if results.is_file() else None,
  )


def _sources(data: DataConfig) -> tuple[Source, ...]:
  if not data.mixture:
    name = pathlib.Path(data.path).name or data.name
    return (_source(name, data, is_held_out=False),)
  return tuple(
    _source(part.name, source_data(data, part), is_held_out=part.name in data.holdout)
    for part in data.mixture
  )


def _source(name: str, data: DataConfig, is_held_out: bool) -> Source:
  if data.name == "synthetic_creatures":
    return Source(name, "", "drawn by this package", is_held_out)
  return Source(name, data.path, _terms(pathlib.Path(data.path)), is_held_out)


def _terms(folder: pathlib.Path) -> str:
  """Returns the licences that the annotations of a folder name."""
  path = folder / "annotations.json"
  if not folder.exists():
    return "not on this machine"
  try:
    content = read_json(path)
  except (FileNotFoundError, ValueError):
    return UNKNOWN
  if not isinstance(content, Mapping):
    return UNKNOWN
  listed = content.get("licenses")
  named = [
    str(x["name"])
    for x in (listed if isinstance(listed, list) else ())
    if isinstance(x, Mapping) and x.get("name")
  ]
  return ", ".join(dict.fromkeys(named)) or UNKNOWN
