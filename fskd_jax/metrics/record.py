"""Records which instances each evaluated episode used, and its scores.

Two runs saw the same episodes if the records agree in all but the scores: the same
instances in the same order, the same keypoint types, and the same keypoints asked for.
"""

import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fskd_jax.episode import PADDING, EpisodeBatch, valid_queries
from fskd_jax.files import read_json

FILE = "episode_scores.json"
"""Beside results.json."""


class EpisodeRecord:
  """Collects who is in the episodes of one setting, batch by batch."""

  def __init__(self, type_names: Callable[[np.ndarray], Sequence[str]]):
    """Prepares an empty record; `type_names` gives the names of keypoint ids."""
    self._type_names = type_names
    self._instances: list[list[int]] = []
    self._species: list[str | None] = []
    self._digest = hashlib.sha256()

  def add(self, batch: EpisodeBatch, species: np.ndarray) -> None:
    """Adds a batch; padded episodes are left out.

    Args:
      batch: NumPy arrays.
      species: str [b m], of the instance in each query image.
    """
    valid = np.asarray(valid_queries(batch))
    for row in np.flatnonzero(np.asarray(batch.episode_index) != PADDING):
      ids = np.concatenate([batch.support.instance[row], batch.query.instance[row]])
      types = np.asarray(batch.keypoint_ids[row])
      names = set(species[row])
      self._instances.append(ids.tolist())
      self._species.append(str(names.pop()) if len(names) == 1 else None)
      # Slots that hold no type are padding, of which there may be more or less.
      held = types != PADDING
      asked = {
        "instances": ids.tolist(),
        "types": list(self._type_names(types[held])),
        "asked": valid[row][:, held].tolist(),
        "boxes": np.asarray(batch.query.box[row], np.float64).tolist(),
      }
      self._digest.update(json.dumps(asked).encode())

  def to_json(self, scores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the record of the setting.

    Args:
      scores: `metrics.EpisodeScores.per_episode` of each predictor.

    Returns:
      "manifest", a hash of all but the scores; and by episode "instances", the ids of
      support and query, and "species", None where the queries show several; "scores".
    """
    return {
      "manifest": self._digest.hexdigest(),
      "instances": self._instances,
      "species": self._species,
      "scores": dict(scores),
    }


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the records that `evaluate.py` wrote below or at a folder.

  Args:
    path: folder of a run, or of one of its evaluations.

  Raises:
    FileNotFoundError: there are none.
    ValueError: the file is damaged.
  """
  places = [path / FILE, path / "eval" / FILE]
  found = next((place for place in places if place.is_file()), None)
  if found is None:
    raise FileNotFoundError(
      f"{path}: there is no {FILE} in it or in its eval/; evaluate.py writes it for "
      "few-shot detectors"
    )
  try:
    records = read_json(found)
    if not isinstance(records, dict) or "settings" not in records:
      raise ValueError("it has no settings")
  except ValueError as error:
    raise ValueError(f"{found} is damaged ({error}); evaluate again") from error
  return records
