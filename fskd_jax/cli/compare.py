"""fskd compare: compares the weights and outputs of two detectors.

Weights are compared parameter by parameter, outputs stage by stage on fixed seeded
images. Exit status: 0 for equal, 1 for not equal, 2 for an error.
"""

import argparse
import pathlib

from fskd_jax.files import write_json
from fskd_jax.interop.compare import Comparison, Difference, compare
from fskd_jax.models.build import Model
from fskd_jax.training.runs import load_file, load_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("a", metavar="A", help="folder of a run, .safetensors or .pth")
  parser.add_argument("b", metavar="B", help="as A")
  parser.add_argument(
    "--config", help="configuration file, for weights that do not contain one"
  )
  parser.add_argument(
    "--tolerance",
    type=float,
    default=1e-4,
    help="largest difference, relative to the largest absolute value (%(default)s)",
  )
  parser.add_argument("--json", help="file for the numbers as JSON")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Prints and writes the comparison."""
  found = compare(_load(args.a, args.config), _load(args.b, args.config))
  is_equal = found.is_equal(args.tolerance)
  print(_table(found))
  print(f"{'equal' if is_equal else 'NOT equal'} at tolerance {args.tolerance:g}")
  if args.json:
    content = {
      "a": args.a,
      "b": args.b,
      "tolerance": args.tolerance,
      "equal": is_equal,
      "parameters": [row._asdict() for row in found.parameters],
      "stages": [row._asdict() for row in found.stages],
      "unmatched": found.unmatched,
    }
    write_json(pathlib.Path(args.json), content)
  return 0 if is_equal else 1


def _load(path: str, config_path: str | None) -> Model:
  if pathlib.Path(path).is_dir():
    return load_run(path)[0]
  return load_file(path, config_path)


def _table(found: Comparison) -> str:
  same = [row for row in found.parameters if row.max_abs == 0]
  other = [row for row in found.parameters if row.max_abs != 0]
  width = max(map(len, [row.name for row in other + found.stages] + ["parameter"]))

  def section(title: str, rows: list[Difference]) -> list[str]:
    header = f"{title:{width}s}  {'max abs':>9s}  {'relative':>9s}"
    return [
      header,
      *(f"{r.name:{width}s}  {r.max_abs:9.2e}  {r.relative:9.2e}" for r in rows),
    ]

  lines = section("parameter", other) if other else []
  lines.append(f"{len(same)} of {len(found.parameters)} tensors are bitwise equal")
  lines += [f"only in one, or with another shape: {name}" for name in found.unmatched]
  return "\n".join(lines + (section("stage", found.stages) if found.stages else []))
