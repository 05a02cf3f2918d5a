"""Sub-commands whose modules are imported on first use."""

import argparse
import importlib
from collections.abc import Mapping
from typing import Any

_EXAMPLES = "examples:\n"


class _Formatter(argparse.HelpFormatter):
  """Leaves the lines of examples as they are."""

  def _fill_text(self, text: str, width: int, indent: str) -> str:
    if text.startswith(_EXAMPLES):
      return text
    return super()._fill_text(text, width, indent)


class LazyParser(argparse.ArgumentParser):
  """A parser that declares its arguments when it first parses."""

  def __init__(self, *args: Any, declared_by: str = "", **options: Any):
    """Makes a parser without arguments.

    Args:
      *args: The arguments of `argparse.ArgumentParser`.
      declared_by: "module:function" of the function that is called with this parser.
        The docstring of the module is the description unless `options` has one; its
        indented lines are examples.
      **options: The options of `argparse.ArgumentParser`.
    """
    super().__init__(*args, formatter_class=_Formatter, **options)
    self._declared_by = declared_by

  def parse_known_args(self, args=None, namespace=None):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Declares the arguments, then parses."""
    self.declare()
    return super().parse_known_args(args, namespace)

  def declare(self) -> None:
    """Declares the arguments, unless they are."""
    if self._declared_by:
      name, function = self._declared_by.split(":")
      self._declared_by = ""
      module = importlib.import_module(name)
      self.description = self.description or _text(module.__doc__ or "")
      self.epilog = _examples(module.__doc__ or "")
      getattr(module, function)(self)


def _text(docstring: str) -> str:
  return "\n".join(x for x in docstring.splitlines() if not x.startswith("  "))


def _examples(docstring: str) -> str | None:
  lines = [line for line in docstring.splitlines() if line.startswith("  ")]
  return _EXAMPLES + "\n".join(lines) if lines else None


def add_commands(
  parser: argparse.ArgumentParser,
  commands: Mapping[str, tuple[str, str]],
  metavar: str = "COMMAND",
) -> None:
  """Adds sub-commands from their `declared_by` and a line of help, by name."""
  added = parser.add_subparsers(metavar=metavar, required=True, parser_class=LazyParser)
  for name, (declared_by, text) in commands.items():
    added.add_parser(name, help=text, declared_by=declared_by)
