"""Finds which keypoint names are the left and the right one of a pair.

A side is a word or a letter that stands for itself in a name, by separators or by case:
left_eye, L_eye, earR, RHip, paw1LH. Words that only contain one (bright, upright, leg)
are no sides.
"""

import collections
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_WORDS = (
  ("left", "right"),
  ("lt", "rt"),
  ("links", "rechts"),
  ("linkes", "rechtes"),
  ("linker", "rechter"),
  ("linke", "rechte"),
  ("gauche", "droite"),
  ("gauche", "droit"),
  ("izquierdo", "derecho"),
  ("izquierda", "derecha"),
  ("esquerdo", "direito"),
  ("esquerda", "direita"),
  ("sinistro", "destro"),
  ("sinistra", "destra"),
)
_LETTERS = (
  ("l", "r"),
  ("lf", "rf"),  # fore
  ("lh", "rh"),  # hind
  ("lb", "rb"),  # back
  ("fl", "fr"),
  ("hl", "hr"),
  ("bl", "br"),
)
_OTHER: dict[str, str] = {}
for _one, _two in (*reversed(_WORDS), *_LETTERS):
  _OTHER |= {_one: _two, _two: _one}
_TWO_LETTERS = {side for pair in _LETTERS for side in pair if len(side) == 2}
_WORD_SIDES = {side for pair in _WORDS for side in pair}
_SAME = {one: "left" for one, _ in (*_WORDS, ("l", "r"))} | {
  two: "right" for _, two in (*_WORDS, ("l", "r"))
}
"""Sides that mean the same: l_eye is the partner of right_eye."""

_NO_SIDES = frozenset(
  "bright upright aright downright outright forthright birthright copyright fright "
  "playwright wright righteous rightful rightly cleft leftover leftovers lefty".split()
)
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+")
_MOST_LETTERS = 3  # other letters in the place of l and r: point_a, point_b, ..
_LEAST_GLUED = 2  # pairs as lhip = rhip, of which one may be two words (lamp, ramp)


class Sides(NamedTuple):
  """The sides among keypoint names.

  Attributes:
    pairs: Pairs of names that a mirror exchanges.
    alone: Names of a side whose partner is not among the names.
    doubtful: Pairs that differ by l and r, but may be two words; they are no pairs.
  """

  pairs: tuple[tuple[str, str], ...]
  alone: tuple[str, ...]
  doubtful: tuple[tuple[str, str], ...]


def find(names: Sequence[str]) -> Sides:
  """Finds the pairs of names that differ only in their side, and sides left alone."""
  names = list(dict.fromkeys(names))
  listed = _listed_letters(names)
  # "upright" is a side where there is an "upleft".
  mirrors = {name: _TOKEN.sub(lambda m: _exchanged(m.group()), name) for name in names}
  partner = {
    name: other
    for name, other in mirrors.items()
    if other != name and mirrors.get(other) == name and name not in listed
  }
  sided = [n for n in names if n not in listed and mirror_name(n) != n]
  by_key = collections.defaultdict(list)
  for name in sided:
    if name not in partner:
      by_key[_key(name)].append(name)
  for key, found in by_key.items():
    others = by_key.get(_mirror_key(key), [])
    if len(found) == len(others) == 1 and found != others:
      partner[found[0]] = others[0]
  glued = _glued([name for name in names if name not in {*partner, *listed}])
  for kind in glued:
    if len(kind) >= _LEAST_GLUED:
      partner |= {a: b for one, two in kind for a, b in ((one, two), (two, one))}
  return Sides(
    tuple(
      (a, b) for a in names if (b := partner.get(a)) and names.index(a) < names.index(b)
    ),
    tuple(name for name in sided if name not in partner and _is_sure(name, partner)),
    tuple(pair for kind in glued for pair in kind if pair[0] not in partner),
  )


def mirror_name(name: str) -> str:
  """Returns a name with left and right exchanged, as words or as letters."""
  return _TOKEN.sub(lambda match: _other(match.group()), name)


def _other(token: str) -> str:
  return token if token.lower() in _NO_SIDES else _exchanged(token)


def _exchanged(token: str) -> str:
  """Returns a word with its side exchanged, even if it only contains one."""
  word = token.lower()
  if word in _OTHER:
    return _like(token, _OTHER[word])
  for side in ("left", "right"):
    if word.startswith(side):  # leftear
      return _like(token[: len(side)], _OTHER[side]) + token[len(side) :]
  for side in ("left", "right"):
    if word.endswith(side):  # earleft
      return token[: -len(side)] + _like(token[-len(side) :], _OTHER[side])
  return token


def _like(model: str, word: str) -> str:
  """Returns a word in upper or lower case, as another one is."""
  if model.isupper():
    return word.upper()
  return word.capitalize() if model[0].isupper() else word


def _tokens(name: str) -> list[str]:
  return [token.lower() for token in _TOKEN.findall(name)]


def _key(name: str) -> tuple[str, ...]:
  """Returns the words of a name in any order, with one spelling of each side."""
  return tuple(sorted(_SAME.get(token, token) for token in _tokens(name)))


def _mirror_key(key: Sequence[str]) -> tuple[str, ...]:
  return tuple(sorted(_OTHER.get(token, token) for token in key))


def _listed_letters(names: Iterable[str]) -> set[str]:
  """Returns names whose l or r is one of many letters: point_a, point_b, .."""
  letters = collections.defaultdict(set)
  places = collections.defaultdict(list)
  for name in names:
    tokens = _tokens(name)
    for i, token in enumerate(tokens):
      if len(token) == 1 and token.isalpha():
        slot = (*tokens[:i], "", *tokens[i + 1 :])
        letters[slot].add(token)
        places[slot].append(name)
  many = [
    slot for slot, found in letters.items() if len(found - {*"lr"}) > _MOST_LETTERS
  ]
  return {name for slot in many for name in places[slot]}


def _is_sure(name: str, partner: dict[str, str]) -> bool:
  """Returns whether a name without a partner surely names a side.

  A word does. A letter does at the start or end of a name, but not before a number:
  L4 is a vertebra. Two letters (LH) do if other names are pairs by such letters.
  """
  tokens = _tokens(name)
  for i, token in enumerate(tokens):
    if token in _WORD_SIDES or (token not in _OTHER and _other(token) != token):
      return True
    by_number = any(t.isdigit() for t in tokens[max(i - 1, 0) : i + 2])
    if token in ("l", "r") and i in (0, len(tokens) - 1) and not by_number:
      return len(tokens) > 1
    if token in _TWO_LETTERS and any(_TWO_LETTERS & {*_tokens(n)} for n in partner):
      return True
  return False


def _glued(
  names: Sequence[str],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
  """Returns pairs as lhip = rhip, and as hipl = hipr."""
  swap = str.maketrans("lL", "rR")
  first, last = [], []
  for name in names:
    end = len(name.rstrip("0123456789"))
    for kind, place in ((first, 0), (last, end - 1)):
      other = name[:place] + name[place : place + 1].translate(swap) + name[place + 1 :]
      if len(name) > 3 and other != name and other in names:
        kind.append((name, other))
  return first, last
