"""A program like train.py that trains several runs, one after the other.

Processes start once for all of them. A run that fails says so in a line, as train.py
does, and the next one begins.
"""

import copy
import json
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from fskd_jax import experiment
from fskd_jax.cli import launch

_CONFIG = config_flags.DEFINE_config_file("config", None, "Experiment of all runs.")
_RUNS = flags.DEFINE_string(
  "runs", None, "JSON file: workdir and changed fields by run and process."
)
_MARK = "==== run "


def main():
  for name, of_process in json.loads(pathlib.Path(_RUNS.value).read_text()).items():
    print(f"{_MARK}{name}", file=sys.stderr, flush=True)
    run = of_process[flags.FLAGS.process]
    cfg = copy.deepcopy(_CONFIG.value)
    for field, value in run["fields"].items():
      section, _, leaf = field.partition(".")
      value = tuple(value) if isinstance(value, list) else value
      setattr(getattr(cfg, section), leaf, value)
    try:
      experiment.train(cfg, run["workdir"])
    except (ValueError, OSError) as error:
      print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)


def split(log):
  """Returns what a process said, by run."""
  parts = (part.partition("\n") for part in log.split(_MARK)[1:])
  return {name: text.strip() for name, _, text in parts}


if __name__ == "__main__":
  launch.run(main)
