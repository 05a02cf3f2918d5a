"""(f) Input alone, and training steps fed by it.

At 96 px the creatures and the step of the quickstart; at 384 px the creatures
enlarged to JPEG files of the size of photographs, and the step of
configs/lightweight.py; at 192 px a mixture of creatures, two fifths of the episodes
self-supervised. "tf.data" reads, decodes and warps on the host; "resident"
warps on the device what was decoded once; "grain" does as tf.data, in processes;
the "fixed batch" has pixels and stays. Streams are begun before a timed run.
"""

import contextlib
import dataclasses
import functools
import importlib.util
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from PIL import Image

from benchmarks.cases import evaluation, training
from benchmarks.harness.problem import Builder, Problem, Setup, Side, SkippedError
from benchmarks.opponents import ours
from configs import any_keypoints
from fskd_jax.config import Config, SourceConfig, crop_size
from fskd_jax.data.creatures import dataset
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import train_index_batches
from fskd_jax.device import parallel, store
from fskd_jax.few_shot.mixing import training_sampler

EXECUTORS = {"resident": "resident", "tf.data": "tfdata", "grain": "grain"}
_LIBRARIES = {"resident": "jax", "tfdata": "tensorflow", "grain": "grain"}

PHOTOGRAPH = 640  # side, pixels
SKIPPED_BATCHES = 3
"""Taken from a stream before the clock starts, so that it runs as in the middle."""


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields inputs and steps of both sizes."""
  per_species = 50 if setup.is_full else 12
  small = functools.partial(evaluation.configuration, per_species)
  experiments: dict[str, tuple[Callable[[], Config], int, int]] = {
    "96 px": (small, 200, 40) if setup.is_full else (small, 20, 10)
  }
  if setup.is_full:
    experiments["mixture, 192 px"] = (functools.partial(_mixture, per_species), 60, 10)
    large = functools.partial(_photographs, per_species)
    experiments["384 px"] = (large, 20, 3)
  for name, (make, num_batches, num_steps) in experiments.items():
    cfg = make()
    images = cfg.train.episodes_per_step * (cfg.train.shots + cfg.train.queries)
    inputs: dict[str, dict[str, Builder]] = {
      title: {"": functools.partial(_input, make, executor, num_batches)}
      for title, executor in EXECUTORS.items()
    }
    yield Problem(
      name=f"input alone, {name}",
      variables={"side": cfg.data.image_size, "part": "input"},
      sides=inputs,
      limit=0.02,  # a few of 255 grey levels: decoding at 1/2 and rounding
      items=images * num_batches,
    )
    yield fed_step(name, make, num_steps, is_long=cfg.data.image_size > 96)


def fed_step(
  name: str, make: Callable[[], Config], num_steps: int, *, is_long: bool = False
) -> Problem:
  """Returns the problem of a training step that is fed, beside one that is not."""
  cfg = make()
  fed: dict[str, dict[str, Builder]] = {
    title: {"": functools.partial(_step, make, executor, num_steps, is_fixed=False)}
    for title, executor in EXECUTORS.items()
  }
  fixed = functools.partial(_step, make, "resident", num_steps, is_fixed=True)
  images = cfg.train.episodes_per_step * (cfg.train.shots + cfg.train.queries)
  return Problem(
    name=f"training step, {name}",
    variables={"side": cfg.data.image_size, "part": "step"},
    sides={"fixed batch": {"": fixed}} | fed,
    checks=(("resident", "tf.data"),),
    limit=0.1,
    is_long=is_long,
    items=images * num_steps,
  )


def _mixture(per_species: int) -> Config:
  """Returns an experiment on two sources, with the episodes of any_keypoints.py."""
  cfg = evaluation.configuration(per_species)
  usual = any_keypoints.source("creatures", name="synthetic_creatures", path="").data
  own = dataclasses.replace(
    cfg.data,
    rotation_probability=usual.rotation_probability,
    rotation_degrees=usual.rotation_degrees,
    tilt_degrees=usual.tilt_degrees,
    self_supervised=usual.self_supervised,
  )
  cfg.data = dataclasses.replace(
    own,
    mixture=tuple(SourceConfig(name=name, data=own) for name in ("first", "second")),
    slots=24,
    image_size=192,
  )
  return cfg


def _photographs(per_species: int) -> Config:
  """Returns the lightweight experiment on enlarged creatures; writes them once."""
  source = dataset.rendered_folder(evaluation.CACHE, per_species)
  folder = evaluation.CACHE / f"{source.name}-{PHOTOGRAPH}px"
  if not folder.exists():
    _enlarge(source, folder)
  cfg = training.configuration("float32")
  cfg.data.name, cfg.data.path = "coco_keypoints", str(folder)
  cfg.data.cache_dir = str(evaluation.CACHE)
  return cfg


def _enlarge(source: pathlib.Path, folder: pathlib.Path) -> None:
  """Writes a COCO folder with larger images."""
  unfinished = folder.with_name(f".{folder.name}")
  shutil.rmtree(unfinished, ignore_errors=True)
  (unfinished / "images").mkdir(parents=True)
  content = json.loads((source / "annotations.json").read_text())
  factor = PHOTOGRAPH / content["images"][0]["width"]
  for entry in content["images"]:
    entry["width"] = entry["height"] = PHOTOGRAPH
    with Image.open(source / "images" / entry["file_name"]) as picture:
      larger = picture.resize((PHOTOGRAPH, PHOTOGRAPH))
    larger.save(unfinished / "images" / entry["file_name"], quality=92)
  for entry in content["annotations"]:
    entry["bbox"] = [factor * x for x in entry["bbox"]]
    scales = (factor, factor, 1)
    values = enumerate(entry["keypoints"])
    entry["keypoints"] = [scales[i % 3] * value for i, value in values]
  (unfinished / "annotations.json").write_text(json.dumps(content))
  unfinished.rename(folder)


class _Stream:
  """Batches of training, from the first episode on whenever it is begun."""

  def __init__(self, cfg: Config, feed: Feed):
    self._cfg, self._feed = cfg, feed
    self._sampler = training_sampler(feed, cfg.train)
    self._open = contextlib.ExitStack()
    self._batches: Iterator[Any] = iter(())

  def begin(self) -> None:
    """Closes what runs and skips the first batches of a new one."""
    self._open.close()
    size = self._cfg.train.episodes_per_step
    indices = train_index_batches(0, size, 0, 1)
    stream = self._feed.batches(self._sampler, indices, size)
    self._batches = iter(self._open.enter_context(stream))
    for _ in range(SKIPPED_BATCHES):
      next(self._batches)

  def take(self, count: int) -> Iterator[Any]:
    """Returns the next batches."""
    return (next(self._batches) for _ in range(count))


def _open_feed(make: Callable[[], Config], executor: str) -> tuple[Config, Feed]:
  if importlib.util.find_spec(_LIBRARIES[executor]) is None:
    raise SkippedError(f"{_LIBRARIES[executor]} is not installed")
  cfg = make()
  cfg.data.executor = executor
  return cfg, Feed.open(cfg.data)


def _input(make: Callable[[], Config], executor: str, num_batches: int) -> Side:
  """Makes pixels and does nothing with them."""
  cfg, feed = _open_feed(make, executor)
  stream = _Stream(cfg, feed)
  materialize = jax.jit(functools.partial(store.materialize, size=crop_size(cfg.data)))

  def pixels(batch: Any) -> Any:
    if feed.store is None:
      return batch.query.images
    return jax.block_until_ready(materialize(feed.store, batch)).query.images

  def run() -> Any:
    return [pixels(batch) for batch in stream.take(num_batches)][0]

  return Side(run, lambda x: [np.asarray(x, np.float32)], before=stream.begin)


def _step(
  make: Callable[[], Config], executor: str, num_steps: int, *, is_fixed: bool
) -> Side:
  """Trains on what a stream gives, or on its first batch again and again."""
  cfg, feed = _open_feed(make, executor)
  stream = _Stream(cfg, feed)
  step, state = ours.training_step(cfg)
  train = parallel.parallelize_training(step, "single", crop_size(cfg.data))
  state = parallel.replicate(state, "single")
  stream.begin()
  (first,) = stream.take(1)
  images = feed.store
  if is_fixed:
    support, query = feed.pixels(first)
    first = first._replace(
      support=first.support._replace(images=support),
      query=first.query._replace(images=query),
    )
    first, images = parallel.replicate(first, "single"), None

  def run() -> Any:
    nonlocal state
    values = None
    for batch in [first] * num_steps if is_fixed else stream.take(num_steps):
      state, values = train(state, batch, images)
    return jax.block_until_ready(values)

  before = (lambda: None) if is_fixed else stream.begin
  return Side(run, lambda values: ours.values_of(values, ["loss"]), before=before)
