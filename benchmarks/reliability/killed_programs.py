"""The programs that `kills` kills: their commands, and what they must leave."""

import functools
import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, check

_FIELDS: dict[str, Any] = {
  "data__images_per_species": 12,
  "data__image_size": 32,
  "model__small_widths": "4,4,4,8,8",
  "train__validate_every": 10,
  "train__validation_episodes": 2,
  "train__episodes_per_step": 4,
  "train__lag_seconds": 600,  # programs may share a busy machine
  "eval__queries": 1,
}

Words = tuple[pathlib.Path, list[str]]


class Setting(NamedTuple):
  """A program to kill.

  Attributes:
    name: of the row of the table.
    processes: their number.
    weight: how often it is drawn, relative to the others.
    command: gives the Python file and its arguments, for a folder of results.
    prepare: makes what the folder of results must hold before.
    compare: checks a folder of results against that of a run without kills.
  """

  name: str
  processes: int
  weight: float
  command: Callable[[Place, pathlib.Path], Words]
  prepare: Callable[[Place, pathlib.Path], None]
  compare: Callable[[pathlib.Path, pathlib.Path], None]


def _training(
  what: str,
  processes: int,
  weight: float,
  executor: str = "resident",
  backend: str = "single",
  fresh: bool = False,
  **fields: Any,
) -> Setting:
  def command(place: Place, out: pathlib.Path) -> Words:
    kept = place.common / "cache"
    own = {
      "train__backend": backend,
      "data__executor": executor,
      "data__cache_dir": _cache(out) if fresh else kept,
    }
    words = runs.flags(place, out, **(_FIELDS | own | fields))
    return place.tree / "train.py", words

  def prepare(place: Place, out: pathlib.Path) -> None:
    shutil.rmtree(_cache(out), ignore_errors=True)

  name = f"{what}, {executor}, {processes} x {backend}"
  return Setting(name, processes, weight, command, prepare, runs.check_same)


def _cache(out: pathlib.Path) -> pathlib.Path:
  return out.with_name(f"{out.name}_cache")


def _run(place: Place) -> pathlib.Path:
  """Returns a trained workdir; makes it when first asked for."""
  from benchmarks.reliability import nursery

  workdir = place.common / "trained"
  if not (workdir / "whole").exists():
    path, words = _training("", 1, 0).command(place, workdir)
    done = nursery.program(place.work, path, words).ended(600)
    check(done.status == 0, f"cannot train: {done.text[-400:]}")
    (workdir / "whole").touch()
  return workdir


def _evaluation(processes: int, weight: float, backend: str) -> Setting:
  def command(place: Place, out: pathlib.Path) -> Words:
    words = ("episodes=12", "search_episodes=0", "batch_episodes=4")
    flags = [f"--config.eval.{word}" for word in words]
    path = place.tree / "evaluate.py"
    return path, [f"--workdir={out}", f"--config.train.backend={backend}", *flags]

  def prepare(place: Place, out: pathlib.Path) -> None:
    shutil.copytree(_run(place), out)

  def compare(out: pathlib.Path, whole: pathlib.Path) -> None:
    _same_files(out / "eval", whole / "eval", ("results.json", "episode_scores.json"))

  name = f"evaluation, {processes} x {backend}"
  return Setting(name, processes, weight, command, prepare, compare)


def _prediction(what: str, weight: float) -> Setting:
  def command(place: Place, out: pathlib.Path) -> Words:
    given = _pictures(place)
    query = given / ("clip.avi" if what == "video" else "queries")
    words = ["predict", f"--workdir={_run(place)}", "--whole-images", "--resume"]
    words += ["--support", f"{given}/support.png", "--query", f"{query}"]
    words += ["--keypoints", f"{given}/keypoints.json", "--out", f"{out}"]
    return place.tree / "fskd_jax" / "__main__.py", words

  def compare(out: pathlib.Path, whole: pathlib.Path) -> None:
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    found = sorted(p.relative_to(out) for p in out.rglob("*") if p.is_file())
    check(found == files, f"files {found}, not {files}")
    _same_files(out, whole, map(str, files))

  return Setting(f"prediction of {what}", 1, weight, command, _nothing, compare)


def _nothing(place: Place, out: pathlib.Path) -> None:
  """Prepares nothing."""


def _same_files(out: pathlib.Path, whole: pathlib.Path, names: Any) -> None:
  for name in names:
    same = (out / name).read_bytes() == (whole / name).read_bytes()
    check(same, f"{name} differs")


@functools.cache
def _pictures(place: Place) -> pathlib.Path:
  """Returns a folder with a support image, its keypoints, images and a video."""
  from PIL import Image

  folder = place.common / "pictures"
  if (folder / "clip.avi").exists():
    return folder
  (folder / "queries").mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(0)
  image = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64))
  image.save(folder / "support.png")
  marks = {"nose": [20.0, 30.0], "tail": [40.0, 12.0]}
  (folder / "keypoints.json").write_text(json.dumps(marks))
  for number in range(12):
    image.rotate(9 * number).save(folder / "queries" / f"{number}.png")
  import av

  with av.open(folder / "clip.part", "w", format="avi") as video:
    stream = video.add_stream("mjpeg", rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuvj420p"
    for number in range(24):
      frame = av.VideoFrame.from_image(image.rotate(5 * number))
      video.mux(stream.encode(frame))
    video.mux(stream.encode())
  (folder / "clip.part").rename(folder / "clip.avi")
  return folder


_SAVING: dict[str, Any] = {"train__checkpoint_every": 1, "train__log_every": 1}
_SHORT: dict[str, Any] = {"train__steps": 4, "optim__warmup_steps": 2}

SETTINGS = (
  _training("training", 1, 3, train__picture_every=10),
  _training("training", 1, 3, "tfdata"),
  _training("training", 1, 3, "grain"),
  _training("training", 2, 1, "resident", "pmap"),
  _training("training", 2, 1, "tfdata", "shard_map"),
  _training("training", 2, 1, "grain", "shard_map"),
  _training("training", 4, 1, "resident", "shard_map"),
  _training("preparation", 1, 2, "tfdata", fresh=True, **_SHORT),
  _training("preparation", 2, 1, "tfdata", "pmap", fresh=True, **_SHORT),
  _training("saving", 1, 3, **_SAVING),
  _training("saving", 2, 1, "resident", "pmap", **_SAVING),
  _evaluation(1, 2, "single"),
  _evaluation(2, 1, "shard_map"),
  _prediction("images", 3),
  _prediction("video", 3),
)
"""All programs that are killed."""
