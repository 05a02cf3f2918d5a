"""Finds labels that are probably wrong, by predicting them from the others."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import special

from fskd_jax.data import sides
from fskd_jax.own_labels.cross_prediction import Expected
from fskd_jax.own_labels.examples import Examples

SWAPPED, OTHER, TWICE, FAR = "swapped", "another type", "twice", "far off"
"""Kinds of doubts."""

DOUBTFUL = 0.3
"""Least probability of a doubt that is reported."""

_ODDS = {SWAPPED: 0.02, OTHER: 0.005, TWICE: 0.02, FAR: 0.03}
"""Prior probability of each kind of wrong label."""

_UNPAIRED = 0.1
"""Factor on the odds of a swap of types that are no left and right of each other."""

_SAME = 0.01
"""Distance of two labels at the same place, in units of the longer side of the box."""


class Doubt(NamedTuple):
  """A label, or several of an object, that is probably wrong.

  Attributes:
    kind: `SWAPPED`, `OTHER`, `TWICE` or `FAR`.
    probability: Probability that it is wrong.
    image: Name of the image.
    object: Id of the object in the labels.
    keypoints: Names of the keypoints.
    distance: Largest distance of their labels from where they are expected, in standard
      deviations of the prediction; None if no other object has such keypoints.
    row: Number of the object.
    text: The doubt in words.
  """

  kind: str
  probability: float
  image: str
  object: int
  keypoints: tuple[str, ...]
  distance: float | None
  row: int
  text: str


def doubts(examples: Examples, expected: Expected) -> list[Doubt]:
  """Returns all doubts, most probable first; a label is in one of them alone."""
  found = [
    doubt
    for row in range(len(examples.instances))
    for doubt in _of_object(examples, expected, row)
  ]
  found += _objects_twice(examples)
  return sorted(found, key=lambda doubt: -doubt.probability)


def _of_object(examples: Examples, expected: Expected, row: int) -> Iterator[Doubt]:
  """Yields the doubts about an object: each label is in the most probable one."""
  names, points = examples.names, examples.points(row)
  labelled = np.asarray(np.isfinite(points).all(-1))
  log_density = np.full((len(names), len(names)), -np.inf)
  log_density[labelled] = expected.log_density(row, points[labelled])
  may_be = [
    *_swaps(names, labelled, log_density),
    *_strays(examples, row, labelled, log_density, expected),
  ]
  taken: set[int] = set()
  for kind, odds, which, text in sorted(may_be, key=lambda x: -x[1]):
    probability = float(special.expit(odds))
    if probability < DOUBTFUL or taken & {*which}:
      continue
    taken |= {*which}
    yield Doubt(
      kind,
      round(probability, 3),
      examples.image_name(row),
      examples.instances[row].instance_id,
      tuple(names[i] for i in which),
      _largest(expected.distance(row, points[i], i) for i in which),
      row,
      text,
    )


def _largest(distances: Iterable[float | None]) -> float | None:
  known = [distance for distance in distances if distance is not None]
  return round(max(known), 1) if known else None


_Case = tuple[str, float, tuple[int, ...], str]
"""Kind, log-odds, numbers of the types, and text."""


def _swaps(
  names: Sequence[str], labelled: np.ndarray, log_density: Float[np.ndarray, "n n"]
) -> Iterator[_Case]:
  """Yields exchanges of two types, and of all types with a left and a right one."""
  found = sides.find(names)
  paired = [(names.index(a), names.index(b)) for a, b in found.pairs]
  own = log_density.diagonal()

  def gain(pairs: Sequence[tuple[int, int]]) -> float:
    return sum(
      log_density[a, b] + log_density[b, a] - own[a] - own[b] for a, b in pairs
    )

  odds = special.logit(_ODDS[SWAPPED])
  for a, b in itertools.combinations(np.flatnonzero(labelled).tolist(), 2):
    rarity = 0.0 if (a, b) in paired or (b, a) in paired else np.log(_UNPAIRED)
    text = f"{names[a]} and {names[b]} seem to be exchanged"
    yield SWAPPED, odds + rarity + gain([(a, b)]), (a, b), text
  whole = [(a, b) for a, b in paired if labelled[a] and labelled[b]]
  if len(whole) > 1:
    which = tuple(i for pair in whole for i in pair)
    yield SWAPPED, odds + gain(whole), which, "left and right seem to be exchanged"


def _strays(
  examples: Examples,
  row: int,
  labelled: np.ndarray,
  log_density: Float[np.ndarray, "n n"],
  expected: Expected,
) -> Iterator[_Case]:
  """Yields single labels that are at the place of another type, twice, or far off."""
  names, points, side = examples.names, examples.points(row), examples.side(row)
  stray, own = -np.log(expected.area[row]), log_density.diagonal()
  for a in np.flatnonzero(labelled).tolist():
    spread = expected.distance(row, points[a], a)
    if spread is not None:
      odds = special.logit(_ODDS[FAR]) + stray - own[a]
      text = f"{names[a]} is {spread:.0f} standard deviations from where it is expected"
      yield FAR, odds, (a,), text
    for b in range(len(names)):
      if b == a:
        continue
      apart = np.linalg.norm(points[a] - points[b]) / side
      gain = log_density[a, b] - own[a]
      if apart <= _SAME:
        text = f"{names[a]} has the place of {names[b]}"
        yield TWICE, special.logit(_ODDS[TWICE]) + gain, (a,), text
      elif not labelled[b]:
        odds = special.logit(_ODDS[OTHER]) + gain
        yield OTHER, odds, (a,), f"{names[a]} seems to be {names[b]}"


def _objects_twice(examples: Examples) -> Iterator[Doubt]:
  """Yields objects that have the labels of another one in their image."""
  by_image = itertools.groupby(
    range(len(examples.instances)), lambda row: examples.instances[row].image
  )
  pairs = (pair for _, rows in by_image for pair in itertools.combinations(rows, 2))
  for a, b in pairs:
    one, two = examples.instances[a], examples.instances[b]
    apart = np.linalg.norm(examples.points(a) - examples.points(b), axis=-1)
    both = np.isfinite(apart)
    if both.sum() > 1 and apart[both].max() <= _SAME * examples.side(a):
      names = tuple(n for n, known in zip(examples.names, both) if known)
      text = f"object {two.instance_id} has the labels of object {one.instance_id}"
      yield Doubt(
        TWICE, 0.95, examples.image_name(b), two.instance_id, names, 0.0, b, text
      )
