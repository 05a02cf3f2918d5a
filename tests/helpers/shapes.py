"""Drawn shapes with coloured corners: a data set that a tiny encoder can learn.

And how to look at the runs that were trained on it.
"""

import json
import pathlib

import jax
import numpy as np
from PIL import Image, ImageDraw

from fskd_jax.config import (
  Config,
  DataConfig,
  EvalConfig,
  LossConfig,
  ModelConfig,
  OptimConfig,
  TrainConfig,
)
from fskd_jax.training.checkpoint import CheckpointStore

COLORS = {
  "north": (230, 30, 30),
  "east": (30, 200, 40),
  "south": (40, 60, 240),
  "west": (235, 220, 30),
  "middle": (250, 250, 250),
}
BODIES = {
  "plum": (90, 30, 90),
  "leaf": (30, 80, 40),
  "rock": (110, 110, 120),
  "crate": (140, 90, 50),
  "pond": (40, 80, 120),
}
SIZE = (60, 48)


def write_folder(folder, images_per_species=8):
  """Writes a COCO folder: one shape per image, turned, scaled and moved."""
  rng = np.random.default_rng(0)
  (folder / "images").mkdir(parents=True)
  images, annotations = [], []
  for number in range(images_per_species * len(BODIES)):
    name = f"{number:03d}.png"
    picture, points, visible, box = _shape(list(BODIES.values())[number % 5], rng)
    picture.save(folder / "images" / name)
    entry = {"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]}
    images.append(entry)
    triples = np.c_[points.round(2), 2 * visible]
    annotations.append(
      {
        "id": 1000 + number,
        "image_id": number,
        "category_id": number % 5,
        "bbox": box.round(2).tolist(),
        "keypoints": triples.ravel().tolist(),
      }
    )
  categories = [
    {"id": i, "name": name, "keypoints": list(COLORS)} for i, name in enumerate(BODIES)
  ]
  content = {"images": images, "annotations": annotations, "categories": categories}
  (folder / "annotations.json").write_text(json.dumps(content))
  return folder


def _shape(body, rng):
  angle, radius = rng.uniform(-1.5, 1.5), rng.uniform(10, 14)
  center = np.array(SIZE) / 2 + rng.uniform(-5, 5, 2)
  directions = angle + np.array([-1, 0, 1, 2]) * np.pi / 2
  corners = center + radius * np.stack([np.cos(directions), np.sin(directions)], -1)
  points = np.concatenate([corners, center[None]])
  visible = np.arange(5) != rng.integers(10)
  noise = rng.integers(60, 190, (*SIZE[::-1], 3), np.uint8)
  picture = Image.fromarray(noise)
  draw = ImageDraw.Draw(picture)
  draw.polygon([tuple(corner) for corner in corners], fill=body)
  for point, color, shown in zip(points, COLORS.values(), visible):
    if shown:
      draw.ellipse([*(point - 3), *(point + 3)], fill=color)
  low, high = corners.min(0) - 2, corners.max(0) + 2
  return picture, points, visible, np.concatenate([low, high - low])


def config(folder, **train):
  """Returns an experiment of seconds; `train` overrides fields of `cfg.train`."""
  settings = {
    "steps": 80,
    "episodes_per_step": 4,
    "queries": 2,
    "rotate_support": True,
    "log_every": 4,
    "checkpoint_every": 16,
    "validate_every": 40,
    "validation_episodes": 6,
    "picture_every": 80,
    "backend": "single",
  }
  return Config(
    name="shapes",
    data=DataConfig(
      name="coco_keypoints",
      path=str(folder),
      cache_dir=str(folder.parent / "cache"),
      executor="resident",
      image_size=48,
      base=("north", "east", "middle"),
      novel=("south",),
      auxiliary_paths=(("north", "east"),),
      unseen_species=("pond",),
      validation_species=("crate",),
      heldout_fraction=0.4,
      min_support_types=1,
      min_query_types=1,
      crop="box",
    ),
    model=ModelConfig(
      encoder="small",
      strides=(8,),
      small_widths=(8, 8, 8, 8),
      kernel_sizes=(1,),
      residual_crm=True,
      similarity="cosine",
      temperature=20.0,
      heatmap_upsampling="bilinear",
      freeze_until="",
    ),
    loss=LossConfig(heatmap="cross_entropy", mfcl_weight=0.0),
    optim=OptimConfig(learning_rate=1e-2, clip_norm=1.0),
    train=TrainConfig(**settings | train),
    eval=EvalConfig(
      episodes=22,
      queries=2,
      batch_episodes=8,
      search_episodes=4,
      geometric_prior=False,  # takes long to compile; tests/few_shot/choice_test.py
      settings=("unseen/base", "unseen/novel", "seen/base"),
    ),
  )


def write_experiment(path, folder):
  """Writes a configuration file for train.py that returns `config(folder)`."""
  path.write_text(
    "import pathlib, sys\n"
    f"sys.path.insert(0, {str(pathlib.Path(__file__).parents[1])!r})\n"
    "from helpers import shapes\n"
    f"get_config = lambda: shapes.config(pathlib.Path({str(folder)!r}))\n"
  )
  return path


def metrics(workdir):
  """Returns the lines of metrics.jsonl without what a clock measured."""
  lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
  clock = ("train/seconds", "train/images_per_second")
  return [{k: v for k, v in line.items() if k not in clock} for line in lines]


def assert_identical(tree, expected):
  """Compares arrays bit for bit."""
  assert jax.tree.structure(tree) == jax.tree.structure(expected)
  for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(expected)):
    x, y = np.asarray(x), np.asarray(y)
    assert x.dtype == y.dtype and x.tobytes() == y.tobytes()


def assert_same_run(workdir, expected):
  """Compares losses, validation and the last checkpoint of two workdirs."""
  assert metrics(workdir) == metrics(expected)
  models = [CheckpointStore(folder).restore_model() for folder in (workdir, expected)]
  assert models[0].step == models[1].step
  assert_identical(models[0].variables, models[1].variables)
