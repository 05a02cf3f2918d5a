"""Tries one class of faults in a process of its own: NAME, then JSON of a `Place`."""

import json
import logging
import os
import pathlib
import sys
import traceback
from typing import Any

from absl import logging as absl_logging

from benchmarks.reliability.classes import CLASSES
from benchmarks.reliability.trial import Failure, Place, limited

_SECONDS = 900
"""For one trial."""


def main() -> None:
  """Prints a line of JSON for every trial on the descriptor that stdout was."""
  name, options = sys.argv[1], json.loads(sys.argv[2])
  paths = {k: pathlib.Path(options[k]) for k in ("tree", "work", "common")}
  place = Place(**(options | paths))
  report = os.fdopen(os.dup(1), "w")
  os.dup2(2, 1)  # what libraries print is no result
  absl_logging.set_verbosity(absl_logging.FATAL)
  logging.disable(logging.CRITICAL)
  for trial in CLASSES[name][1](place):
    said = {"trial": trial.name, "failure": _tried(trial.run)}
    print(json.dumps(said), file=report, flush=True)


def _tried(run: Any) -> str | None:
  """Returns None if a trial held, else why it did not."""
  try:
    with limited(_SECONDS):
      run()
  except Failure as error:
    return str(error)
  except Exception as error:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{pathlib.Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__} in {where}: {str(error)[:200]}"
  return None


if __name__ == "__main__":
  main()
