"""Loads a detector from a run or a file of weights."""

import logging
import os
import pathlib

from fskd_jax.buckets import copies
from fskd_jax.few_shot import calibration
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.interop.weights import read_config
from fskd_jax.models.build import Model
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.training.runs import load_file, load_run

PACKAGED = pathlib.Path(__file__).with_name("any_keypoints.safetensors")
"""The detector that comes with the package; docs/model-card.md describes it."""

_log = logging.getLogger(__name__)


def load(path: str | os.PathLike | None = None) -> KeypointDetector:
  """Loads a trained few-shot detector.

    detector = fskd_jax.load()
    detector = fskd_jax.load("runs/faces")
    detector = fskd_jax.load("faces.safetensors")

  Args:
    path: Folder of a run, whose newest checkpoint is loaded, or a .safetensors file
      that `fskd export` wrote, or the address of either (gs://, s3://). Without it,
      the detector that comes with the package.

  Returns:
    The detector, on the first device, with its calibration if the run or file has one.

  Raises:
    FileNotFoundError: The path does not exist, or the run has no checkpoint.
    ValueError: The file is damaged or carries no configuration,
      or the run is of another task.
  """
  return KeypointDetector(*load_model(path))


def load_model(
  path: str | os.PathLike | None = None,
) -> tuple[Model, Calibration | None]:
  """Returns the model and the calibration of a detector; arguments as for `load`."""
  path = PACKAGED if path is None else copies.local(path)
  if not path.exists():
    raise FileNotFoundError(f"there is no run and no file of weights {path}")
  if not path.is_dir():
    if read_config(path) is None:
      raise ValueError(
        f"{path} carries no configuration: make a run of it (fskd import --config)"
      )
    return load_file(str(path), None), calibration.load_file(path)
  model, step = load_run(str(path))
  calibrated = calibration.load(path)
  if calibrated is not None and calibrated.step != step:
    _log.warning(
      "%s: calibrated at step %d, but this is step %d (evaluate.py calibrates again)",
      path, calibrated.step, step,
    )  # fmt: skip
  return model, calibrated
