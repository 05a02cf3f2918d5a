"""Measures what the geometric prior adds, on data sets that were never trained on.

  python -m benchmarks.prior --root ../shared/data --pretrained efficientnet-lite0.pth
  python -m benchmarks.prior --root ../shared/data --workdir runs/any --shots 5

PCK@0.1 of every data set below the root: copied support coordinates, the detector
without a prior, and with each prior of --priors; 95 % intervals over episodes. The
detector is that of a run, or without --workdir the frozen maps of EfficientNet-Lite0 at
strides 8 and 16, compared by cosine.
"""

import argparse
import functools
import logging
import pathlib
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np

from fskd_jax.config import Config, ModelConfig, PyramidConfig
from fskd_jax.data.evaluation_batches import evaluation_batches
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.few_shot import baselines, step, transfer
from fskd_jax.few_shot.encoded import EncodedCrops
from fskd_jax.few_shot.pools import checked_sampler
from fskd_jax.few_shot.scoring import run_detector
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.metrics.scores import EpisodeScores
from fskd_jax.models.build import Model, make_detector
from fskd_jax.models.detector import init_variables
from fskd_jax.training.runs import load_run

THRESHOLD = 0.1


def main() -> int:
  parser = argparse.ArgumentParser("python -m benchmarks.prior")
  parser.add_argument("--root", required=True, type=pathlib.Path)
  parser.add_argument("--sources", nargs="+", help="folders below the root; all")
  which = parser.add_mutually_exclusive_group(required=True)
  which.add_argument("--workdir", help="folder of a run")
  which.add_argument("--pretrained", help="weights of EfficientNet-Lite0")
  parser.add_argument(
    "--priors", nargs="+", default=["1.0,0.05"], help="strength,sigma of each"
  )
  parser.add_argument("--shots", type=int, default=1)
  parser.add_argument("--episodes", type=int, default=100)
  args = parser.parse_args()
  logging.basicConfig(level=logging.WARNING)
  pairs = [map(float, text.split(",")) for text in args.priors]
  priors = [Prior(strength=strength, sigma=sigma) for strength, sigma in pairs]
  model = load_run(args.workdir)[0] if args.workdir else frozen(args.pretrained)
  names = [path.parent.name for path in sorted(args.root.glob("*/annotations.json"))]
  print(f"{'':20s}", *(f"{x:>14s}" for x in ("copied", "plain", *args.priors)))
  rows = []
  for name in args.sources or names:
    rows.append(measure(model, args.root / name, priors, args.shots, args.episodes))
    print(f"{name:20s}", *_cells(rows[-1]), flush=True)
  parts = {"mean": rows, "odd places": rows[::2], "even places": rows[1::2]}
  for name, part in parts.items():
    if part:
      means, halves = np.moveaxis(np.array(part), 2, 0)
      half = np.sqrt((halves**2).sum(0)) / len(part)
      print(f"{name:20s}", *_cells(np.stack([means.mean(0), half], 1)))
  return 0


def _cells(row: Any) -> list[str]:
  return [f"{100 * mean:7.1f} ± {100 * half:4.1f}" for mean, half in row]


def frozen(weights: str) -> Model:
  """Returns a detector that learned nothing: frozen maps compared by cosine."""
  cfg = Config()
  cfg.data.image_size, cfg.data.crop = 160, "box"
  cfg.model = baselines.untrained_model(
    ModelConfig(
      encoder="efficientnet_lite0",
      pretrained=weights,
      strides=(8,),
      freeze_until="stage7",
      batch_norm="frozen",
      pyramid=PyramidConfig(width=8, beside=(8, 16)),
    )
  )
  drawn = init_variables(make_detector(cfg), seed=0)
  known = pretrained_variables(drawn, weights, cfg.model)
  return Model(cfg, baselines.frozen_maps(drawn, known))


def measure(
  model: Model, folder: pathlib.Path, priors: list[Prior], shots: int, episodes: int
) -> list[tuple[float, float]]:
  """Returns mean and half interval of copied coordinates, plain maps and each prior.

  Args:
    model: The detector.
    folder: The data set, all images of which are used.
    priors: The priors to read heat-maps out with.
    shots: Support images of an episode.
    episodes: Number of episodes, of two queries each.
  """
  cfg = transfer.with_dataset(model.config, str(folder))
  cfg.data.min_support_types = cfg.data.min_query_types = 1
  cfg.eval.shots, cfg.eval.queries = shots, 2
  feed = Feed.open(cfg.data)
  sampler = checked_sampler(feed, transfer.SETTING, cfg.eval)

  def reduce(output: Any, batch: Any) -> Any:
    read = functools.partial(
      step.read_keypoints, output, batch, image_size=cfg.data.image_size, kind="mode"
    )
    found = [read(loss=cfg.loss, prior=prior).keypoints for prior in (None, *priors)]
    return jnp.stack([jnp.asarray(points) for points in found], axis=1)

  run = run_detector(cfg, feed, reduce, "single")
  variables = parallel.replicate(model.variables, "single")
  crops = EncodedCrops(cfg, feed, variables, "single")
  scores = [
    EpisodeScores((THRESHOLD,), feed.dataset.keypoint_names)
    for _ in range(2 + len(priors))
  ]
  with evaluation_batches(feed, sampler, episodes, cfg.eval.batch_episodes) as batches:
    for batch in batches:
      species = feed.species(batch.query.instance)
      read = np.moveaxis(np.asarray(run(variables, crops.put_into(batch))), 1, 0)
      for score, points in zip(scores, [baselines.copy_support(batch), *read]):
        score.add(batch, points, species)
  found = [score.summary()["pck"][f"{THRESHOLD:g}"] for score in scores]
  return [(x["mean"], x["ci95"]) for x in found]


if __name__ == "__main__":
  sys.exit(main())
