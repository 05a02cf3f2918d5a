"""fskd data prepare: a published data set, checked, as a folder that training reads."""

import argparse

from fskd_jax.data.published.facts import MP100, PUBLISHED
from fskd_jax.data.published.prepare import prepare, summary


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  one, *_, last = MP100
  shown = PUBLISHED | {f"{one} .. {last}": MP100[one]}
  parser = commands.add_parser(
    "prepare",
    help="check a published data set and make a COCO folder of it",
    description=__doc__,
    epilog="\n\n".join(f"{name}\n{p.layout}" for name, p in shown.items()),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument("name", choices=sorted(PUBLISHED | MP100), metavar="NAME")
  parser.add_argument("--source", required=True, help="folder of the downloaded files")
  parser.add_argument("--out", required=True, help="folder to make")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prepares, and says what came out and whose terms it comes under."""
  published = (PUBLISHED | MP100)[args.name]
  release = prepare(published, args.source, args.out)
  print(f"{args.out}: {published.title}, {summary(release)}")
  print(f"Terms: {published.terms}. Cite: {published.citation}.")
  return 0
