"""Trains the variants of a sweep on maps of the frozen encoder that are computed once.

  python -m benchmarks.heads configs/sweeps/pretrained_humans.py --out runs/heads \
      --set data.path=../shared/data/humans --variants baseline MDS

A frozen encoder takes nearly all of the time of a step. Here every object has one crop,
as in evaluation, whose maps are kept; pyramid and head train as in `fskd experiment
sweep`, with the same losses and roles, on the first --objects of each split, without
augmentation. What is in --out is not run again; the report is that of a sweep.
"""

import argparse
import dataclasses
import functools
import json
import pathlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from fskd_jax import geometry
from fskd_jax.analysis.sweep import plan, report, run
from fskd_jax.config import Config
from fskd_jax.data import augment, sources
from fskd_jax.data.annotations import Instance
from fskd_jax.data.feed import Feed
from fskd_jax.data.keypoint_types import look_up
from fskd_jax.device import store
from fskd_jax.episode import EpisodeBatch, Views, valid_queries
from fskd_jax.few_shot import pools, step
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.files import append_text, write_text
from fskd_jax.heatmaps import decoding
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.models.build import count_parameters, make_detector
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps, init_variables
from fskd_jax.models.encoder import normalize_for
from fskd_jax.models.pyramid import PyramidEncoder
from fskd_jax.training.optim import make_optimizer
from fskd_jax.training.state import init_state

CHUNK = 32
"""Number of objects that are encoded, and of episodes that are scored, at a time."""


class KeptMaps(nn.Module):
  """Stands for a frozen encoder: takes its maps apart again.

  Attributes:
    shapes: The shape [h w c] of every map.
  """

  shapes: tuple[tuple[int, int, int], ...]

  def __call__(self, kept: jax.Array, *, train: bool) -> tuple[jax.Array, ...]:
    """Returns the maps [t h w c] of objects [t f]."""
    ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1].tolist()
    parts = jnp.split(kept, ends, axis=1)
    return tuple(x.reshape(-1, *shape) for x, shape in zip(parts, self.shapes))


class Detector(FewShotDetector):
  """The detector on kept maps in the place of images."""

  def __call__(self, batch: EpisodeBatch, *, train: bool, rotate_support: bool = False):
    """Detects, without checks and normalisation of images."""
    return self.detect_normalized(batch, train=train, rotate_support=rotate_support)


@dataclasses.dataclass(frozen=True)
class Kept:
  """The maps of all objects, [i f], their shapes, and the row of every instance."""

  maps: np.ndarray
  shapes: tuple[tuple[int, int, int], ...]
  rows: dict[int, int]

  def put_into(self, plans: Sequence[EpisodeBatch]) -> EpisodeBatch:
    """Returns plans as one batch, with maps in the place of the numbers of images."""
    batch = jax.tree.map(lambda *x: np.stack(x), *plans)
    support, query = (
      views._replace(images=self.maps[np.vectorize(self.rows.get)(views.instance)])
      for views in (batch.support, batch.query)
    )
    return batch._replace(support=support, query=query)


def main() -> int:
  parser = argparse.ArgumentParser("python -m benchmarks.heads")
  parser.add_argument("file", help="Python file with get_sweep()")
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument("--variants", nargs="+")
  parser.add_argument("--seeds", nargs="+", type=int)
  parser.add_argument("--objects", type=int, default=800, help="of each split")
  parser.add_argument("--set", nargs="+", default=[], metavar="FIELD=VALUE")
  args = parser.parse_args()
  sweep = plan.load_sweep(args.file, plan.parse_fields(args.set))
  sweep = dataclasses.replace(sweep, seeds=args.seeds or sweep.seeds)
  jobs = [
    job
    for job in plan.jobs(sweep, args.variants)
    if not any((x["variant"], x["seed"]) == job[:2] for x in run.read(args.out))
  ]
  if jobs:
    feed = _feed(sweep.base, args.objects)
    kept = _kept(sweep.base, feed, args.out / "maps.npz")
  for job in jobs:
    line = _trained(job, feed, kept)
    append_text(args.out / run.FILE, json.dumps(line) + "\n")
    print(job.name, job.seed, line["train_seconds"], flush=True)
  names = [*plan.points(sweep)]
  text = report.markdown(report.differences(run.read(args.out), names))
  write_text(args.out / "report.md", text)
  print(text)
  return 0


def _feed(cfg: Config, objects: int) -> Feed:
  """Opens the data set with the first objects of every split."""
  dataset = sources.load_dataset(cfg.data)
  splits = Feed.of(dataset, dataclasses.replace(cfg.data, executor="grain")).splits
  held = {x.instance_id for part in splits for x in part[:objects]}
  chosen = [x for x in dataset.instances if x.instance_id in held]
  feed = Feed.of(dataclasses.replace(dataset, instances=tuple(chosen)), cfg.data)
  kept = (tuple(x for x in part if x.instance_id in held) for part in splits)
  return dataclasses.replace(feed, splits=type(splits)(*kept))


def _kept(cfg: Config, feed: Feed, path: pathlib.Path) -> Kept:
  """Encodes the crops of all objects, or reads what a file has of them."""
  ids = [x.instance_id for x in feed.dataset.instances]
  detector = make_detector(cfg)
  inputs = [cfg.data.image_size // stride for stride in cfg.model.pyramid.inputs]
  if not path.exists():
    blank = jax.eval_shape(lambda: init_variables(detector, 0))
    blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), blank)
    variables = pretrained_variables(blank, cfg.model.pretrained, cfg.model)

    @jax.jit
    def encode(variables, images, batch):
      views = store.materialize(images, batch, (cfg.data.image_size,) * 2).query
      return detector.apply(
        variables,
        normalize_for(cfg.model, views.images[0]),
        method=lambda self, x: self.encoder.backbone(x, train=False),
      )

    parts = [
      jax.device_get(encode(variables, feed.store, batch))
      for batch in _crops(feed.dataset.instances, cfg)
    ]
    maps = [np.concatenate(x)[: len(ids)] for x in zip(*parts)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, *maps, ids=ids)
  with np.load(path) as file:
    if file["ids"].tolist() != ids:
      raise ValueError(f"{path} is of other objects: name another --out")
    maps = [file[f"arr_{n}"] for n in range(len(inputs))]
  flat = np.concatenate([x.reshape(len(ids), -1) for x in maps], axis=1)
  shapes = tuple(x.shape[1:] for x in maps)
  return Kept(flat, shapes, {number: row for row, number in enumerate(ids)})


def _crops(instances: Sequence[Instance], cfg: Config) -> Iterator[EpisodeBatch]:
  """Yields batches whose queries are the objects, `CHUNK` at a time; support is one."""
  for start in range(0, len(instances), CHUNK):
    chunk = [*instances[start : start + CHUNK]]
    chunk += [chunk[0]] * (CHUNK - len(chunk))
    boxes = np.array([x.box for x in chunk], np.float32)
    query = Views(
      images=np.array([[x.image for x in chunk]], np.int32),
      keypoints=np.zeros((1, CHUNK, 1, 2), np.float32),
      visible=np.ones((1, CHUNK, 1), bool),
      to_original=augment.evaluation_crops(boxes, cfg.data)[None],
      box=boxes[None],
      image_size=np.ones((1, CHUNK, 2), np.float32),
      instance=np.zeros((1, CHUNK), np.int64),
    )
    support = Views(*(x[:, :1] for x in query))
    types = np.zeros((1, 1), np.int32)
    yield EpisodeBatch(support, query, types, types > 0, types[0])


def _trained(job: plan.Job, feed: Feed, kept: Kept) -> dict[str, Any]:
  """Trains a variant and scores it; returns its line."""
  cfg, start = job.config, time.perf_counter()
  types = look_up(cfg.data, feed.dataset.keypoint_names)
  feed = dataclasses.replace(feed, cfg=cfg.data, types=types)
  model = cfg.model
  encoder = PyramidEncoder(
    KeptMaps(kept.shapes), model.pyramid, model.pyramid.inputs, model.strides
  )
  detector = Detector(model, cfg.data.image_size, own_encoder=encoder)
  tx = make_optimizer(cfg.optim, cfg.train.steps, ())
  update = jax.jit(
    functools.partial(
      step.train_step,
      detector=detector,
      tx=tx,
      loss=cfg.loss,
      seed=cfg.train.seed,
      rotate_support=cfg.train.rotate_support,
    )
  )
  sampler = pools.make_sampler(
    feed.splits.train,
    types.base,
    auxiliary=types.auxiliary,
    shots=cfg.train.shots,
    queries=cfg.train.queries,
    num_slots=len(types.base) + len(types.auxiliary.knots),
    permutation=feed.permutation(),
    cfg=cfg.data,
    seed=cfg.train.seed,
    training=False,
  )
  size = cfg.train.episodes_per_step
  first = kept.put_into([sampler.plan(index) for index in range(size)])
  init = jax.jit(functools.partial(detector.init, train=False))
  state = init_state({"batch_stats": {}, **init(jax.random.key(job.seed), first)}, tx)
  for number in range(cfg.train.steps):
    indices = range(number * size, (number + 1) * size)
    state, _ = update(state, kept.put_into([sampler.plan(index) for index in indices]))
    if number == 0:
      jax.block_until_ready(state)
      start = time.perf_counter()  # without the compilation
  jax.block_until_ready(state)
  seconds = time.perf_counter() - start
  settings = {
    setting: {
      "manifest": f"{setting}, {cfg.eval.episodes} of {len(kept.rows)}",
      "pck": {
        report.THRESHOLD: _scores(
          detector,
          {"params": state.params},
          pools.evaluation_sampler(feed, setting, cfg.eval),
          kept,
          cfg,
        )
      },
    }
    for setting in cfg.eval.settings
  }
  return {
    "variant": job.name,
    "seed": job.seed,
    "train_seconds": round(seconds, 1),
    "parameters": count_parameters(state.params),
    "settings": settings,
  }


def _scores(
  detector: Detector, variables: Any, sampler: EpisodeSampler, kept: Kept, cfg: Config
) -> list[float]:
  """Returns the PCK of every episode."""

  @jax.jit
  def read(batch):
    output: Any = detector.apply(variables, batch, train=False)
    maps = fuse_heatmaps(output.heatmaps)
    stride = cfg.data.image_size / maps.shape[-1]
    temperature = decoding.temperature(cfg.loss)
    return decoding.decode(maps, stride, cfg.eval.decoding, temperature).keypoints

  found = []
  for start in range(0, cfg.eval.episodes, CHUNK):
    batch = kept.put_into([sampler.plan(index + start) for index in range(CHUNK)])
    query, valid = batch.query, valid_queries(batch)
    offsets = np.linalg.norm(np.asarray(read(batch)) - query.keypoints, axis=-1)
    sides = query.box[..., 2:].max(-1) / geometry.affine_scale(query.to_original)
    near = offsets <= float(report.THRESHOLD) * sides[..., None]
    found += [float(x[held].mean()) for x, held in zip(near, valid)]
  return found[: cfg.eval.episodes]


if __name__ == "__main__":
  sys.exit(main())
