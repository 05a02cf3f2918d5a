"""fskd experiment ablation: trains variants alike, compares them on equal episodes.

Results go to results.jsonl in --out; those in the file are not run again. The report
(report.md, report.png) covers all lines; `--variants` without a name only reports.
"""

import argparse
import logging
import pathlib

from fskd_jax.analysis.ablation import report
from fskd_jax.analysis.ablation import run as ablation_run
from fskd_jax.config import Config
from fskd_jax.files import write_picture, write_text
from fskd_jax.training.runs import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--config", default="configs/quickstart.py", metavar="FILE")
  parser.add_argument("--out", required=True, type=pathlib.Path)
  parser.add_argument(
    "--variants", nargs="*", metavar="NAME", help="default: all, the baseline first"
  )
  parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
  parser.add_argument("--steps", type=int, help="training steps of every variant")
  parser.add_argument("--episodes", type=int, help="episodes of each setting")
  parser.add_argument("--images-per-species", type=int, help="images of the creatures")
  parser.add_argument("--data-path", help="folder of the data set")
  parser.add_argument(
    "--shard", default="0/1", metavar="I/N", help="run every N-th job from the I-th"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Runs the missing variants, and reports all results."""
  logging.basicConfig(format="%(message)s")
  logging.getLogger("fskd_jax").setLevel(logging.INFO)
  index, _, count = args.shard.partition("/")
  if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
    raise ValueError(f"--shard {args.shard}: expected I/N with 0 <= I < N")
  cfg = _budget(load_config(args.config), args)
  variants = list(ablation_run.VARIANTS) if args.variants is None else args.variants
  if variants:
    shard = int(index), int(count)
    ablation_run.run(cfg, variants, args.seeds, args.out, shard)
  lines = ablation_run.read(args.out)
  text = report.markdown(report.differences(lines))
  write_text(args.out / "report.md", text)
  write_picture(args.out / "report.png", report.draw(report.differences(lines)))
  print(text)
  return 0


def _budget(cfg: Config, args: argparse.Namespace) -> Config:
  """Sets the common budget, and omits what a short run does not need."""
  cfg.train.steps = args.steps or cfg.train.steps
  cfg.eval.episodes = args.episodes or cfg.eval.episodes
  cfg.data.images_per_species = args.images_per_species or cfg.data.images_per_species
  cfg.data.path = args.data_path or cfg.data.path
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  cfg.train.validate_every = cfg.train.picture_every = cfg.train.steps
  cfg.train.validation_episodes = cfg.eval.batch_episodes
  cfg.train.checkpoint_every = cfg.train.steps
  cfg.train.keep_checkpoints = 1
  return cfg
