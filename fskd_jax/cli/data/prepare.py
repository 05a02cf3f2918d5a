"""fskd data prepare: checks a published data set and converts it to a COCO folder."""

import argparse

from fskd_jax.data.published.facts import MP100, PUBLISHED
from fskd_jax.data.published.prepare import prepare, summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  one, *_, last = MP100
  shown = PUBLISHED | {f"{one} .. {last}": MP100[one]}
  parser.epilog = "\n\n".join(f"{name}\n{p.layout}" for name, p in shown.items())
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.add_argument("name", choices=sorted(PUBLISHED | MP100), metavar="NAME")
  parser.add_argument("--source", required=True, help="folder of the downloaded files")
  parser.add_argument("--out", required=True, help="new folder")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prepares the folder, and prints its counts, terms and citation."""
  published = (PUBLISHED | MP100)[args.name]
  release = prepare(published, args.source, args.out)
  print(f"{args.out}: {published.title}, {summary(release)}")
  print(f"Terms: {published.terms}. Cite: {published.citation}.")
  return 0
