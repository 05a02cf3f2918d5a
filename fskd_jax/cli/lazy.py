"""Sub-commands whose modules are imported on first use."""

import argparse
import importlib
from collections.abc import Mapping
from typing import Any


class LazyParser(argparse.ArgumentParser):
  """A parser that declares its arguments when it first parses."""

  def __init__(self, *args: Any, declared_by: str = "", **options: Any):
    """Makes a parser without arguments.

    Args:
      *args: The arguments of `argparse.ArgumentParser`.
      declared_by: "module:function" of the function that is called with this parser.
        The docstring of the module is the description unless `options` has one.
      **options: The options of `argparse.ArgumentParser`.
    """
    super().__init__(*args, **options)
    self._declared_by = declared_by

  def parse_known_args(self, args=None, namespace=None):  # pyright: ignore[reportIncompatibleMethodOverride]
    """Declares the arguments, then parses."""
    if self._declared_by:
      name, function = self._declared_by.split(":")
      self._declared_by = ""
      module = importlib.import_module(name)
      self.description = self.description or module.__doc__
      getattr(module, function)(self)
    return super().parse_known_args(args, namespace)


def add_commands(
  parser: argparse.ArgumentParser,
  commands: Mapping[str, tuple[str, str]],
  metavar: str = "COMMAND",
) -> None:
  """Adds sub-commands from their `declared_by` and a line of help, by name."""
  added = parser.add_subparsers(metavar=metavar, required=True, parser_class=LazyParser)
  for name, (declared_by, text) in commands.items():
    added.add_parser(name, help=text, declared_by=declared_by)
