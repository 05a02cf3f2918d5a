"""fskd experiment shots: measures accuracy over the number of support images.

The comparison is paired: all numbers of shots have the same queries and keypoints.
Several runs are treated as one detector with several training seeds.
"""

import argparse
import pathlib

from fskd_jax.analysis import shots
from fskd_jax.files import write_json, write_picture
from fskd_jax.metrics import results
from fskd_jax.metrics.intervals import format_points
from fskd_jax.training.runs import load_run, open_feed

TYPES = ("base", "novel")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--workdirs", nargs="+", required=True, metavar="RUN")
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
  parser.add_argument(
    "--shots", type=int, default=5, help="largest number of shots (%(default)s)"
  )
  parser.add_argument(
    "--episodes", type=int, default=300, help="episodes of each setting (%(default)s)"
  )
  parser.add_argument(
    "--split", default="unseen", help="unseen, seen or validation (%(default)s)"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes shots.json and shots.png, and prints a table."""
  if args.shots < 2 or args.episodes < 1:
    raise ValueError(
      f"--shots {args.shots} --episodes {args.episodes}: expected at least 2 shots and "
      "1 episode"
    )
  models = [load_run(workdir)[0] for workdir in args.workdirs]
  for workdir, model in zip(args.workdirs, models):  # before any of them is scored
    if model.config.task != "few_shot":
      raise ValueError(f"{workdir} is of the task {model.config.task!r}: no episodes")
  cfg = models[0].config
  threshold = results.headline(cfg.eval)
  settings = [f"{args.split}/{kind}" for kind in TYPES if getattr(cfg.data, kind)]
  if not settings:
    raise ValueError(f"{args.workdirs[0]} names neither base nor novel types")
  measured = [
    shots.measure(
      model,
      open_feed(model.config),
      settings,
      shots=args.shots,
      episodes=args.episodes,
      threshold=threshold,
    )
    for model in models
  ]
  found = {
    setting: shots.gains([scores[setting] for scores in measured])
    for setting in settings
  }
  write_picture(args.out / "shots.png", shots.draw(found, threshold))
  numbers = {
    setting: [
      {
        "shots": row.shots,
        "pck": [float(x) for x in row.pck],
        "gain": [float(x) for x in row.gain],
      }
      for row in rows
    ]
    for setting, rows in found.items()
  }
  write_json(args.out / "shots.json", {"threshold": threshold, "settings": numbers})
  for setting, rows in found.items():
    print(f"{setting}, PCK@{threshold:g} in % and the gain over one shot")
    for row in rows:
      mean = 100 * float(row.pck.mean)
      print(f"  {row.shots}: {mean:.1f}  {format_points(row.gain)}")
  return 0
