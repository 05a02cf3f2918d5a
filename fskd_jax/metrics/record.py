"""Records which instances each evaluated episode used, and its scores.

Two runs saw the same episodes if their records agree in everything but the scores:
the same instances in the same order, the same keypoint types, and the same keypoints
asked for.
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
"""Name of the file of records, beside results.json."""


class EpisodeRecord:
  """Records the instances in the episodes of one setting, batch by batch."""

  def __init__(self, type_names: Callable[[np.ndarray], Sequence[str]]):
    """Creates an empty record; `type_names` maps keypoint ids to names."""
    self._type_names = type_names
    self._instances: list[list[int]] = []
    self._species: list[str | None] = []
    self._digest = hashlib.sha256()

  def add(self, batch: EpisodeBatch, species: np.ndarray) -> None:
    """Adds a batch, without its padded episodes.

    Args:
      batch: The episodes, as NumPy arrays.
      species: str [b m], the species of the instance in each query image.
    """
    valid = np.asarray(valid_queries(batch))
    for row in np.flatnonzero(np.asarray(batch.episode_index) != PADDING):
      ids = np.concatenate([batch.support.instance[row], batch.query.instance[row]])
      types = np.asarray(batch.keypoint_ids[row])
      names = set(species[row])
      self._instances.append(ids.tolist())
      self._species.append(str(names.pop()) if len(names) == 1 else None)
      # Slots without a type are padding, whose number does not change an episode.
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
      scores: The `scores.EpisodeScores.per_episode` of each predictor.

    Returns:
      "manifest", a hash of everything but the scores; lists with one entry per
      episode, "instances" (ids of support and query) and "species" (None where the
      queries show several); and "scores".
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
    path: The folder of a run, or of one of its evaluations.

  Raises:
    FileNotFoundError: There is no file of records.
    ValueError: The file is damaged.
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
