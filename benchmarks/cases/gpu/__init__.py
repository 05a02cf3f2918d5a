"""(k) What is measured on a GPU, the most important first; run it with --minutes.

The step of configs/lightweight.py in three precisions beside PyTorch, eager in both
memory layouts and by `torch.compile`; the step of configs/any_keypoints.py fed by the
resident executor; a further query of the detector that comes with the package; steps
in one program beside as many calls; kernels of attention; and larger steps.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from benchmarks.cases import evaluation, feeding, training
from benchmarks.cases.gpu import attention, scan
from benchmarks.harness.problem import Builder, Problem, Setup, Side
from benchmarks.opponents import pytorch, torch_twin
from configs import any_keypoints
from fskd_jax.config import Config
from fskd_jax.files import read_json
from fskd_jax.prediction import photographs
from fskd_jax.prediction.load import load

PHOTOGRAPHS = pathlib.Path(__file__).parents[3] / "docs" / "photographs"


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields the problems; the small size has one of each kind."""
  counts = (2, 8, 32) if setup.is_full else (2,)
  for precision in setup.precisions:
    yield _step(setup, precision, counts[0], is_least=True)
  yield _fed(setup, episodes=4)
  yield _further_query()
  yield from scan.problems(setup)
  yield from attention.problems(setup)
  for count in counts[1:]:
    for precision in setup.precisions[::-1]:
      yield _step(setup, precision, count)
  if setup.is_full:
    yield _fed(setup, episodes=32)


def _step(
  setup: Setup, precision: str, count: int, *, is_least: bool = False
) -> Problem:
  """Returns the training step with a side for every way to run PyTorch.

  Inductor chooses layouts itself, so it gets one. CUDA graphs, which save the launching
  of kernels, are tried where that counts most: at the least number of episodes.
  """
  side = 384 if setup.is_full else 64
  problem = training.problem(setup, precision, count, side)
  twin = functools.partial(
    training.pytorch_step,
    *(setup, precision, count, side, torch_twin, torch_twin.LightweightDetector),
  )
  compiled = functools.partial(twin, torch.channels_last)
  sides: dict[str, dict[str, Builder]] = {
    "ours": dict(problem.sides["ours"]),
    **{
      f"PyTorch, {name}": {"": functools.partial(twin, layout)}
      for name, layout in pytorch.LAYOUTS.items()
    },
    "PyTorch compiled": {"": functools.partial(compiled, compile_mode="default")},
  }
  if is_least:
    graphs = functools.partial(compiled, compile_mode="reduce-overhead")
    sides["PyTorch compiled, CUDA graphs"] = {"": graphs}
  variables = {**problem.variables, "part": "step"}
  on_gpu = setup.device == "gpu"
  return dataclasses.replace(problem, variables=variables, sides=sides, memory=on_gpu)


def _fed(setup: Setup, episodes: int) -> Problem:
  """Returns the step of configs/any_keypoints.py, fed and on a fixed batch."""
  name = f"any_keypoints, {episodes} episodes"
  make = functools.partial(_any_keypoints, setup, episodes)
  problem = feeding.fed_step(name, make, 40 if setup.is_full else 3)
  return dataclasses.replace(problem, variables={"episodes": episodes, "part": "fed"})


def _any_keypoints(setup: Setup, episodes: int) -> Config:
  """Returns configs/any_keypoints.py on its drawn creatures, with random weights."""
  cfg = any_keypoints.get_config()
  (creatures,) = (x for x in cfg.data.mixture if x.name == "creatures")
  own = dataclasses.replace(
    creatures.data,
    images_per_species=50 if setup.is_full else 12,
    cache_dir=str(evaluation.CACHE),
  )
  cfg.data = dataclasses.replace(
    cfg.data,
    path="",
    mixture=(dataclasses.replace(creatures, data=own),),
    cache_dir=str(evaluation.CACHE),
    image_size=cfg.data.image_size if setup.is_full else 64,
  )
  cfg.train.episodes_per_step = episodes
  return cfg


def _further_query() -> Problem:
  """Returns a query of the packaged detector, from pixels to keypoints."""
  return Problem(
    name="further query image, the packaged detector",
    variables={"part": "query"},
    sides={
      "support kept": {"": functools.partial(_query, is_kept=True)},
      "support again": {"": functools.partial(_query, is_kept=False)},
    },
    items=1,
  )


def _query(is_kept: bool) -> Side:
  detector = load()
  shown, query = (
    photographs.read(PHOTOGRAPHS / name, name)
    for name in ("horse.jpg", "others/zebra.jpg")
  )
  points = read_json(PHOTOGRAPHS / "horse.json")
  height, width = query.shape[:2]
  kept = detector.support([shown], [points])

  def run() -> Any:
    support = kept if is_kept else detector.support([shown], [points])
    return detector.predict(support, [query], [(0, 0, width, height)])

  return Side(run, lambda found: [np.nan_to_num(found.keypoints)])
