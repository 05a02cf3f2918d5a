"""Journal of a run: what the network found, so that a killed run can go on.

A line of JSON for each step, exact to the last bit; the first line holds the settings.
A run that goes on takes the recorded steps from here and computes only the others. All
files of results are functions of the steps, so they are those of a run without a break.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fskd_jax.files import append_text, read_lines, write_text
from fskd_jax.messages import shown

JOURNAL = "unfinished.jsonl"
"""Name of the file. It is removed when a run is finished."""


class Journal:
  """The steps of a run, recorded or still to be computed."""

  def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
    """Opens the journal of a folder, or starts one.

    Args:
      folder: The folder of the results.
      settings: Whatever decides what is found, as JSON.

    Raises:
      ValueError: The journal is that of a run with other settings; the message names
        the first that differs.
    """
    self._path = folder / JOURNAL
    settings = json.loads(json.dumps(settings))
    lines = read_lines(self._path) if self._path.exists() else []
    steps = list(filter(None, map(_parsed, lines)))
    self._recorded = iter(steps[1:])
    if not steps:
      self._start(settings)
      return
    begun = steps[0]
    for name in [*settings, *begun]:
      if begun.get(name) != settings.get(name):
        raise ValueError(
          f"{folder}: the run to be resumed had {name} = {shown(begun.get(name))}, now "
          f"it is {shown(settings.get(name))}: repeat the same command, or name "
          "another folder"
        )
    # The last line may have been cut off.
    text = "".join(json.dumps(step) + "\n" for step in steps)
    write_text(self._path, text)

  def _start(self, settings: Mapping[str, Any]) -> None:
    write_text(self._path, json.dumps(settings) + "\n")

  def step(
    self, name: str | list[str], compute: Callable[[], dict[str, np.ndarray]]
  ) -> dict[str, np.ndarray]:
    """Returns the arrays of the next step: recorded, or computed and recorded now.

    Args:
      name: What is looked at: the names of images, or a video with the frame.
      compute: Function that returns the arrays: float64, int64 or bool.

    Raises:
      ValueError: The recorded step is of something else: the queries have changed.
    """
    recorded = next(self._recorded, None)
    if recorded is None:
      arrays = compute()
      append_text(self._path, json.dumps([name, _listed(arrays)]) + "\n")
      return arrays
    if recorded[0] != name:
      raise ValueError(
        f"{self._path}: the next step was {recorded[0]!r}, now it is {name!r}: files "
        "have changed since the run began; name another folder"
      )
    return {
      key: np.array(values, kind).reshape(shape)
      for key, (values, kind, shape) in recorded[1].items()
    }

  def finish(self) -> None:
    """Removes the journal: all results are there."""
    self._path.unlink()


def _listed(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
  return {
    key: (array.ravel().tolist(), array.dtype.str, array.shape)
    for key, array in arrays.items()
  }


def _parsed(line: bytes) -> Any:
  """Returns the content of a line; None where it was cut off."""
  try:
    return json.loads(line)
  except ValueError:
    return None
