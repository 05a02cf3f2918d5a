"""Runs commands such as `train.py --config=...` one after the other, in one process.

Each is run as `python SCRIPT FLAGS` does it, without another start of Python and JAX.
"""

import json
import runpy
import sys

from absl import app, flags

import fskd_jax.cli.launch  # noqa: F401  It defines flags once.

_MARK, _CODE = "==== command ", "==== code "


def main():
  app.define_help_flags()
  for number, command in enumerate(json.loads(sys.argv[1])):
    print(f"{_MARK}{number}", file=sys.stderr, flush=True)
    known = {*flags.FLAGS}
    sys.argv = command
    try:
      runpy.run_path(command[0], run_name="__main__")
      code = 0
    except SystemExit as end:
      code = end.code or 0
    print(f"{_CODE}{code}", file=sys.stderr, flush=True)
    flags.FLAGS.unparse_flags()
    for name in {*flags.FLAGS} - known:
      delattr(flags.FLAGS, name)


def split(log):
  """Returns the exit code of each command, and what it wrote to stderr."""
  parts = [part.partition("\n")[2] for part in log.split(_MARK)[1:]]
  ended = [part.partition(_CODE) for part in parts]
  return [(int(code), text) for text, _, code in ended]


if __name__ == "__main__":
  main()
