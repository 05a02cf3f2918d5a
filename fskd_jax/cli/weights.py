"""fskd weights: lists published weights of encoders, gets them and finds their files.

`model.pretrained` takes their names. Files are kept in $FSKD_WEIGHTS, or else in
~/.cache/fskd_jax/weights, and are never used before their digest is checked.
"""

import argparse
import pathlib

from fskd_jax.interop.published import store
from fskd_jax.interop.published.table import PUBLISHED, PublishedWeights


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the sub-commands."""
  commands = parser.add_subparsers(metavar="COMMAND", required=True)
  lists = commands.add_parser("list", help="list all, and which are here")
  lists.add_argument(
    "--long", action="store_true", help="with source, licence, digest and place"
  )
  lists.set_defaults(run=_list)
  gets = commands.add_parser("get", help="download one, or copy its file")
  gets.add_argument("name", help="name in the list")
  gets.add_argument(
    "--from", dest="file", help="file that you have already; nothing is downloaded"
  )
  gets.set_defaults(run=_get)
  where = commands.add_parser("where", help="print the path of one that is here")
  where.add_argument("name", help="name in the list")
  where.set_defaults(run=_where)


def _list(args: argparse.Namespace) -> int:
  for weights in PUBLISHED.values():
    path = store.locate(weights)
    size = f"{weights.size / 1e6:.0f} MB" if weights.size else ""
    print(f"{weights.name:20s}{size:>8s}  {'here' if path else 'not here'}")
    if args.long:
      print(_details(weights, path))
  return 0


def _details(weights: PublishedWeights, path: pathlib.Path | None) -> str:
  lines = {
    "encoder": weights.encoder,
    "names of": weights.names,
    "licence": weights.licence,
    "source": weights.source,
    "file": str(path or weights.file),
    "sha256": weights.sha256,
  }
  if not path:
    lines["to get it"] = store.how_to_get(weights)
  return "".join(f"  {name:10s}{text}\n" for name, text in lines.items())


def _get(args: argparse.Namespace) -> int:
  source = pathlib.Path(args.file) if args.file else None
  print(store.get(store.row(args.name), source))
  return 0


def _where(args: argparse.Namespace) -> int:
  print(store.find(store.row(args.name)))
  return 0
