"""Files of labels and weights, mutated at random, given to every reader.

A case holds if the file is read, or refused in one line that names it, within
`SECONDS` and `BYTES`. Labels that are read are also written and read back.

  python -m benchmarks.reliability.fuzz --cases 500 --seed 0
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import pathlib
import pickle
import resource
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple

import h5py
import numpy as np
import safetensors.numpy
from PIL import Image

from benchmarks.reliability.mutation import mutated
from fskd_jax import files as files_module
from fskd_jax.data import annotations
from fskd_jax.data.checks import doctor
from fskd_jax.data.labels import completion, formats
from fskd_jax.data.labels.schema import Labels
from fskd_jax.interop import weights
from fskd_jax.pose import coco as pose_coco
from fskd_jax.pose.detections import read_detections
from fskd_jax.prediction import box_files, inputs, keypoint_files

SECONDS = 10
BYTES = 2**30
"""What one case may take; memory beside that of the interpreter and libraries."""

_SIZE = (80, 64)
_IMAGES = ("frame_000000.png", "frame_000001.png")
_CONFIG = {"name": "x", "data": {"base": ["nose"]}}
_NAMES = ("nose", "left ear", "tail")


class Kind(NamedTuple):
  """A kind of file, and what reads it.

  Attributes:
    files: content by path, all that a reader needs.
    damaged: which of them is mutated.
    read: what is tried on the folder.
    by_content: see `mutation.mutated`.
  """

  files: dict[str, bytes]
  damaged: str
  read: Callable[[pathlib.Path], Any]
  by_content: bool = True


class Outcome(NamedTuple):
  """How many cases of a kind were tried and held, and why the others failed."""

  kind: str
  tried: int
  held: int
  failed: list[str]


def kinds() -> dict[str, Kind]:
  """Returns every kind of file that is read, by name."""
  images = {}
  for number, name in enumerate(_IMAGES):
    stream = io.BytesIO()
    Image.new("RGB", _SIZE, (number, 0, 0)).save(stream, "png")
    images[f"images/{name}"] = stream.getvalue()
  text = json.dumps(_coco()).encode()
  folder = {**images, "annotations.json": text}
  found = {"coco folder": Kind(folder, "annotations.json", _read_folder)}
  found |= _written(images, text) | _only_read(images)
  for name in {"sleap", "deeplabcut-h5", "slp", "table of H5"} & {*found}:
    found[f"{name}, bytes"] = found[name]._replace(by_content=False)
  plain = {"keypoints": {"nose": [3, 4], "tail": None}, "box": [0, 0, 9, 9]}
  plain |= {"skeleton": [["nose", "tail"]]}
  for name, content, read in (
    ("keypoints", plain, lambda d: keypoint_files.read(d / "f.json", "a.png")),
    ("boxes", {"a.png": [0, 0, 9, 9]}, _read_boxes),
  ):
    found[name] = Kind({"f.json": json.dumps(content).encode()}, "f.json", read)
  rows = b"image,frame,nose.x,nose.y,nose.score\nframe_000000.png,,3,4,0.5\n"
  found["csv of one header"] = Kind(
    images | {"f.csv": rows}, "f.csv", _labels_reader("f.csv")
  )
  box = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}
  files = folder | {"boxes.json": json.dumps([box, box]).encode()}
  found["detections"] = Kind(files, "boxes.json", _read_detections)
  tensors = {"a.weight": np.ones((2, 3), np.float32), "b": np.arange(3)}
  data = safetensors.numpy.save(tensors, {"config": json.dumps(_CONFIG)})
  found["safetensors"] = Kind({"w.safetensors": data}, "w.safetensors", _read_weights)
  return found


def _written(images: dict[str, bytes], coco: bytes) -> dict[str, Kind]:
  """Returns a kind of each format that is written, and of each kind of its files."""
  found = {}
  with tempfile.TemporaryDirectory() as work:
    root = pathlib.Path(work)
    for name, data in {**images, "annotations.json": coco}.items():
      files_module.write_bytes(root / name, data)
    labels = formats.read(root / "annotations.json")
    for name, form in formats.FORMATS.items():
      out = root / f"labels{form.suffix}"
      try:
        form.write(labels, out, out)
      except ImportError:  # of an extra
        continue
      if out.is_file():
        files = {out.name: out.read_bytes()}
        found[name] = Kind(images | files, out.name, _labels_reader(out.name))
        continue
      formats.link_images(labels, name, root / "images", out, out)
      files = {
        p.relative_to(root).as_posix(): p.read_bytes()
        for p in sorted(out.rglob("*"))
        if p.is_file()
      }
      shutil.rmtree(out)
      for damaged in {pathlib.Path(n).suffix: n for n in files}.values():
        if not damaged.endswith(".png"):
          kind = Kind(images | files, damaged, _labels_reader("labels"))
          found[f"{name} {pathlib.Path(damaged).suffix}"] = kind
  return found


def _only_read(images: dict[str, bytes]) -> dict[str, Kind]:
  """Returns a kind of each format that is read and not written."""
  cells = "frame_000000.png;3,5;4;1,5;2\n"
  texts = {
    "wide.csv": "image,nose_x,nose_y,tail_x,tail_y\nframe_000000.png,3,4,5,6\n",
    "semicolons.csv": "image;nose_x;nose_y;tail_x;tail_y\n" + cells,
    "a.tps": "LM=2\n3 4\n5.5 6\nIMAGE=images/frame_000000.png\nID=0\nSCALE=1\n",
    "images/frame_000000.pts": "version: 1\nn_points: 2\n{\n3 4\n5.5 6\n}\n",
    "dlib.xml": "<dataset><images><image file='images/frame_000000.png'>"
    "<box top='1' left='2' width='30' height='20'><label>cat</label>"
    "<part name='0' x='3' y='4'/></box></image></images></dataset>",
  }
  found = {
    name: Kind(images | {name: text.encode()}, name, _labels_reader(name))
    for name, text in texts.items()
  }
  table = {"table.h5": _pandas_table()}
  found["table of H5"] = Kind(images | table, "table.h5", _labels_reader("table.h5"))
  return found


def _pandas_table() -> bytes:
  """Returns an H5 file of the "table" kind, as pandas wrote it for DeepLabCut."""
  columns = [("me", name, axis) for name in ("nose", "tail") for axis in "xy"]
  levels = {1: {"names": ["scorer", "bodyparts", "coords"], "type": "MultiIndex"}}
  stream = io.BytesIO()
  with h5py.File(stream, "w") as file:
    group = file.create_group("df_with_missing")
    group.attrs["pandas_type"] = np.bytes_("frame_table")
    for name, value in (
      ("non_index_axes", [(1, columns)]), ("info", levels), ("values_cols", ["b"]),
    ):  # fmt: skip
      group.attrs[name] = np.bytes_(pickle.dumps(value, 0))
    rows = np.zeros(2, [("index", "S16"), ("b", "<f8", (len(columns),))])
    rows["index"], rows["b"] = (
      [n.encode() for n in _IMAGES],
      [[3, 4, 5, 6], [np.nan] * 4],
    )
    data = group.create_dataset("table", data=rows)
    data.attrs["b_kind"] = np.bytes_(pickle.dumps(columns, 0))
  return stream.getvalue()


def failure(kind: Kind, folder: pathlib.Path, rng: Random) -> str | None:
  """Tries one case in an empty folder; returns why it failed, or None if it held."""
  for name, data in kind.files.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name == kind.damaged:
      data = mutated(data, path.suffix, rng, kind.by_content)
    path.write_bytes(data)
  try:
    with _limited(), warnings.catch_warnings():
      warnings.simplefilter("ignore")
      kind.read(folder)
  except (ValueError, OSError) as error:
    text = str(error)
    if str(folder) not in text:
      return f"names no file: {text[:300]}"
    if "\n" in text or len(text) > 3000:
      return f"not one line: {text[:300]}"
    return f"needs more than 1 GiB: {text[:300]}" if "MemoryError" in text else None
  except _TooLong:
    return f"takes more than {SECONDS} s"
  except BaseException as error:
    return f"traceback: {type(error).__name__}: {str(error)[:300]}"
  return None


def run(cases: int, seed: int) -> list[Outcome]:
  """Tries cases of every kind, in processes of limited memory.

  Args:
    cases: of each kind.
    seed: of the damages; case i of a kind is `Random(f"{seed} {kind} {i}")`.
  """
  return [_run_kind(name, cases, seed) for name in kinds()]


def _run_kind(name: str, cases: int, seed: int) -> Outcome:
  context = multiprocessing.get_context("spawn")
  found: dict[int, str | None] = {}
  while len(found) < cases:
    ours, theirs = context.Pipe()
    numbers = range(len(found), cases)
    process = context.Process(target=_work, args=(name, numbers, seed, theirs))
    process.start()
    theirs.close()
    ours.poll(300)  # for its imports
    try:
      for number in numbers:
        if not ours.poll(6 * SECONDS):
          found[number] = "hangs where no signal ends it"
          break
        found[number] = ours.recv()
    except EOFError:
      found[len(found)] = "ends the process"
    process.kill()
    process.join()
  failed = [f"case {n}: {why}" for n, why in sorted(found.items()) if why]
  return Outcome(name, cases, cases - len(failed), failed)


def _work(name: str, numbers: range, seed: int, results: Any) -> None:
  kind = kinds()[name]
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
  limit = pages * resource.getpagesize() + BYTES
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
  for number in numbers:
    with tempfile.TemporaryDirectory() as folder:
      rng = Random(f"{seed} {name} {number}")
      results.send(failure(kind, pathlib.Path(folder), rng))


class _TooLong(BaseException):
  """Of a case; nothing that a reader might catch."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
  def end(*_: Any) -> None:
    raise _TooLong

  previous = signal.signal(signal.SIGALRM, end)
  signal.alarm(SECONDS)
  try:
    yield
  finally:
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


def _coco() -> dict[str, Any]:
  keypoints = ([3, 4, 2, 0, 0, 0, 30.5, 20, 1], [9, 9, 2, 8, 8, 2, 7, 7, 2])
  return {
    "images": [
      {"id": i, "file_name": name, "width": _SIZE[0], "height": _SIZE[1]}
      for i, name in enumerate(_IMAGES, 1)
    ],
    "categories": [
      {"id": 1, "name": "cat", "keypoints": [*_NAMES], "skeleton": [[1, 2], [2, 3]]}
    ],
    "annotations": [
      {"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 40, 30], "keypoints": k}
      for i, k in enumerate(keypoints, 1)
    ],
  }


def _read_folder(folder: pathlib.Path) -> None:
  doctor.text(doctor.examine(folder))
  dataset = annotations.read_coco(folder)
  for number in range(len(dataset.image_names)):
    dataset.read_image(number)
  pose_coco.ground_truth(folder, dataset.keypoint_names)


def _read_boxes(folder: pathlib.Path) -> None:
  query = inputs.Query(folder / "a.png", "a.png")
  box_files.read(f"{folder}/f.json", [query], 1)


def _read_detections(folder: pathlib.Path) -> None:
  read_detections(folder / "boxes.json", folder, _NAMES)


def _read_weights(folder: pathlib.Path) -> None:
  with contextlib.suppress(ValueError):
    weights.read_weights(folder / "w.safetensors")
  weights.read_config(folder / "w.safetensors")
  weights.read_weights(folder / "w.safetensors")


def _labels_reader(name: str) -> Callable[[pathlib.Path], None]:
  def read(folder: pathlib.Path) -> None:
    path = folder / name
    labels = formats.read(path)
    if path.is_file():
      keypoint_files.read(path, _IMAGES[0])
    named = Labels(
      labels.images, {s or "object": c for s, c in labels.categories.items()}
    )
    images = tuple(
      image._replace(
        objects=tuple(o._replace(species=o.species or "object") for o in image.objects)
      )
      for image in named.images
    )
    done = completion.complete(
      named._replace(images=images), folder / "images", str(path)
    ).labels
    for target in ("coco", "cvat"):
      _check_written(done, target, folder)

  return read


def _check_written(labels: Labels, target: str, folder: pathlib.Path) -> None:
  out = folder / f"written{formats.FORMATS[target].suffix}"
  formats.FORMATS[target].write(labels, out, out)
  back = formats.read(out)
  for image, other in zip(labels.images, back.images, strict=True):
    assert (image.name, image.size) == (other.name, other.size), "another image"
    shown = [o.keypoints.keys() for o in image.objects]
    assert [o.keypoints.keys() for o in other.objects] == shown, "other keypoints"


def main() -> int:
  """Prints what held; returns 1 if a case failed."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--cases", type=int, default=500, help="of each kind")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  outcomes = run(args.cases, args.seed)
  for outcome in outcomes:
    print(f"{outcome.kind}: {outcome.held} of {outcome.tried} held")
    print("".join(f"  {line}\n" for line in outcome.failed), end="")
  return int(any(outcome.failed for outcome in outcomes))


if __name__ == "__main__":
  raise SystemExit(main())
