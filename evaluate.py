"""Evaluates a trained run beside the baselines; writes <workdir>/eval/.

  python evaluate.py --workdir=runs/quickstart --config.eval.episodes=1000

The configuration is the run's own; `--config.FIELD=VALUE` overrides it.
"""

import contextlib

from absl import flags

from fskd_jax import command_line, config
from fskd_jax.checkpoint import CheckpointStore
from fskd_jax.task import make_task

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)


def main() -> None:
  """Reads the run's configuration, then the flags that override it, and evaluates."""
  with contextlib.closing(CheckpointStore(_WORKDIR.value)) as checkpoints:
    saved = checkpoints.restore_model()
  cfg = command_line.override(config.from_dict(saved.config))
  config.validate(cfg)
  make_task(cfg).evaluate(saved.variables, saved.step, _WORKDIR.value)


if __name__ == "__main__":
  command_line.run(main, later_flags=True)
