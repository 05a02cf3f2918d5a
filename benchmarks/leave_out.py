"""Leaves each source of the mixture out in turn: trains without it, measures on it.

  python -m benchmarks.leave_out --root ../shared/data --workdir runs/leave_out

PCK@0.1 on all images of the source that was left out, with 1 and 5 supports: copied
support coordinates, frozen features alone, the detector trained without the source, the
same with the prior, and the detector trained on everything, which saw most of these
images. A training is short (EfficientNet-Lite0 at 160 px, episodes of one support and
two queries, two a step); --without names the sources to leave out, --ablate leaves out
a part of the recipe instead, in all trainings. A training that is there stays.
Needs the pictures of `configs/any_keypoints.py`, in data_cache.
"""

import argparse
import dataclasses
import logging
import pathlib
import sys
from typing import Any

import numpy as np

from benchmarks import prior as measuring
from configs import any_keypoints
from fskd_jax import experiment
from fskd_jax.config import Config
from fskd_jax.files import read_json, write_json
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.models.build import Model
from fskd_jax.training.runs import load_run

SOURCES = (
  "tongue_ultrasound",
  "lips",
  "mollusk_shells",
  "mouse_openfield",
  "reaching_hand",
  "glue_tubes",
)
EVERYTHING = "everything"
SHOTS = 1, 5
PRIOR = Prior(strength=0.7, sigma=0.05)
"""That of the detector that comes with the package."""

ABLATIONS = "nothing", "self_supervision", "frozen_maps"
ENCODER = "efficientnet_lite0"


def main() -> int:
  parser = argparse.ArgumentParser("python -m benchmarks.leave_out")
  parser.add_argument("--root", required=True, type=pathlib.Path)
  parser.add_argument("--workdir", required=True, type=pathlib.Path)
  parser.add_argument("--without", nargs="+", default=[EVERYTHING, *SOURCES])
  parser.add_argument("--ablate", choices=ABLATIONS, default=ABLATIONS[0])
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--episodes", type=int, default=60)
  args = parser.parse_args()
  logging.basicConfig(level=logging.WARNING)
  rows: dict[str, dict[str, Any]] = {}
  for without in args.without:
    folder = args.workdir / f"{without}_{args.ablate}"
    path = folder / "left_out.json"
    if not path.is_file():
      cfg = config(args.root, without, args.ablate, args.steps)
      experiment.train(cfg, folder)
      measured = SOURCES if without == EVERYTHING else (without,)
      model = load_run(str(folder))[0]
      write_json(path, {x: _scores(model, args, x) for x in measured})
    for source, scores in read_json(path).items():
      column = EVERYTHING if without == EVERYTHING else "detector"
      rows.setdefault(source, {})[column] = scores
  frozen = measuring.frozen(ENCODER)
  for source, columns in rows.items():
    columns["frozen"] = _scores(frozen, args, source)
  for shots in map(str, SHOTS):
    print(f"{shots}-shot: copied, frozen, detector, with prior, everything, with prior")
    table = [_cells(columns, shots) for columns in rows.values()]
    for source, cells in zip(rows, table):
      print(f"{source:18s}", *(f"{100 * m:6.1f} ± {100 * h:4.1f}" for m, h in cells))
    means, halves = np.moveaxis(np.array(table), 2, 0)
    mean = zip(means.mean(0), np.sqrt((halves**2).sum(0)) / len(table))
    print(f"{'mean':18s}", *(f"{100 * m:6.1f} ± {100 * h:4.1f}" for m, h in mean))
  return 0


def config(root: pathlib.Path, without: str, ablate: str, steps: int) -> Config:
  """Returns the short training without a source, or on `EVERYTHING`."""
  cfg = any_keypoints.get_config()
  cfg.data.path, cfg.data.image_size = str(root.resolve()), 160
  cfg.data.holdout = () if without == EVERYTHING else (without,)
  cfg.model.encoder = cfg.model.pretrained = ENCODER
  cfg.train.steps, cfg.train.episodes_per_step = steps, 2
  cfg.train.validate_every = cfg.train.picture_every = steps + 1
  cfg.train.checkpoint_every = steps
  if ablate == "frozen_maps":
    cfg.model.pyramid = dataclasses.replace(cfg.model.pyramid, beside=())
  if ablate == "self_supervision":
    # Sources without labels are left out as a whole.
    cfg.data.mixture = tuple(
      x for x in cfg.data.mixture if x.data.self_supervised.share < 1
    )
    for part in cfg.data.mixture:
      part.data.self_supervised.share = 0.0
  return cfg


def _scores(
  model: Model, args: argparse.Namespace, source: str
) -> dict[str, list[tuple[float, float]]]:
  """Returns copied, plain and with the prior, by shots."""
  return {
    str(shots): measuring.measure(
      model, args.root / source, [PRIOR], shots, args.episodes
    )
    for shots in SHOTS
  }


def _cells(columns: dict[str, Any], shots: str) -> list[tuple[float, float]]:
  copied, frozen, _ = columns["frozen"][shots]
  missing = [(np.nan, np.nan)] * 3
  detector, everything = (
    columns.get(name, {shots: missing})[shots] for name in ("detector", EVERYTHING)
  )
  return [copied, frozen, *detector[1:], *everything[1:]]


if __name__ == "__main__":
  sys.exit(main())
