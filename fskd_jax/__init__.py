"""Few-shot keypoint detection in JAX.

    import fskd_jax

    detector = fskd_jax.load()
    support = detector.support(["ann.jpg"], [{"nose": (61, 70), "left eye": (48, 52)}])
    prediction = detector.predict(support, ["bob.jpg", "eve.png"])

* `load` returns the `KeypointDetector` that comes with the package, or that of a run or
  of an exported file.
* `Support` holds the keypoint types to look for, `Prediction` the keypoints found.
* `train_on_labels` trains it further on labels of one's own; `adapt` does with a few.
* `suggest` names the frames to label next, `check` the labels that are probably wrong.
* `Config` describes an experiment; `train` and `evaluate` run it.
* `read_dataset` reads the labels of any annotation tool.

The public names are imported when they are first used, because JAX alone takes seconds.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from fskd_jax.config import Config
  from fskd_jax.data.any_labels import read_dataset
  from fskd_jax.experiment import evaluate, train
  from fskd_jax.own_labels.adapting import adapt
  from fskd_jax.own_labels.doubts import check
  from fskd_jax.own_labels.suggesting import suggest
  from fskd_jax.own_labels.training import train_on_labels
  from fskd_jax.prediction.detector import KeypointDetector
  from fskd_jax.prediction.load import load
  from fskd_jax.prediction.results import Prediction
  from fskd_jax.prediction.supports import Support

__version__ = "0.2.0"

__all__ = [
  "Config",
  "KeypointDetector",
  "Prediction",
  "Support",
  "__version__",
  "adapt",
  "check",
  "evaluate",
  "load",
  "read_dataset",
  "suggest",
  "train",
  "train_on_labels",
]

_HOMES = {
  "Config": "config",
  "KeypointDetector": "prediction.detector",
  "Prediction": "prediction.results",
  "Support": "prediction.supports",
  "adapt": "own_labels.adapting",
  "check": "own_labels.doubts",
  "evaluate": "experiment",
  "load": "prediction.load",
  "read_dataset": "data.any_labels",
  "suggest": "own_labels.suggesting",
  "train": "experiment",
  "train_on_labels": "own_labels.training",
}


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f"module 'fskd_jax' has no attribute {name!r}")
  return getattr(importlib.import_module(f"fskd_jax.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
  return __all__
