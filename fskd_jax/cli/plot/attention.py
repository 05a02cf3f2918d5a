"""fskd plot: attention of TransPose (dependency, affected, sheet, gradients ...).

Of a run or of a file of weights, on the user's own photograph.
"""

import argparse
import functools
import pathlib
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import UInt8

from fskd_jax import config, geometry
from fskd_jax.analysis.attention import gradients, pictures
from fskd_jax.analysis.attention import maps as attention
from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.cli.pose_source import add_source, load_pose_model
from fskd_jax.config import Config
from fskd_jax.device import store
from fskd_jax.heatmaps import decoding
from fskd_jax.models.transformer import sine_position_embedding
from fskd_jax.models.transpose import HEATMAP_STRIDE, attention_maps
from fskd_jax.pose import crops, prediction, step
from fskd_jax.prediction import photographs

MAPS = {
  "dependency": (attention.dependency_map, "where each prediction reads from"),
  "affected": (attention.affected_map, "what reads from each predicted place"),
}

COLUMNS = "  pearson spearman    error"
"""Of the table, for each quantity; attention is no gradient and has no error."""

SEPARATOR = " · "
"""Between the parts of a heading."""


def add_dependency(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot dependency`."""
  _add_map(parser, "dependency")


def add_affected(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot affected`."""
  _add_map(parser, "affected")


def add_sheet(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot sheet`."""
  _add_network(parser)
  _add_photograph(parser)
  _add_attention(parser)
  parser.add_argument(
    "--map", choices=MAPS, default="dependency", help="which (%(default)s)"
  )
  parser.set_defaults(run=_run_sheet)


def add_gradients(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot gradients`."""
  _add_network(parser)
  _add_photograph(parser)
  parser.add_argument("--keypoint", help="name; default: the one found most surely")
  parser.set_defaults(run=_run_gradients)


def add_position_similarity(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot position-similarity`."""
  _add_network(parser)
  parser.set_defaults(run=_run_position_similarity)


def _add_map(parser: argparse.ArgumentParser, name: str) -> None:
  _add_network(parser)
  _add_photograph(parser)
  _add_attention(parser)
  parser.add_argument("--layer", type=int, help="from 0; default: the last")
  parser.set_defaults(run=_run_maps, map=name)


def _add_network(parser: argparse.ArgumentParser) -> None:
  add_source(parser)
  add_out(parser)


def _add_photograph(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--image", required=True, help="a photograph")
  parser.add_argument(
    "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"),
    help="of the person, pixels; default: the whole photograph",
  )  # fmt: skip


def _add_attention(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--head", type=int, help="from 0; default: mean of all")
  threshold = parser.add_mutually_exclusive_group()
  threshold.add_argument(
    "--threshold", type=float, default=attention.THRESHOLD,
    help="weights at or below it are not drawn (%(default)s)",
  )  # fmt: skip
  threshold.add_argument(
    "--relative-threshold", type=float, metavar="F",
    help="instead: F times the weight that uniform attention gives",
  )  # fmt: skip


class _Explained(NamedTuple):
  """A photograph and what the model made of it.

  Attributes:
    crop: uint8 [H W 3].
    points: [n 2], predictions in pixels of the crop.
    maps: [layers n H W], attention for every pixel of the crop.
    threshold: Below it nothing is drawn.
    label: of the colour bar.
  """

  crop: np.ndarray
  points: np.ndarray
  maps: np.ndarray
  threshold: float
  label: str


def _run_maps(args: argparse.Namespace) -> int:
  cfg, variables = load_pose_model(args)
  layers = range(cfg.model.transformer.layers)
  layer = layers[-1] if args.layer is None else args.layer
  if layer not in layers:
    raise ValueError(f"--layer {layer}: the model has the layers 0..{layers[-1]}")
  shown = _explain(args, cfg, variables)
  figure = pictures.draw_maps(
    shown.crop,
    shown.maps[layer],
    shown.points,
    cfg.data.base,
    threshold=shown.threshold,
    heading=_heading(args, cfg, f"layer {layer} of 0..{layers[-1]}"),
    label=shown.label,
  )
  return save(figure, args.out)


def _run_sheet(args: argparse.Namespace) -> int:
  cfg, variables = load_pose_model(args)
  shown = _explain(args, cfg, variables)
  figure = pictures.draw_sheet(
    shown.crop,
    shown.maps,
    shown.points,
    cfg.data.base,
    threshold=shown.threshold,
    heading=_heading(args, cfg, "all layers"),
    label=shown.label,
  )
  return save(figure, args.out)


def _run_gradients(args: argparse.Namespace) -> int:
  cfg, variables = load_pose_model(args)
  names = cfg.data.base
  if args.keypoint not in (None, *names):
    raise ValueError(f"--keypoint {args.keypoint}: the model has {', '.join(names)}")
  crop = _crop(args, config.crop_size(cfg.data))
  found = gradients.token_gradients(prediction.build_model(cfg), variables, crop)
  rows = [gradients.compare(found, keypoint) for keypoint in range(len(names))]
  print(_table(names, rows))
  number = int(found.heatmaps.max((1, 2)).argmax())
  if args.keypoint is not None:
    number = names.index(args.keypoint)
  point = geometry.grid_to_pixels(found.cells[number][::-1], HEATMAP_STRIDE)
  what = f"gradient of the highest value of {names[number]}"
  heading = SEPARATOR.join([what, _source(args, cfg)])
  figure = pictures.draw_gradients(crop, found, number, point, heading)
  return save(figure, args.out)


def _run_position_similarity(args: argparse.Namespace) -> int:
  cfg, variables = load_pose_model(args)
  transformer, grid = cfg.model.transformer, _grid(cfg)
  if transformer.position == "none":
    raise ValueError(f"{args.workdir or args.weights} has no position embedding")
  if transformer.position == "sine":
    embedding = sine_position_embedding(*grid, transformer.width)
  else:
    embedding = variables["params"]["encoder"]["transformer"]["position"]
  what = f"{transformer.position} position embedding"
  heading = SEPARATOR.join([what, _source(args, cfg)])
  similarities = attention.cosine_similarities(embedding)
  return save(pictures.draw_position_similarity(similarities, grid, heading), args.out)


def _explain(args: argparse.Namespace, cfg: Config, variables: dict) -> _Explained:
  heads = range(cfg.model.transformer.heads)
  if args.head is not None and args.head not in heads:
    raise ValueError(f"--head {args.head}: the model has the heads 0..{heads[-1]}")
  size, grid = config.crop_size(cfg.data), _grid(cfg)
  crop = _crop(args, size)
  with jax.default_matmul_precision("highest"):
    run = jax.jit(functools.partial(attention_maps, prediction.build_model(cfg)))
    heatmaps, weights = run(variables, crop[None])
  heatmaps = step.score_maps(heatmaps, cfg.loss)
  found = decoding.decode(heatmaps[0], HEATMAP_STRIDE, cfg.pose.decoding)
  points = np.asarray(found)[:, :2]
  weights = np.asarray(weights)[:, 0]
  weights = weights.mean(1) if args.head is None else weights[:, args.head]
  cut = MAPS[args.map][0]
  tokens = [attention.token_at(point, size, grid) for point in points]
  maps = np.stack([cut(weights, token, grid) for token in tokens], axis=1)
  uniform = attention.relative_threshold(1.0, grid)
  threshold = args.threshold
  if args.relative_threshold is not None:
    threshold = attention.relative_threshold(args.relative_threshold, grid)
  above = f" above {threshold:.2g}" if threshold > 0 else ""
  return _Explained(
    crop=crop,
    points=points,
    maps=attention.upsample(maps, size),
    threshold=threshold,
    label=f"attention{above} (uniform: {uniform:.2g})",
  )


def _crop(
  args: argparse.Namespace, size: tuple[int, int]
) -> UInt8[np.ndarray, "H W 3"]:
  image = photographs.read(args.image, "--image")
  height, width = image.shape[:2]
  box = args.box or (0, 0, width, height)
  x, y, w, h = box
  if not (0 <= x < x + w <= width and 0 <= y < y + h <= height):
    raise ValueError(
      f"--box {x:g} {y:g} {w:g} {h:g}: must lie in {args.image}, {width} x {height}"
    )
  return store.crop(image, crops.evaluation_crop(box, size), size)


def _grid(cfg: Config) -> tuple[int, int]:
  height, width = config.crop_size(cfg.data)
  (stride,) = cfg.model.strides
  return height // stride, width // stride


def _heading(args: argparse.Namespace, cfg: Config, layers: str) -> str:
  count = cfg.model.transformer.heads
  heads = f"mean of {count} heads" if count > 1 else "one head"
  if args.head is not None:
    heads = f"head {args.head} of 0..{count - 1}"
  what = f"{args.map}: {MAPS[args.map][1]}"
  return SEPARATOR.join([what, f"{layers}, {heads}", _source(args, cfg)])


def _source(args: argparse.Namespace, cfg: Config) -> str:
  names = [cfg.name, pathlib.Path(args.workdir or args.weights).name]
  if "image" in args:
    names.append(pathlib.Path(args.image).name)
  return SEPARATOR.join(dict.fromkeys(names))


def _table(names: tuple[str, ...], rows: list[dict[str, gradients.Agreement]]) -> str:
  """Writes the agreement of every keypoint, and the means."""
  width = max(map(len, (*names, "keypoint")))
  lines = [
    "agreement with the exact gradient, over tokens reached through attention alone",
    (" " * width + "".join(f"  {kind:^24s}" for kind in rows[0])).rstrip(),
    f"{'keypoint':{width}s}" + COLUMNS * 2 + COLUMNS.removesuffix("    error"),
  ]
  means = {
    kind: gradients.Agreement(*np.mean([row[kind] for row in rows], axis=0))
    for kind in rows[0]
  }
  for name, row in (*zip(names, rows), ("mean", means)):
    cells = [
      f"  {x.pearson:7.4f} {x.spearman:8.4f} "
      + (" " * 8 if np.isnan(x.error) else f"{x.error:8.2g}")
      for x in row.values()
    ]
    lines.append(f"{name:{width}s}" + " ".join(cells).rstrip())
  return "\n".join(lines)
