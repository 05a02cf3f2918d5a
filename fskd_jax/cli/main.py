"""The `fskd` command: one sub-command per file of `fskd_jax.commands`."""

import argparse
import sys
from collections.abc import Sequence

from absl import logging as absl_logging

from fskd_jax.cli import (
  compare,
  compare_runs,
  data,
  demo,
  experiment,
  export,
  import_weights,
  mp100,
  parameters,
  plot,
  predict,
)
from fskd_jax.device import compilation_cache

COMMANDS = (
  predict,
  demo,
  export,
  import_weights,
  compare,
  compare_runs,
  parameters,
  plot,
  mp100,
  experiment,
  data,
)
"""Each has `add_parser(commands)`, which sets `run(args) -> exit status`."""


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a sub-command.

  Returns:
    Its exit status; 2 after an error that the user can mend, told in one line.
  """
  absl_logging.set_verbosity(absl_logging.ERROR)  # orbax reports its every move
  compilation_cache.enable()
  parser = argparse.ArgumentParser(prog="fskd", description="Few-shot keypoints.")
  commands = parser.add_subparsers(metavar="COMMAND", required=True)
  for command in COMMANDS:
    command.add_parser(commands)
  args = parser.parse_args(argv)
  try:
    return args.run(args)
  except (ValueError, OSError, ImportError) as error:
    print(f"fskd: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
  sys.exit(main())
