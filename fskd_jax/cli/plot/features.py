"""fskd plot: negatives and prototypes of contrastive learning."""

import argparse
import json
import pathlib
from typing import Any

import numpy as np
from tqdm import tqdm

from fskd_jax import episode
from fskd_jax.analysis.contrast import features, hardness, prototypes
from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.config import Config
from fskd_jax.few_shot.mixing import training_sampler
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.models.build import make_detector
from fskd_jax.models.detector import init_variables
from fskd_jax.training.runs import load_config, load_run, open_feed

TYPES = ("base", "novel")


def add_negatives(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot negatives`."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run, for its features")
  source.add_argument("--config", help="configuration file, for an untrained network")
  parser.add_argument(
    "--index", type=int, default=0, help="number of the episode (%(default)s)"
  )
  parser.add_argument(
    "--episodes",
    type=int,
    default=40,
    help="number of episodes to measure the hardness (%(default)s)",
  )
  add_out(parser)
  parser.set_defaults(run=_run_negatives)


def add_prototypes(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot prototypes`."""
  parser.add_argument("--workdirs", nargs="+", required=True, metavar="RUN")
  parser.add_argument(
    "--episodes", type=int, default=100, help="number of episodes (%(default)s)"
  )
  add_out(parser)
  parser.set_defaults(run=_run_prototypes)


def _run_negatives(args: argparse.Namespace) -> int:
  cfg, variables = _network(args)
  feed = open_feed(cfg)
  sampler, size = training_sampler(feed, cfg.train), cfg.eval.batch_episodes
  last = args.index + max(args.episodes, 1)
  indices = [list(range(i, min(i + size, last))) for i in range(args.index, last, size)]
  indices = [part for part in indices if len(part) == size] or [
    [args.index] * size  # a batch is never padded here
  ]
  with feed.batches(sampler, indices, size) as stream:
    batches = list(stream)
  found = hardness.measure(cfg, variables, feed, batches, tqdm)
  first, image = batches[0], feed.pixels(batches[0])[0][0, 0]
  views = episode.all_views(first)
  drawn = {key: x[0, 0] for key, x in hardness.draw_points(first, cfg).items()}
  shown = np.asarray(views.keypoints)[0, 0][np.asarray(views.visible)[0, 0]]
  print(json.dumps(found, indent=2))
  return save(hardness.draw(image, shown, drawn, found), args.out)


def _run_prototypes(args: argparse.Namespace) -> int:
  studies = {}
  for workdir in args.workdirs:
    model, _ = load_run(workdir)
    cfg, feed = model.config, open_feed(model.config)
    parts = [
      features.at_keypoints(
        cfg,
        model.variables,
        feed,
        evaluation_sampler(feed, f"unseen/{kind}", cfg.eval),
        args.episodes,
      )
      for kind in TYPES
      if len(getattr(feed.types, kind))
    ]
    studies[pathlib.Path(workdir).name] = prototypes.study(
      features.concatenate(parts), feed.dataset.keypoint_names
    )
  print(json.dumps({k: prototypes.numbers(v) for k, v in studies.items()}, indent=2))
  return save(prototypes.draw(studies), args.out)


def _network(args: argparse.Namespace) -> tuple[Config, Any]:
  if args.workdir:
    model, _ = load_run(args.workdir)
    return model.config, model.variables
  cfg = load_config(args.config)
  return cfg, init_variables(make_detector(cfg), cfg.train.seed)
