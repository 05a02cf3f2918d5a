"""Files of a checkpoint emptied, cut, lengthened, deleted, or with bits flipped."""

import contextlib
import json
import pathlib
import random
import shutil
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.reliability import runs, workdirs
from benchmarks.reliability.trial import Failure, Place, Trial, check

_CONFIG = {"model": {"temperature": 20.0}, "data": {"crop_margin": 1.3}}

_DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
  "bit flipped": lambda data, rng: _flipped(data, rng),
  "deleted": lambda data, rng: None,
  "emptied": lambda data, rng: b"",
  "cut": lambda data, rng: data[: len(data) // 2],
  "longer": lambda data, rng: data + b"\0" * 100,
  "another bit flipped": lambda data, rng: _flipped(data, rng),
}


def checkpoints(place: Place) -> Iterator[Trial]:
  """The newest of two checkpoints damaged: read right, or the older one is taken."""
  from fskd_jax.training.checkpoint import CheckpointStore

  whole = place.work / "whole"
  store = CheckpointStore(whole, keep=2)
  for step in (4, 8):
    store.save(step, workdirs.state(step), _CONFIG)
  newest = whole / "checkpoints" / "8"
  files = sorted(p.relative_to(whole) for p in newest.rglob("*") if p.is_file())
  rng = random.Random(place.seed)
  damages = list(_DAMAGES.items())[: None if place.is_full else 2]
  for file in place.few(files, 8):
    for name, damage in damages:

      def run(file=file, damage=damage) -> None:
        _try(place, whole, file, lambda data: damage(data, rng))

      yield Trial(f"{file}: {name}", run)
  about = newest.relative_to(whole) / "about" / "metadata"
  for old, new in ((b"20.0", b"60.0"), (b"1.3", b"3.3")):

    def one(old=old, new=new) -> None:
      _try(place, whole, about, lambda data: data.replace(old, new))

    yield Trial(f"{about}: {old.decode()} -> {new.decode()}", one)


def flips(place: Place) -> Iterator[Trial]:
  """Bytes of every file of a checkpoint, and of exported detectors, one at a time."""
  from fskd_jax.training.checkpoint import CheckpointStore

  whole = place.work / "whole"
  store = CheckpointStore(whole, keep=2)
  for step in (4, 8):
    store.save(step, workdirs.state(step), _CONFIG)
  store.close()
  newest, rng = whole / "checkpoints" / "8", random.Random(place.seed)
  count = 16 if place.is_full else 2
  for file in sorted(p.relative_to(whole) for p in newest.rglob("*") if p.is_file()):
    for number in range(count):

      def run(file=file) -> None:
        _try(place, whole, file, lambda data: _flipped(data, rng))

      yield Trial(f"{file}: flip {number}", run)
  for suffix in (".safetensors", ".pth"):
    yield from _of_weights(place.work / f"detector{suffix}", rng, 20 * count)


def _of_weights(path: pathlib.Path, rng: random.Random, count: int) -> Iterator[Trial]:
  """Flips in a file of weights: refused by name, or what is read is the same."""
  from fskd_jax.interop import weights

  tensors = {"a": np.linspace(0, 1, 64, dtype=np.float32), "b": np.arange(8)}
  metadata = {"config": json.dumps(_CONFIG), "calibration": "0.1 0.9"}
  weights.write_weights(path, tensors, metadata)
  whole, expected = path.read_bytes(), weights.read_metadata(path)
  for number in range(count):

    def run() -> None:
      path.write_bytes(_flipped(whole, rng))
      try:
        about, found = weights.read_metadata(path), weights.read_weights(path)
      except ValueError as error:
        check(str(path) in str(error), f"names no file: {error}")
        return
      runs.check_equal(found, tensors)
      check(expected.items() <= about.items(), f"other metadata: {about}")

    yield Trial(f"{path.name}: flip {number}", run)


def _try(
  place: Place,
  whole: pathlib.Path,
  file: pathlib.Path,
  damage: Callable[[bytes], bytes | None],
) -> None:
  from fskd_jax.training.checkpoint import CheckpointStore

  run = place.work / "damaged"
  shutil.rmtree(run, ignore_errors=True)
  shutil.copytree(whole, run)
  damaged = damage((run / file).read_bytes())
  if damaged is None:
    (run / file).unlink()
  else:
    (run / file).write_bytes(damaged)
  saved = CheckpointStore(run).restore_model()
  check(saved.step in (4, 8), f"step {saved.step}")
  runs.check_equal(saved.variables["params"], workdirs.state(saved.step).params)
  check(saved.config == _CONFIG, f"another configuration: {saved.config}")
  with contextlib.closing(CheckpointStore(run, keep=2)) as store:
    restored = store.restore_latest(workdirs.state(0))
  if restored is None:
    raise Failure("nothing restored")
  runs.check_equal(restored[0].params, workdirs.state(restored[1]).params)


def _flipped(data: bytes, rng: random.Random) -> bytes:
  if not data:
    return data
  place = rng.randrange(len(data))
  changed = data[place] ^ 1 << rng.randrange(8)
  return data[:place] + bytes([changed]) + data[place + 1 :]
