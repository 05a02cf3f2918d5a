"""The one place that knows which tasks there are."""

from fskd_jax.config import Config
from fskd_jax.few_shot.task import FewShotTask
from fskd_jax.pose.task import PoseTask
from fskd_jax.training.task import Task


def make_task(cfg: Config) -> Task:
  """Returns the task of a valid configuration."""
  return PoseTask(cfg) if cfg.task == "pose" else FewShotTask(cfg)
