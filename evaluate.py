"""Evaluates a trained run beside the baselines; writes <workdir>/eval/.

  python evaluate.py --workdir=runs/quickstart --config.eval.episodes=1000

With --data, on a data set that it was not trained on (fskd_jax/few_shot/transfer.py):

  python evaluate.py --workdir=runs/quickstart --data=../shared/data/mouse_openfield

The configuration is the run's own; `--config.FIELD=VALUE` overrides it.
"""

import contextlib

from absl import flags

from fskd_jax import config
from fskd_jax.cli import launch
from fskd_jax.data import fingerprint
from fskd_jax.device import processes
from fskd_jax.experiment import make_task
from fskd_jax.few_shot import transfer
from fskd_jax.training.checkpoint import CheckpointStore

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)

_DATA = flags.DEFINE_string(
  "data",
  None,
  "Folder with annotations.json and images/ to evaluate on instead of the run's own "
  "data; all its keypoint types count as never trained on. Writes "
  "<workdir>/eval/<name>_<shots>shot/.",
)


def main() -> None:
  """Reads the run's configuration, then the flags that override it, and evaluates."""
  opened = processes.together(lambda: CheckpointStore(_WORKDIR.value))
  with contextlib.closing(opened) as checkpoints:
    saved = checkpoints.restore_model()
  cfg = launch.override(config.from_dict(saved.config))
  processes.check_same(lambda: fingerprint.of_program(cfg), "start all alike")
  config.validate(cfg)
  if _DATA.value:
    transfer.evaluate(cfg, _DATA.value, saved.variables, saved.step, _WORKDIR.value)
  else:
    make_task(cfg).evaluate(saved.variables, saved.step, _WORKDIR.value)


if __name__ == "__main__":
  launch.run(main, later_flags=True)
