"""fskd doctor: shows what the devices and hosts of a run have, share and exchange.

On a pod or under SLURM start it on every host with --distributed; elsewhere name the
processes as for train.py.
"""

import argparse
import pathlib


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument(
    "--devices",
    action="store_true",
    required=True,
    help="hosts, devices, memory, clocks, and the time of a sum over all devices",
  )
  parser.add_argument(
    "--folder", type=pathlib.Path, help="folder that all should share: is it shared?"
  )
  parser.add_argument("--distributed", action="store_true", help="as for train.py")
  parser.add_argument("--coordinator", help="host:port of process 0")
  parser.add_argument("--processes", type=int, help="number of processes")
  parser.add_argument("--process", type=int, help="number of this process, from 0")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints the report, on process 0 alone."""
  from fskd_jax.device import parallel, survey, watch

  named = (args.coordinator, args.processes, args.process)
  if named != (None, None, None) and not args.distributed:
    raise ValueError("--coordinator, --processes and --process need --distributed")
  if args.distributed:
    parallel.start_processes(*named)
  try:
    lines = survey.survey(args.folder)
  finally:
    watch.leave()
  if parallel.is_main_process():
    print("\n".join(lines))
  return 0
