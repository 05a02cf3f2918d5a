"""fskd completion: prints a script that makes a shell complete the words of fskd.

fskd completion bash > ~/.local/share/bash-completion/completions/fskd
fskd completion zsh > ~/.zsh/completions/_fskd
"""

import argparse

import shtab

from fskd_jax.cli.lazy import LazyParser


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints the script; returns the exit status."""
  from fskd_jax.cli.main import make_parser

  parser = make_parser()
  _prepare(parser)
  print(shtab.complete(parser, args.shell))
  return 0


def _prepare(parser: argparse.ArgumentParser) -> None:
  """Declares all sub-commands; values without choices are completed to files."""
  if isinstance(parser, LazyParser):
    parser.declare()
  for action in parser._actions:  # shtab reads them, too: there is no public way
    if isinstance(action, argparse._SubParsersAction):
      for command in action.choices.values():
        _prepare(command)
    elif action.choices is None and action.nargs != 0:
      action.complete = shtab.FILE  # pyright: ignore[reportAttributeAccessIssue]
