"""fskd mp100: scores a run on MP-100's fixed pairs, exactly as in its reference code.

20 categories x 200 episodes x 15 queries, strict thresholds: see docs/data.md.
"""

import argparse
import pathlib
import time

from tqdm import tqdm

from fskd_jax.files import write_json
from fskd_jax.messages import join_first

_REFERENCE, _OTHER = "MP-100 reference pairs", "MP-100, not the reference's pairs"


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
  from fskd_jax.analysis.mp100 import evaluation, metrics
  from fskd_jax.analysis.mp100 import pairs as mp100_pairs
  from fskd_jax.data.published import mp100
  from fskd_jax.metrics import record as episode_record
  from fskd_jax.training.runs import load_run

  proper = mp100_pairs.episodes_of(args.annotations)
  count = proper if args.episodes is None else args.episodes
  if args.shots < 1 or count < 1:
    raise ValueError(f"--shots {args.shots}, --episodes {count}: at least 1")
  if args.out.exists():
    raise ValueError(f"--out: {args.out} exists already; name a new folder")
  whole, root = mp100.read(args.annotations), mp100.image_root(args.images)
  lost = mp100.lost_images(whole, root)
  if lost and not args.coverage:
    raise FileNotFoundError(
      f"{len(lost)} images in {root} cannot be used: {_told(lost)}; every lost image "
      "changes all later pairs. To score what is there, give --coverage"
    )
  file = whole.without(lost)
  episodes = mp100_pairs.draw(file, args.shots, count)
  model, step = load_run(args.workdir)
  start = time.perf_counter()
  found = evaluation.evaluate(
    evaluation.detector_of(model),
    episodes,
    root,
    lambda x: tqdm(x, desc="MP-100", unit="ep"),
  )
  manifest = mp100_pairs.manifest(episodes)
  is_proper = count == proper and not lost
  head = {
    "run": str(args.workdir),
    "step": step,
    "data": args.annotations.name,
    "protocol": _REFERENCE if is_proper else _OTHER,
    "shots": args.shots,
    "queries": mp100_pairs.QUERIES,
    "seed": mp100_pairs.SEED,
  }
  results = (
    head
    | {
      "episodes": count,
      "manifest": manifest["sha256"],
      "coverage": {
        "objects": sum(1 for _ in file.objects()),
        "of": sum(1 for _ in whole.objects()),
        "lost_images": lost,
      },
      "seconds": round(time.perf_counter() - start, 1),
    }
    | metrics.summary(found, file.keypoint_names)
  )
  record = mp100_pairs.record(episodes, metrics.per_episode(found))
  written = {
    "manifest.json": manifest,
    episode_record.FILE: head | {"settings": {args.annotations.stem: record}},
    "results.json": results,
  }
  args.out.mkdir(parents=True)
  for name, content in written.items():
    write_json(args.out / name, content, indent=1)
  print(_text(results, proper))
  return 0


def _text(results: dict, proper: int) -> str:
  pairs, empty, coverage = (results[k] for k in ("pairs", "empty_pairs", "coverage"))
  lines = [
    f"{results['protocol']}: {pairs} pairs ({empty} empty), {results['shots']}-shot"
  ]
  if results["episodes"] != proper:
    lines.append(f"{results['episodes']} episodes of a category instead of {proper}")
  if lost := coverage["lost_images"]:
    lines.append(
      f"{coverage['objects']} of {coverage['of']} objects used; {len(lost)} images "
      f"cannot be: {_told(lost)}"
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


def _told(lost: dict[str, str]) -> str:
  return join_first(f"{name} ({problem})" for name, problem in lost.items())
