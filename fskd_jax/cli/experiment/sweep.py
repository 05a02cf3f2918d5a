r"""fskd experiment sweep: trains variants alike, compares them on equal episodes.

FILE is a Python file with get_sweep(), such as those in configs/sweeps/. Every training
adds a line to results.jsonl in --out; those in the file are not run again, and one that
was interrupted goes on after its last checkpoint. The report (report.md, report.png)
covers all lines of the variants of FILE; those with other fields are refused.

  fskd experiment sweep configs/sweeps/creatures.py --out runs/ablation
  fskd experiment sweep configs/sweeps/creatures.py --out runs/short \
      --processes 2 --variants baseline MDS --set train.steps=200
"""

import argparse
import contextlib
import dataclasses
import logging
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from fskd_jax.analysis.sweep import plan, report
from fskd_jax.analysis.sweep import run as sweep_run
from fskd_jax.files import write_picture, write_text

_PARENT = "FSKD_SWEEP_PARENT"
"""Variable of the environment that tells a shard the process to end with."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("file", metavar="FILE", help="Python file with get_sweep()")
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
  parser.add_argument(
    "--variants", nargs="+", metavar="NAME", help="default: all of the file"
  )
  parser.add_argument("--seeds", nargs="+", type=int, help="default: those of the file")
  parser.add_argument(
    "--set",
    nargs="+",
    default=[],
    metavar="FIELD=VALUE",
    help="fields that all variants share, such as train.steps=500",
  )
  work = parser.add_mutually_exclusive_group()
  work.add_argument(
    "--processes", type=int, default=1, metavar="N", help="run N jobs at a time"
  )
  work.add_argument("--shard", metavar="I/N", help="run every N-th job from the I-th")
  work.add_argument(
    "--report", action="store_true", help="report what there is, run nothing"
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Runs the missing jobs, and reports all results unless this is one of the shards."""
  logging.basicConfig(format="%(message)s")
  logging.getLogger("fskd_jax").setLevel(logging.INFO)
  if args.shard and _PARENT in os.environ:
    parent = int(os.environ[_PARENT])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
  sweep = plan.load_sweep(args.file, plan.parse_fields(args.set))
  sweep = dataclasses.replace(sweep, seeds=args.seeds or sweep.seeds)
  if args.processes < 1:
    raise ValueError(f"--processes {args.processes}: expected at least 1")
  if args.processes > 1:
    sweep_run.check(sweep, sweep_run.read(args.out))
    _run_shards(args, [*plan.jobs(sweep, args.variants)])
  elif not args.report:
    sweep_run.run(sweep, args.out, args.variants, _shard(args.shard or "0/1"))
  if args.shard:
    return 0
  names = list(plan.points(sweep))
  if args.variants and args.variants[0] in names:
    names.sort(key=lambda name: name != args.variants[0])
  lines = sweep_run.read(args.out)
  sweep_run.check(sweep, lines)
  found = report.differences(lines, names)
  text = report.markdown(found)
  write_text(args.out / "report.md", text)
  write_picture(args.out / "report.png", report.draw(found))
  print(text)
  return 0


def _shard(text: str) -> tuple[int, int]:
  index, _, count = text.partition("/")
  if not (index.isdigit() and count.isdigit() and int(index) < int(count)):
    raise ValueError(f"--shard {text}: expected I/N with 0 <= I < N")
  return int(index), int(count)


def _run_shards(args: argparse.Namespace, jobs: Sequence[plan.Job]) -> None:
  """Runs this command once per shard, and waits for all.

  Raises:
    ValueError: One of them failed.
  """
  count = min(args.processes, len(jobs))
  command = [sys.executable, "-m", "fskd_jax", "experiment", "sweep", args.file]
  command += ["--out", str(args.out)]
  for name in ("variants", "seeds", "set"):
    if getattr(args, name):
      command += [f"--{name}", *map(str, getattr(args, name))]
  # Or the first process would take the memory of the accelerator for itself.
  environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"} | os.environ
  environment |= {_PARENT: str(os.getpid())}
  with contextlib.ExitStack() as opened:
    shards = [
      opened.enter_context(
        subprocess.Popen([*command, "--shard", f"{index}/{count}"], env=environment)
      )
      for index in range(count)
    ]
    failed = sum(bool(shard.wait()) for shard in shards)
  if failed:
    raise ValueError(
      f"{failed} of {count} processes failed, see above; the same command goes on "
      "where they stopped"
    )


def _end_with(parent: int) -> None:
  """Ends this process within a second of its parent.

  A signal to the parent alone would leave the shards at work, in the way of the same
  command when it is given again.
  """
  while os.getppid() == parent:
    time.sleep(0.5)
  os.kill(os.getpid(), signal.SIGTERM)
