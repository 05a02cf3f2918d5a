"""Evaluates a trained run beside the baselines; writes <workdir>/eval/.

  python evaluate.py --workdir=runs/quickstart --config.eval.episodes=1000

With --data, on a data set that it was not trained on (fskd_jax/few_shot/transfer.py):

  python evaluate.py --workdir=runs/quickstart --data=../shared/data/mouse_openfield

The configuration is the run's own; `--config.FIELD=VALUE` overrides it.
"""

from absl import flags

from fskd_jax import experiment
from fskd_jax.cli import launch

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)

_DATA = flags.DEFINE_string(
  "data",
  None,
  "Labels of any tool that docs/data.md lists, to evaluate on instead of the run's own "
  "data; all its keypoint types count as never trained on. Writes "
  "<workdir>/eval/<name>_<shots>shot/.",
)


def main() -> None:
  """Evaluates with the run's configuration and the flags that override it."""
  experiment.evaluate(_WORKDIR.value, data=_DATA.value or "", change=launch.override)


if __name__ == "__main__":
  launch.run(main, later_flags=True)
