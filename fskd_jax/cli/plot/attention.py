"""fskd plot: attention of TransPose (dependency, affected, sheet, gradients ...).

The model is that of a run or a file of weights, the photograph any of the user's.
"""

import argparse
import pathlib

import numpy as np
from jaxtyping import UInt8

from fskd_jax import geometry
from fskd_jax.analysis.attention import explain, gradients, maps, pictures
from fskd_jax.cli.plot.out import add_out, save
from fskd_jax.cli.pose_source import add_source, load_pose_model
from fskd_jax.config import Config, crop_size
from fskd_jax.data import keypoints
from fskd_jax.device import store
from fskd_jax.models.build import make_transpose
from fskd_jax.models.transpose import HEATMAP_STRIDE
from fskd_jax.pose import crops
from fskd_jax.prediction import photographs

COLUMNS = "  pearson spearman    error"
"""Heads of the columns of a quantity; attention, not being a gradient, has no error."""

SEPARATOR = " · "
"""Separator of the parts of a heading."""

RANDOM_PLACES = 2
"""Columns of a sheet for random places, as in figure 3 of the supplement."""


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
    "--map",
    choices=explain.MAPS,
    default="dependency",
    help="kind of map (%(default)s)",
  )
  parser.set_defaults(run=_run_sheet)


def add_gradients(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot gradients`."""
  _add_network(parser)
  _add_photograph(parser)
  parser.add_argument("--keypoint", help="name; default: the most confident one")
  parser.set_defaults(run=_run_gradients)


def add_position_similarity(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments of `fskd plot position-similarity`."""
  _add_network(parser)
  parser.set_defaults(run=_run_position_similarity)


def _add_map(parser: argparse.ArgumentParser, name: str) -> None:
  _add_network(parser)
  _add_photograph(parser)
  _add_attention(parser)
  parser.add_argument("--layer", type=int, help="from 0; default: the last layer")
  parser.set_defaults(run=_run_maps, map=name)


def _add_network(parser: argparse.ArgumentParser) -> None:
  add_source(parser)
  add_out(parser)


def _add_photograph(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--image", required=True, help="a photograph")
  parser.add_argument(
    "--box", type=float, nargs=4, metavar=("X", "Y", "W", "H"),
    help="box of the person, pixels; default: the whole photograph",
  )  # fmt: skip


def _add_attention(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--head", type=int, help="number from 0; default: the mean of all"
  )
  threshold = parser.add_mutually_exclusive_group()
  threshold.add_argument(
    "--threshold", type=float, default=maps.THRESHOLD,
    help="largest weight that is not drawn (%(default)s)",
  )  # fmt: skip
  threshold.add_argument(
    "--relative-threshold", type=float, metavar="F",
    help="threshold of F times the weight in uniform attention",
  )  # fmt: skip


def _run_maps(args: argparse.Namespace) -> int:
  model = load_pose_model(args)
  cfg = model.config
  layers = range(cfg.model.transformer.layers)
  layer = layers[-1] if args.layer is None else args.layer
  if layer not in layers:
    raise ValueError(f"--layer {layer}: the model has the layers 0..{layers[-1]}")
  _check_head(args, cfg)
  crop = _crop(args, crop_size(cfg.data))
  shown = explain.explain(model, crop, args.map, args.head)
  threshold, label = _scale(args, cfg)
  figure = pictures.draw_maps(
    crop,
    shown.maps[layer],
    shown.points,
    cfg.data.base,
    threshold=threshold,
    heading=_heading(args, cfg, f"layer {layer} of 0..{layers[-1]}"),
    label=label,
    limbs=keypoints.limbs(cfg.data.base),
  )
  return save(figure, args.out)


def _run_sheet(args: argparse.Namespace) -> int:
  model = load_pose_model(args)
  cfg = model.config
  _check_head(args, cfg)
  crop = _crop(args, crop_size(cfg.data))
  rng = np.random.default_rng(0)  # the same places for every network
  places = rng.uniform(0, crop.shape[1::-1], (RANDOM_PLACES, 2))
  shown = explain.explain(model, crop, args.map, args.head, places)
  threshold, label = _scale(args, cfg)
  figure = pictures.draw_sheet(
    crop,
    shown.maps,
    shown.points,
    (*cfg.data.base, *["random"] * RANDOM_PLACES),
    len(cfg.data.base),
    threshold=threshold,
    heading=_heading(args, cfg, "all layers"),
    label=label,
    limbs=keypoints.limbs(cfg.data.base),
  )
  return save(figure, args.out)


def _run_gradients(args: argparse.Namespace) -> int:
  cfg, variables = load_pose_model(args)
  names = cfg.data.base
  if args.keypoint not in (None, *names):
    raise ValueError(f"--keypoint {args.keypoint}: the model has {', '.join(names)}")
  crop = _crop(args, crop_size(cfg.data))
  found = gradients.token_gradients(make_transpose(cfg), variables, crop)
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
  model = load_pose_model(args)
  cfg = model.config
  similarities, grid = explain.position_similarities(model), explain.token_grid(cfg)
  what = f"{cfg.model.transformer.position} position embedding"
  heading = SEPARATOR.join([what, _source(args, cfg)])
  return save(pictures.draw_position_similarity(similarities, grid, heading), args.out)


def _check_head(args: argparse.Namespace, cfg: Config) -> None:
  heads = range(cfg.model.transformer.heads)
  if args.head is not None and args.head not in heads:
    raise ValueError(f"--head {args.head}: the model has the heads 0..{heads[-1]}")


def _scale(args: argparse.Namespace, cfg: Config) -> tuple[float, str]:
  """Returns the threshold of maps, and the label of their colour bar."""
  grid = explain.token_grid(cfg)
  threshold = args.threshold
  if args.relative_threshold is not None:
    threshold = maps.relative_threshold(args.relative_threshold, grid)
  above = f" above {threshold:.2g}" if threshold > 0 else ""
  uniform = maps.relative_threshold(1.0, grid)
  return threshold, f"attention{above} (uniform: {uniform:.2g})"


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


def _heading(args: argparse.Namespace, cfg: Config, layers: str) -> str:
  count = cfg.model.transformer.heads
  heads = f"mean of {count} heads" if count > 1 else "one head"
  if args.head is not None:
    heads = f"head {args.head} of 0..{count - 1}"
  what = f"{args.map}: {explain.MAPS[args.map][1]}"
  return SEPARATOR.join([what, f"{layers}, {heads}", _source(args, cfg)])


def _source(args: argparse.Namespace, cfg: Config) -> str:
  names = [cfg.name, pathlib.Path(args.workdir or args.weights).name]
  if "image" in args:
    names.append(pathlib.Path(args.image).name)
  return SEPARATOR.join(dict.fromkeys(names))


def _table(names: tuple[str, ...], rows: list[dict[str, gradients.Agreement]]) -> str:
  """Formats the agreement of every keypoint, and the means."""
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
