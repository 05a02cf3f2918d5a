"""Groups the individuals of a table into species, by their body parts.

DeepLabCut gives every individual the body parts of all: an arm and a person, too, of
which each has labels of its own parts only, or hardly any of the other's.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

UNIQUE = "single"
"""DeepLabCut's individual for body parts that belong to no animal."""


_SHARED = 0.1
"""Part of the labels that individuals of different species may share, by mistake."""


class Species(NamedTuple):
  """The species in a table.

  Attributes:
    of: The species of each individual, "" if there is only one.
    parts: The body parts of each species, in order.
  """

  of: dict[str, str]
  parts: dict[str, tuple[str, ...]]


def species_of(
  parts: Mapping[str, Sequence[str]], labelled: Mapping[str, Mapping[str, int]]
) -> Species:
  """Returns the species of individuals.

  Two individuals are of one species if more than a tenth of the labels of one are of
  body parts of the other, or if their names differ in a number only (mouse1, mouse2).
  Where there are several, each is called as its first individual, without the number.

  Args:
    parts: The body parts of each individual.
    labelled: The number of labels of each body part; only those that have any.
  """
  animals = [name for name in parts if name != UNIQUE or len(parts) == 1]
  groups = _groups([name for name in animals if labelled[name]], labelled)
  if len(groups) < 2:
    of = {name: "" if name in animals else UNIQUE for name in parts}
  else:
    of = {name: _stem(group[0]) for group in groups for name in group}
    for name in parts:
      of.setdefault(name, of[groups[0][0]] if name in animals else UNIQUE)
  names: dict[str, dict[str, None]] = {}
  for name, known in parts.items():
    own = {p for n in parts if of[n] == of[name] for p in labelled[n]}
    others = {p for n in parts if of[n] != of[name] for p in labelled[n]}
    kept = [p for p in known if p in own or p not in others]
    names.setdefault(of[name], {}).update(dict.fromkeys(kept))
  return Species(of, {species: tuple(known) for species, known in names.items()})


def _groups(
  names: Sequence[str], labelled: Mapping[str, Mapping[str, int]]
) -> list[list[str]]:
  groups: list[list[str]] = []
  for name in names:
    near = [
      group for group in groups if any(_are_near(name, n, labelled) for n in group)
    ]
    groups = [group for group in groups if group not in near]
    groups.append([*(n for group in near for n in group), name])
  return sorted(groups, key=lambda group: names.index(group[0]))


def _are_near(one: str, other: str, labelled: Mapping[str, Mapping[str, int]]) -> bool:
  if _stem(one) == _stem(other):
    return True
  counts, others = labelled[one], labelled[other]
  shared = sum(min(n, others.get(part, 0)) for part, n in counts.items())
  return shared > _SHARED * min(sum(counts.values()), sum(others.values()))


def _stem(name: str) -> str:
  return re.sub(r"[ _.-]*\d+$", "", name) or name
