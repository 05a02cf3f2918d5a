"""Docstrings are plain English: head noun first, no fragments."""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

import fskd_jax

ROOT = pathlib.Path(fskd_jax.__path__[0])
MODULES = sorted(ROOT.rglob("*.py"))

BAD_STARTS = ("Says", "Tells", "What", "Where", "Who", "Whose", "Which", "How", "Of")
PATTERNS = (
  re.compile(rf"\A\s*({'|'.join(BAD_STARTS)})\b"),
  re.compile(r"^ +[\w*, ]+: ([Oo]f|[Aa]s of) ", re.M),  # "support: of `support`"
  re.compile(r"\btells whether\b|\b[Ss]ays (whether|who|which|what)\b"),
  re.compile(r"\bDoes `"),
  re.compile(r"; says which\b|\btells (the first|which|how|so)\b"),
)


def _docstrings(source: str) -> Iterator[str]:
  """Yields the docstrings of a module, of its definitions and of its constants."""
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
      if isinstance(node.value.value, str):
        yield node.value.value


def _faults(source: str) -> list[str]:
  return [
    text.strip().splitlines()[0] + " ... " + found.group().strip()
    for text in _docstrings(source)
    for pattern in PATTERNS
    if (found := pattern.search(text))
  ]


def _room(path: pathlib.Path) -> str:
  return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.slow
@pytest.mark.parametrize("room", sorted({_room(path) for path in MODULES}))
def test_docstrings_say_what_a_thing_is(room):
  faults = {
    str(path.relative_to(ROOT)): found
    for path in MODULES
    if _room(path) == room and (found := _faults(path.read_text(encoding="utf-8")))
  }
  assert not faults, faults


@pytest.mark.parametrize(
  "text",
  (
    "Says whether there is a split.",
    "What a heat-map says.",
    "Reads.\n\n  Args:\n    support: of `support`.\n  ",
    "Reads.\n\n  Raises:\n    ValueError: An image is broken; says which.\n  ",
    "Does `read` again.",
  ),
)
def test_fragments_are_found(text):
  assert _faults(f'def f():\n  """{text}"""\n')


@pytest.mark.parametrize(
  "text",
  (
    "Returns whether there is a split.",
    "Reads.\n\n  Args:\n    support: The support, as returned by `support`.\n  ",
    "Whether a validation split exists.",
  ),
)
def test_plain_sentences_are_not(text):
  assert not _faults(f'def f():\n  """{text}"""\n')
