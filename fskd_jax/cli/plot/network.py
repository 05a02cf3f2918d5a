"""fskd plot: an episode as the network sees it, and heat-maps of a prediction."""

import argparse
import functools
import pathlib

import jax
import numpy as np

from fskd_jax import episode
from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.config import Config, crop_size
from fskd_jax.data.feed import Feed
from fskd_jax.device import color, store
from fskd_jax.episode import EpisodeBatch
from fskd_jax.few_shot.negatives import sample_batch_negatives
from fskd_jax.few_shot.sampler import evaluation_sampler, training_sampler
from fskd_jax.heatmaps import losses
from fskd_jax.models.aggregator import pooling_weights
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.pictures import network
from fskd_jax.pictures.network import EpisodeInput, KeypointView
from fskd_jax.prediction import photographs
from fskd_jax.prediction.inputs import read_supports
from fskd_jax.prediction.load import load
from fskd_jax.training.runs import load_config, load_run

TRAINING = "train"
"""The setting of training: random crops and colours, auxiliary types, negatives."""

MAX_ROWS = 8
"""Keypoint types in a picture of heat-maps, unless they are named."""


def add_episode(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot episode`."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--config", help="file in configs/, before there is a run")
  parser.add_argument(
    "--setting", default=TRAINING,
    help="%(default)s, or a setting of the evaluation, as unseen/base (%(default)s)",
  )  # fmt: skip
  parser.add_argument("--index", type=int, default=0, help="which (%(default)s)")
  add_out(parser)
  parser.set_defaults(run=_run_episode)


def add_heatmaps(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot heatmaps`."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--weights", help=".safetensors file of fskd export")
  parser.add_argument("--support", nargs="+", required=True, metavar="IMAGE")
  parser.add_argument(
    "--keypoints", nargs="+", required=True, metavar="FILE", help="as of fskd predict"
  )
  parser.add_argument("--query", required=True, metavar="IMAGE")
  parser.add_argument(
    "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"),
    help="of the object in the query, pixels; default: it is searched for",
  )  # fmt: skip
  parser.add_argument(
    "--names", nargs="+", metavar="NAME",
    help=f"which keypoint types; default: the first {MAX_ROWS}",
  )  # fmt: skip
  add_out(parser)
  parser.set_defaults(run=_run_heatmaps)


def _run_episode(args: argparse.Namespace) -> int:
  cfg = load_run(args.workdir)[0].config if args.workdir else load_config(args.config)
  if cfg.task != "few_shot":
    raise ValueError(f"{cfg.name} is of the task {cfg.task!r}, which has no episodes")
  feed = Feed.open(cfg.data)
  is_training = args.setting == TRAINING
  if is_training:
    sampler = training_sampler(feed, cfg.train)
  elif args.setting.count("/") == 1:
    sampler = evaluation_sampler(feed, args.setting, cfg.eval)
  else:
    raise ValueError(
      f"--setting {args.setting}: expected {TRAINING}, or a setting as unseen/base"
    )
  with feed.batches(sampler, [[args.index]], 1) as batches:
    batch = store.with_pixels(next(batches), feed.store, crop_size(cfg.data))
  shown = _input(cfg, batch, feed.type_names(batch.keypoint_ids[0]), is_training)
  heading = f"{cfg.name}, {args.setting}, episode {args.index}"
  return save(network.draw_episode(shown, heading), args.out)


def _input(
  cfg: Config, batch: EpisodeBatch, names: list[str], is_training: bool
) -> EpisodeInput:
  """Adds to a batch of one what the steps make of it on the device."""
  side, seed = cfg.data.image_size, cfg.train.seed
  if is_training and cfg.data.color_jitter:
    batch = color.jitter_batch(batch, seed, cfg.data.color_jitter)
  views = episode.all_views(batch)
  negatives = np.zeros((1, views.visible.shape[1], 0, 2))
  if is_training and cfg.loss.mfcl_weight and cfg.loss.negatives_per_image:
    negatives = sample_batch_negatives(
      seed,
      batch.episode_index,
      views.keypoints,
      views.visible,
      image_size=side,
      num=cfg.loss.negatives_per_image,
      distance=cfg.loss.negative_distance,
      box_scale=cfg.loss.negative_box_scale,
    )
  detector = FewShotDetector(cfg.model, side)
  output, _ = jax.eval_shape(
    functools.partial(detector.init_with_output, train=False), jax.random.key(0), batch
  )
  pooling = pooling_weights(
    batch.support.keypoints,
    output.features.shape[2],
    image_size=side,
    sigma=cfg.model.pool_sigma,
    truncate_center=cfg.model.truncate_pooling_center,
  )
  cells = max(maps.shape[-1] for maps in output.heatmaps)
  targets = losses.heatmap_targets(
    batch.query.keypoints, (cells, cells), side / cells, cfg.loss.target_sigma * side
  )
  images = np.asarray(views.images[0]).round().clip(0, 255).astype(np.uint8)
  return EpisodeInput(
    images=images,
    shots=batch.support.visible.shape[1],
    keypoints=np.asarray(views.keypoints[0]),
    visible=np.asarray(views.visible[0]),
    is_auxiliary=np.asarray(batch.is_auxiliary[0]),
    negatives=np.asarray(negatives[0]),
    pooling=np.asarray(pooling[0]),
    targets=np.asarray(targets[0]),
    names=names,
  )


def _run_heatmaps(args: argparse.Namespace) -> int:
  supports = read_supports(args.support, args.keypoints)
  detector = load(args.workdir or args.weights)
  support = detector.support(
    [x.image for x in supports],
    [x.marked.keypoints for x in supports],
    [x.marked.box for x in supports],
  )
  names = args.names or _shown(support.names, support.shown)[:MAX_ROWS]
  if unknown := set(names) - set(_shown(support.names, support.shown)):
    raise ValueError(f"--names: the support does not show {', '.join(sorted(unknown))}")
  query = [photographs.read(args.query, args.query)]
  boxes = None if args.box is None else [args.box]
  seen = detector.heatmaps(support, query, boxes)
  confidence = detector.predict(support, query, boxes).confidence[0]
  norms = [np.linalg.norm(group.taps[0], axis=-1) for group in support.kernels]
  rows = []
  for name in names:
    n = support.names.index(name)
    image, point = next(
      (x.image, point)
      for x in supports
      if (point := x.marked.keypoints.get(name)) is not None
    )
    rows.append(
      KeypointView(
        title=name,
        support=image.pixels,
        place=point,
        found=seen.keypoints[0, n],
        confidence=confidence[n],
        heatmap=seen.heatmaps[0, n],
        tap_norms=[group[n] for group in norms],
      )
    )
  heading = (
    f"{detector.config.name}, {pathlib.Path(args.query).name}; white: the highest "
    "tenth of a heat-map's range; kernels: norms of the taps"
  )
  kernels = _kernel_names(detector.config)
  return save(network.draw_heatmaps(rows, seen.crops[0], kernels, heading), args.out)


def _shown(names: tuple[str, ...], shown: np.ndarray) -> list[str]:
  return [name for name, is_shown in zip(names, shown) if is_shown]


def _kernel_names(cfg: Config) -> list[str]:
  model = cfg.model
  return [
    f"kernel {size} x {size}, stride {stride}"
    for stride in model.strides
    for size in model.kernel_sizes
  ]
