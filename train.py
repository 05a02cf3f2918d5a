"""Trains a network; the same command again resumes.

python train.py --config=configs/quickstart.py --workdir=runs/quickstart
"""

from absl import flags
from ml_collections import config_flags

from fskd_jax import experiment
from fskd_jax.cli import launch

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Experiment file in configs/."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
_PROFILE_STEPS = flags.DEFINE_string(
  "profile_steps",
  "",
  "Steps to profile with JAX's profiler, as 100:110; read profile/ below the workdir.",
)
flags.mark_flag_as_required("config")


def main() -> None:
  """Trains."""
  experiment.train(_CONFIG.value, _WORKDIR.value, _PROFILE_STEPS.value)


if __name__ == "__main__":
  launch.run(main)
