"""Skeletons of COCO categories, as tools write them: pairs of numbers or names."""

from collections.abc import Iterable, Sequence
from typing import Any

from fskd_jax.messages import join_first, shown


def mend(categories: Iterable[dict[str, Any]], notes: list[str]) -> None:
  """Leaves out pairs of skeletons that lead to no keypoint, and adds notes of them.

  Skeletons are for drawing: no fault of theirs is one of the labels.
  """
  for entry in categories:
    pairs, names = entry.get("skeleton") or [], entry.get("keypoints")
    if not isinstance(names, list):
      continue
    pairs = pairs if isinstance(pairs, list) else [pairs]
    numbers = [_ends(pair, names) for pair in pairs]
    first = 0 if any(ends and 0 in ends for ends in numbers) else 1
    places = range(first, len(names) + first)
    sound = [ends for ends in numbers if ends and all(n in places for n in ends)]
    lost = [shown(pair) for pair, ends in zip(pairs, numbers) if ends not in sound]
    entry["skeleton"] = sound
    if lost:
      notes.append(
        f"left out: lines of the skeleton of {shown(entry.get('name'))} that lead to "
        f"no keypoint: {join_first(lost, ', ')}"
      )


def _ends(pair: Any, names: Sequence[Any]) -> list[int] | None:
  """Returns a pair of numbers; names count from 1."""
  if not isinstance(pair, list) or len(pair) != 2:
    return None
  if all(isinstance(end, str) and end in names for end in pair):
    return [names.index(end) + 1 for end in pair]
  return pair if all(map(is_integer, pair)) else None


def is_integer(value: Any) -> bool:
  """Whether a value is a whole number."""
  return isinstance(value, int) and not isinstance(value, bool)
