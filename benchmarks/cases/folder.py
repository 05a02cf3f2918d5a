"""A folder of photographs of 12 megapixels by `predict_folder`, beside their decoding.

The detector is the one that comes with the package; the photographs are smooth random
JPEG files in a temporary folder. Decoding alone uses the threads of `predict_folder`
and is the limit: nothing is found, drawn or written.
"""

import functools
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
from PIL import Image

from benchmarks.harness.problem import Problem, Setup, Side
from fskd_jax.prediction import ahead, photographs
from fskd_jax.prediction.folders import predict_folder
from fskd_jax.prediction.load import load

SUPPORT = pathlib.Path(__file__).parents[2] / "docs" / "photographs" / "horse.jpg"
DIFFERENT = 8


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the folder, with objects that fill their images or are searched for."""
  count, size = (200, (4000, 3000)) if setup.is_full else (4, (400, 300))
  make = functools.partial(_predicted, count, size)
  yield Problem(
    name=f"folder of {count} photographs, {size[0]} x {size[1]}",
    variables={"photographs": count},
    sides={
      "whole images": {"": functools.partial(make, True)},
      "boxes searched": {"": functools.partial(make, False)},
      "decoding alone": {"": functools.partial(_decoded, count, size)},
    },
    checks=(),
    is_long=setup.is_full,
    items=count,
  )


@functools.cache
def _folder(count: int, size: tuple[int, int]) -> tempfile.TemporaryDirectory:
  """Returns a folder of photographs, of which some are the same."""
  folder = tempfile.TemporaryDirectory()
  rng = np.random.default_rng(0)
  files = []
  for number in range(count):
    path = pathlib.Path(folder.name) / f"{number:03d}.jpg"
    if number < DIFFERENT:
      small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
      small.resize(size, Image.Resampling.BICUBIC).save(path, quality=90)
      files.append(path.read_bytes())
    else:
      path.write_bytes(files[number % DIFFERENT])
  return folder


def _predicted(count: int, size: tuple[int, int], is_whole: bool) -> Side:
  folder, detector = _folder(count, size), load()

  def run() -> np.ndarray:
    with tempfile.TemporaryDirectory() as out:
      found = predict_folder(
        detector,
        [SUPPORT],
        [SUPPORT.with_suffix(".json")],
        [folder.name],
        f"{out}/found",
        whole_images=is_whole,
      )
    return found.confidences

  return Side(run, lambda confidences: [confidences])


def _decoded(count: int, size: tuple[int, int]) -> Side:
  files = sorted(pathlib.Path(_folder(count, size).name).iterdir())

  def run() -> int:
    read = functools.partial(photographs.read, name="")
    return sum(result().size for _, result in ahead.mapped(read, files))

  return Side(run, lambda pixels: [np.asarray(pixels)])
