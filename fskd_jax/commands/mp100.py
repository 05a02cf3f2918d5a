"""fskd mp100: evaluates a run on MP-100's fixed pairs, to the letter of its reference.

20 categories x 200 episodes x 15 queries, strict thresholds: see docs/data.md.
"""

import argparse
import json
import pathlib
import time

from tqdm import tqdm

from fskd_jax.interop.files import written_whole


def add_parser(commands: argparse._SubParsersAction) -> None:
  """Declares the command."""
  parser = commands.add_parser(
    "mp100", help="evaluate a run on MP-100", description=__doc__
  )
  parser.add_argument("--workdir", required=True, help="folder of a run")
  parser.add_argument(
    "--annotations", required=True, type=pathlib.Path, help="mp100_split1_test.json .."
  )
  parser.add_argument("--images", required=True, type=pathlib.Path, metavar="DIR")
  parser.add_argument("--out", required=True, type=pathlib.Path, metavar="DIR")
  parser.add_argument("--shots", type=int, default=1)
  parser.add_argument(
    "--episodes", type=int, default=200, help="of a category; val: 100 (%(default)s)"
  )
  parser.add_argument(
    "--coverage",
    action="store_true",
    help="score what is there if images are missing; the pairs are then others, and "
    "the results say so",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Writes results.json and manifest.json, and prints the means."""
  from fskd_jax.commands.source import load_run
  from fskd_jax.mp100 import annotations, evaluation, metrics, pairs

  if args.shots < 1 or args.episodes < 1:
    raise ValueError(f"--shots {args.shots}, --episodes {args.episodes}: at least 1")
  file = annotations.read(args.annotations, args.images, allow_missing=args.coverage)
  episodes = pairs.draw(file, args.shots, args.episodes)
  model, step = load_run(args.workdir)
  start = time.perf_counter()
  found = evaluation.evaluate(
    evaluation.detector_of(model),
    episodes,
    annotations.image_root(args.images),
    lambda x: tqdm(x, desc="MP-100", unit="ep"),
  )
  manifest = pairs.manifest(episodes)
  kept = sum(map(len, file.categories.values()))
  results = {
    "run": str(args.workdir),
    "step": step,
    "annotations": args.annotations.name,
    "shots": args.shots,
    "episodes": args.episodes,
    "manifest": manifest["sha256"],
    "coverage": {
      "complete": not file.missing,
      "objects": kept,
      "of": file.objects,
      "missing_images": len(file.missing),
    },
    "seconds": round(time.perf_counter() - start, 1),
  } | metrics.summary(found, file.keypoint_names)
  args.out.mkdir(parents=True, exist_ok=True)
  for name, content in (("manifest.json", manifest), ("results.json", results)):
    with written_whole(args.out / name) as unfinished:
      unfinished.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
  print(_text(results))
  return 0


def _text(results: dict) -> str:
  pairs, empty, coverage = (results[k] for k in ("pairs", "empty_pairs", "coverage"))
  lines = [f"{pairs} pairs ({empty} empty), {results['shots']}-shot"]
  if not coverage["complete"]:
    lines.append(
      f"NOT the protocol's pairs: {coverage['missing_images']} images are missing, "
      f"{coverage['objects']} of {coverage['of']} objects used"
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
