"""Files of weights: safetensors and PyTorch's, damaged, hostile or unusual."""

import importlib.util
import json
import pathlib
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.reliability.trial import Failure, Place, Trial, check

_TENSORS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4)}


def files(place: Place) -> Iterator[Trial]:
  """Each is read rightly, or refused with the name of the file; no code runs."""
  import safetensors.numpy

  from fskd_jax.interop import weights

  config = {"config": json.dumps({"name": "x"})}
  whole = safetensors.numpy.save(_TENSORS, config)
  contents: dict[str, tuple[bytes, Any]] = {
    name: (data, None) for name, data in _hand_made(whole).items()
  }
  contents["whole"] = (whole, _TENSORS)
  rng = random.Random(place.seed)
  for number in range(600 if place.is_full else 60):
    contents[f"mutation {number}"] = (_mutated(whole, rng), None)
  for number, (name, (data, expected)) in enumerate(contents.items()):
    path = place.work / f"{number}.safetensors"
    path.write_bytes(data)
    for read in (weights.read_weights, weights.read_config):

      def run(path=path, read=read, expected=expected) -> None:
        found = _read_or_refused(read, path)
        if expected is not None and read is weights.read_weights:
          check(found is not None, "refused, though it is whole")
          for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)

      yield Trial(f"{name}, {read.__name__}", run)
  if importlib.util.find_spec("torch") is not None:
    yield from _of_pytorch(place)


def _read_or_refused(read: Callable[[pathlib.Path], Any], path: pathlib.Path) -> Any:
  try:
    return read(path)
  except (ValueError, ImportError) as error:
    if path.name not in str(error):
      raise Failure(f"names no file: {str(error)[:200]}") from error
    return None


def _hand_made(whole: bytes) -> dict[str, bytes]:
  plain = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
  return {
    "empty": b"",
    "text": b"no weights",
    "header of 2^60 bytes": struct.pack("<Q", 2**60) + b"{}",
    "header cut": whole[:40],
    "data cut": whole[:-7],
    "float8": _file({"a": plain | {"dtype": "F8_E4M3", "data_offsets": [0, 2]}}, 2),
    "bfloat16": _file({"a": plain | {"dtype": "BF16", "data_offsets": [0, 4]}}, 4),
    "overlapping": _file({"a": plain, "b": plain}, 8),
    "outside": _file({"a": plain | {"data_offsets": [100, 108]}}, 8),
    "negative shape": _file({"a": plain | {"shape": [-2]}}, 8),
    "huge shape": _file({"a": plain | {"shape": [2**60]}}, 8),
    "shape of text": _file({"a": plain | {"shape": "x"}}, 8),
    **{
      f"configuration {name}": _file({"__metadata__": {"config": config}}, 0)
      for name, config in {
        "5": "5",
        "null": "null",
        "list": "[]",
        "deep": "[" * 100_000,
        "log_every 0": '{"train": {"log_every": 0}}',
        "text for a number": '{"train": {"steps": "many"}}',
        "unknown field": '{"strain": 3}',
        "nan": '{"optim": {"learning_rate": NaN}}',
        "no JSON": "{",
      }.items()
    },
  }


def _file(header: dict[str, Any], size: int) -> bytes:
  text = json.dumps(header).encode()
  return struct.pack("<Q", len(text)) + text + bytes(size)


def _mutated(data: bytes, rng: random.Random) -> bytes:
  changed = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 5))):
    place = rng.randrange(min(len(changed), 250))  # the header
    kind = rng.randrange(4)
    if kind == 0:
      changed[place] ^= 1 << rng.randrange(8)
    elif kind == 1:
      changed[place] = rng.choice(b'{}[]",:0919-e\\')
    elif kind == 2:
      del changed[place]
    else:
      changed.insert(place, rng.randrange(256))
  return bytes(changed)


class _Code:
  """Makes a folder when it is unpickled."""

  def __init__(self, folder: str):
    self.folder = folder

  def __reduce__(self) -> Any:
    import os

    return os.mkdir, (self.folder,)


def _of_pytorch(place: Place) -> Iterator[Trial]:
  import torch

  from fskd_jax.interop import weights

  sign = place.work / "code_was_run"
  ones = torch.ones(2)
  contents = {
    "plain": {"a": ones},
    "state_dict": {"state_dict": {"a": ones}},
    "Parameter": {"a": torch.nn.Parameter(ones)},
    "bfloat16": {"a": ones.bfloat16()},
    "sparse": {"a": torch.eye(3).to_sparse()},
    "meta": {"a": torch.ones(2, device="meta")},
    "quantized": {"a": torch.quantize_per_tensor(ones, 0.1, 0, torch.qint8)},
    "a list": [ones],
    "numbers": {"a": 3},
    "code": {"a": _Code(str(sign))},
    "a module": torch.nn.Linear(2, 2),
  }
  for name, content in contents.items():

    def run(name=name, content=content) -> None:
      path = place.work / f"{name}.pth".replace(" ", "_")
      torch.save(content, path)
      found = _read_or_refused(weights.read_weights, path)
      check(not sign.exists(), "code in the file was run")
      if name in ("plain", "state_dict", "Parameter"):
        check(found is not None, "refused")
        np.testing.assert_array_equal(found["a"], np.ones(2, np.float32))
      elif name in ("code", "a module", "meta", "numbers", "a list"):
        check(found is None, "taken without a word")

    yield Trial(f"{name}.pth", run)
  for name, part in (("cut", slice(0, 300)), ("empty", slice(0, 0))):

    def damaged(name=name, part=part) -> None:
      path = place.work / f"{name}.pth"
      torch.save({"a": ones}, path)
      path.write_bytes(path.read_bytes()[part])
      check(_read_or_refused(weights.read_weights, path) is None, "taken")

    yield Trial(f"{name}.pth", damaged)
