"""What train.py and evaluate.py share: flags of several processes, and their errors."""

import logging
import sys

from absl import app, flags
from absl import logging as absl_logging

from fskd_jax import parallel

_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "One of several processes that all run this command: TPU pods, SLURM, or named by "
  "the three flags below.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")


def start() -> None:
  """Shows the package's messages, and joins the other processes if flags say so."""
  absl_logging.set_verbosity(absl_logging.ERROR)  # orbax reports its every move
  package = logging.getLogger("fskd_jax")
  package.setLevel(logging.INFO)
  package.addHandler(logging.StreamHandler())
  package.propagate = False
  if _DISTRIBUTED.value:
    parallel.start_processes(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)


def parse_flags(arguments: list[str]) -> list[str]:
  """Parses flags; a misspelt field of the configuration ends the program."""
  try:
    return app.parse_flags_with_usage(arguments)
  except KeyError as error:
    print(f"FATAL Flags parsing error: {error.args[0]}", file=sys.stderr)
    print("Fields and their defaults are in fskd_jax/config.py.", file=sys.stderr)
    sys.exit(2)
