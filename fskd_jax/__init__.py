"""Few-shot keypoint detection in JAX."""

import os
from typing import TYPE_CHECKING

from fskd_jax.prediction import load as prediction_load

if TYPE_CHECKING:
  from fskd_jax.prediction.detector import KeypointDetector


def load(path: str | os.PathLike) -> "KeypointDetector":
  """Loads a detector for one's own images: a run's folder or a .safetensors file.

  See `predictor`, which is imported only now because JAX takes seconds.
  """
  return prediction_load.load(path)
