"""fskd compare-runs: tests which of two evaluated runs is better.

Differences B - A are taken episode by episode and averaged, so that the varying
difficulty of episodes cancels. The 95 % interval is a bootstrap over species and then
their episodes. It covers the choice of both, not the training seed.
"""

import argparse
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from fskd_jax.files import write_json
from fskd_jax.metrics import record
from fskd_jax.metrics.paired import compare, verdict


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  for name in "ab":
    parser.add_argument(
      name,
      metavar=name.upper(),
      help="folder of a run, or of one evaluation (RUN/eval/DATA_1shot, mp100 --out)",
    )
  parser.add_argument(
    "--setting", action="append", help="only this setting; may be repeated"
  )
  parser.add_argument("--json", help="file for the numbers as JSON")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints and writes the comparison."""
  a, b = (record.read(pathlib.Path(path)) for path in (args.a, args.b))
  found = compare(a, b, args.setting)
  print("\n\n".join(_text(name, rows) for name, rows in found.items()))
  print("\nAll in %. Lower ne (normalised error) is better. *: excludes zero.")
  if args.json:
    content = {"a": args.a, "b": args.b, "settings": found}
    write_json(pathlib.Path(args.json), content)
  return 0


def _text(setting: str, found: Mapping[str, Any]) -> str:
  count, kinds = found["episodes"], found["species"]
  of = f" of {kinds} species" if kinds and kinds > 1 else ""
  headline = found["metrics"][f"pck@{found['threshold']}"]
  lines = [
    f"{setting}, PCK@{found['threshold']}: {verdict(headline, f'{count} episodes{of}')}"
  ]
  groups = [("all", found["metrics"])]
  if len(found["per_species"]) > 1:
    groups.append((f"species, PCK@{found['threshold']}", found["per_species"]))
  if found["per_keypoint"]:
    groups.append((f"keypoint type, PCK@{found['threshold']}", found["per_keypoint"]))
  for title, rows in groups:
    lines.append(f"  {title:28s}{'A':>8s}{'B':>8s}{'B - A':>8s}   interval")
    lines += [_row(name, row) for name, row in rows.items() if row is not None]
  return "\n".join(lines)


def _row(name: str, row: Mapping[str, Any]) -> str:
  ends = row["interval95"] or (math.nan, math.nan)
  mark = "" if ends[0] <= 0 <= ends[1] or math.isnan(ends[0]) else "  *"
  return (
    f"  {name:28s}{100 * row['a']:8.1f}{100 * row['b']:8.1f}"
    f"{100 * row['difference']:+8.1f}"
    f"   {100 * ends[0]:+.1f} to {100 * ends[1]:+.1f}{mark}"
  )
