"""Least confidences: one for all keypoint types, and others for some of them."""

import difflib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Thresholds(NamedTuple):
  """Confidences below which keypoints do not count.

  Attributes:
    others: That of the types that `by_name` lacks, 0..1.
    by_name: Those of single types, 0..1.
  """

  others: float = 0.5
  by_name: Mapping[str, float] = MappingProxyType({})

  @staticmethod
  def parse(text: str) -> "Thresholds":
    """Parses "0.3", "tail=0.5" or "tail=0.5,0.2": the plain number is for all others.

    Raises:
      ValueError: The text has another form, or a number is not within 0..1.
    """
    found, others, name = {}, [], ""
    for part in text.split(","):
      name += part  # a name may have commas
      before, is_named, number = name.rpartition("=")
      value = _probability(number)
      if value is None:
        name += ","
        continue
      if is_named:
        found[before] = value
      else:
        others.append(value)
      name = ""
    if name or len(others) > 1:
      raise ValueError(
        f"{text!r}: expected a probability, 0 to 1, or several as tail=0.5,0.2"
      )
    return Thresholds(*others, by_name=found) if others else Thresholds(by_name=found)

  def per_type(self, names: Sequence[str]) -> Float[np.ndarray, " n"]:
    """Returns the threshold of each keypoint type.

    Raises:
      ValueError: A threshold is for none of the types.
    """
    require_names(self.by_name, names, "min_confidence")
    return np.array([self.by_name.get(name, self.others) for name in names])

  def __str__(self) -> str:
    """Returns the text that `parse` reads."""
    named = [f"{name}={value:g}" for name, value in self.by_name.items()]
    return ",".join([*named, f"{self.others:g}"])


def require_names(
  wanted: Mapping[str, float] | Sequence[str], names: Sequence[str], what: str
) -> None:
  """Checks that the support has keypoint types.

  Args:
    wanted: Names of the types.
    names: Names of the support's types.
    what: Name of the argument in messages.

  Raises:
    ValueError: The support lacks some; the message lists all of them.
  """
  unknown = [name for name in wanted if name not in names]
  if unknown:
    near = [*map(repr, difflib.get_close_matches(unknown[0], names, 1))]
    raise ValueError(
      f"{what}: no support image shows {', '.join(map(repr, unknown))}"
      + "".join(f" (did you mean {name}?)" for name in near)
      + f"; the keypoints of the support are {', '.join(map(repr, names))}"
    )


def split_names(items: Sequence[str], names: Sequence[str]) -> list[str]:
  """Returns the names in "nose,tail", where a whole item may be a name with commas.

  Args:
    items: The items.
    names: Names of the support's types.

  Raises:
    ValueError: There is no such type.
  """
  found = [
    name.strip() if name not in names else name
    for item in items
    for name in ([item] if item in names else item.split(","))
  ]
  require_names(found, names, "names")
  return [*dict.fromkeys(found)]


def _probability(text: str) -> float | None:
  try:
    value = float(text)
  except ValueError:
    return None
  return value if 0 <= value <= 1 else None
