"""Evaluates a trained run beside the baselines; writes <workdir>/eval/.

  python evaluate.py --workdir=runs/quickstart --config.eval.episodes=1000

The configuration is the run's own; `--config.FIELD=VALUE` overrides it.
"""

import contextlib
import sys

from absl import app, flags
from ml_collections import config_flags

from fskd_jax import command_line, config, evaluator
from fskd_jax.checkpoint import CheckpointStore

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def run() -> None:
  """Reads the run's configuration, then the flags that override it."""
  flags.FLAGS(sys.argv, known_only=True)
  command_line.start()
  with contextlib.closing(CheckpointStore(_WORKDIR.value)) as checkpoints:
    saved = checkpoints.restore_model()
  overrides = config_flags.DEFINE_config_dataclass(
    "config", config.from_dict(saved.config)
  )

  def main(argv: list[str]) -> None:
    if len(argv) > 1:
      raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    config.validate(overrides.value)
    evaluator.evaluate(overrides.value, saved.variables, saved.step, _WORKDIR.value)

  app.run(main, flags_parser=command_line.parse_flags)


if __name__ == "__main__":
  run()
