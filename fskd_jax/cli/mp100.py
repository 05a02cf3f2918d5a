"""fskd mp100: scores a run on MP-100's fixed pairs, exactly as in its reference code.

20 categories x 200 episodes x 15 queries, strict thresholds: see docs/data.md.
"""

import argparse
import pathlib

from tqdm import tqdm

from fskd_jax.analysis.mp100 import evaluation, pairs
from fskd_jax.files import write_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("--workdir", required=True, help="folder of a run")
  parser.add_argument(
    "--annotations",
    required=True,
    type=pathlib.Path,
    metavar="FILE",
    help="annotation file, such as mp100_split1_test.json",
  )
  parser.add_argument(
    "--images", required=True, type=pathlib.Path, metavar="DIR", help="their folder"
  )
  parser.add_argument(
    "--out", required=True, type=pathlib.Path, metavar="DIR", help="new folder"
  )
  parser.add_argument(
    "--shots", type=int, default=1, help="support images (%(default)s)"
  )
  parser.add_argument(
    "--episodes",
    type=int,
    help="per category; default: 100 for files that end in _val.json, else 200",
  )
  parser.add_argument(
    "--coverage",
    action="store_true",
    help="if images are missing, score the others; this changes the pairs, which the "
    "results state",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes results, manifest and the scores of episodes, and prints the means."""
  if args.out.exists():
    raise ValueError(f"--out: {args.out} exists already; name a new folder")
  protocol = evaluation.open_protocol(
    args.annotations,
    args.images,
    shots=args.shots,
    episodes=args.episodes,
    coverage=args.coverage,
  )
  contents = evaluation.evaluate_run(
    args.workdir, protocol, lambda x: tqdm(x, desc="MP-100", unit="ep", disable=None)
  )
  args.out.mkdir(parents=True)
  for name, content in contents.items():
    write_json(args.out / name, content, indent=1)
  print(_text(contents["results.json"], pairs.episodes_of(args.annotations)))
  return 0


def _text(results: dict, proper: int) -> str:
  count, empty, coverage = (results[k] for k in ("pairs", "empty_pairs", "coverage"))
  lines = [
    f"{results['protocol']}: {count} pairs ({empty} empty), {results['shots']}-shot"
  ]
  if results["episodes"] != proper:
    lines.append(f"{results['episodes']} episodes of a category instead of {proper}")
  if lost := coverage["lost_images"]:
    lines.append(
      f"{coverage['objects']} of {coverage['of']} objects used; {len(lost)} images "
      f"cannot be: {evaluation.describe(lost)}"
    )
  rows = {f"PCK@{t}": x for t, x in results["pck"].items()} | {
    "mPCK (0.05 to 0.25)": results["mpck"],
    "mPCK (0.05 to 0.20)": results["mpck_to_0.2"],
    "AUC": results["auc"],
    "NME": results["nme"],
  }
  for name, x in rows.items():
    low, high = (100 * end for end in x["bootstrap95"])
    lines.append(f"{name:20s} {100 * x['mean']:6.2f}   [{low:.2f}, {high:.2f}]")
  lines.append(f"{'EPE, px':20s} {results['epe']['mean']:6.2f}")
  return "\n".join(lines)
