"""Goes the whole way from one marked image to a trained detector, by the commands.

  python -m benchmarks.own_labels.story --root ../shared/data --source doors \
      --folder runs/story_doors

Half of the clips are labelled, the other half is new; where file names show no clips,
the images are halved in their order. Every command of docs/thirty-frames.md is run, as
written there, on 1, 5, 10 and 30 labels, and its time is printed beside PCK@0.1 in % on
the new images: ± is a 95 % interval over the images. Nobody gives boxes.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np

from benchmarks.own_labels.sources import cell, copied, halves
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.files import read_json

LABELS = 1, 5, 10, 30


def main() -> None:
  """Prints the commands and the table."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--root", type=pathlib.Path, required=True)
  parser.add_argument("--source", required=True)
  parser.add_argument("--folder", type=pathlib.Path, required=True)
  parser.add_argument("--test", type=int, default=40, help="new images, at most")
  parser.add_argument("--minutes", type=float, default=2.0, help="of a training")
  parser.add_argument("--whole-images", action="store_true")
  args = parser.parse_args()
  folder, more = args.folder, ["--whole-images"] * args.whole_images
  pool, new = halves(args.root / args.source, max(LABELS), args.test)
  counts = [*dict.fromkeys(min(count, len(pool.instances)) for count in LABELS)]
  copied(new, folder / "new")
  for count in counts:
    copied(pool, folder / f"labels_{count}", range(count))

  def measure(name: str, *words: str) -> None:
    out = str(folder / f"found_{name}")
    new_images = str(folder / "new" / "images")
    seconds = _run("predict", *words, "--query", new_images, *more, "--out", out)
    score = _score(new, folder / f"found_{name}")
    print(f"| {name} | {score} | {seconds:.0f} s |", flush=True)

  def adapt(count: int) -> None:
    labels, run = str(folder / f"labels_{count}"), str(folder / f"adapted_{count}")
    minutes = ["--minutes", str(args.minutes)]
    seconds = _run("adapt", "--data", labels, "--workdir", run, *minutes)
    print(f"adapted to {count} labels in {seconds / 60:.1f} minutes", flush=True)
    measure(f"adapted_{count}", "--workdir", run)

  for count in counts:
    images = sorted((folder / f"labels_{count}" / "images").iterdir())
    marked = ["--support", *map(str, images), "--keypoints"]
    measure(f"support_{count}", *marked, str(folder / f"labels_{count}"))
  adapt(5)
  labels, run = str(folder / f"labels_{counts[-1]}"), str(folder / "trained")
  frames = ["--frames", str(folder / "new" / "images"), "--number", "10", *more]
  begun = ["--data", str(folder / "labels_10")]
  _run("suggest", *begun, *frames, "--out", str(folder / "next"))
  _run("data", "check", "--data", labels, "--out", str(folder / "doubts"))
  adapt(counts[-1])
  minutes = ["--minutes", str(args.minutes)]
  seconds = _run("train", "--data", labels, "--workdir", run, *minutes)
  print(f"trained on {counts[-1]} labels in {seconds / 60:.1f} minutes", flush=True)
  measure(f"trained_{counts[-1]}", "--workdir", run)


def _run(*words: str) -> float:
  """Runs a command of fskd, which may print; returns its seconds."""
  print(f"$ fskd {shlex.join(words)}", flush=True)
  begin = time.perf_counter()
  subprocess.run([sys.executable, "-m", "fskd_jax", *words], check=True)
  return time.perf_counter() - begin


def _score(new: KeypointDataset, found: pathlib.Path) -> str:
  """Returns PCK@0.1 of the predictions of a folder, and its interval."""
  content = read_json(found / "predictions.json")
  image = {entry["id"]: entry["file_name"] for entry in content["images"]}
  places = {image[x["image_id"]]: x["keypoints"] for x in content["annotations"]}
  names = content["categories"][0]["keypoints"]
  order = [names.index(name) for name in new.keypoint_names]
  shares = []
  for instance in new.instances:
    values = np.array(places[pathlib.Path(new.image_names[instance.image]).name])
    points = values.reshape(-1, 3)[order, :2]
    away = np.linalg.norm(points - instance.keypoints, axis=-1)[instance.visible]
    shares.append(np.mean(away <= 0.1 * max(instance.box[2:])))
  return cell(np.array(shares))


if __name__ == "__main__":
  main()
