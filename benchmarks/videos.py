"""Measures the following of objects in a video of drawn foxes that cross each other.

  python -m benchmarks.videos --folder runs/foxes --objects 2

Foxes walk to and fro through one scene and hide each other; the support is another fox.
The video is predicted by `fskd predict`, again with a kill after 70 % of the frames and
`--resume`, and some of its frames are searched each for itself. A fox is found where
the mean distance of its keypoints is below a fifth of its longer side; a switch is a
fox that gets another number than it had when it was found before.
"""

import argparse
import collections
import csv
import fractions
import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

import fskd_jax
from fskd_jax.data.creatures import pose, render, scene, skeleton
from fskd_jax.data.creatures.species import SPECIES
from fskd_jax.files import write_json, write_picture
from fskd_jax.prediction import files, videos
from fskd_jax.prediction.journal import JOURNAL

WIDTH, HEIGHT, RATE = 384, 216, 25
PHASES = 32
"""Pictures of a stride."""


class Sprite(NamedTuple):
  """A fox in one phase of its stride, `render.SIDE` pixels wide and high."""

  color: np.ndarray
  alpha: np.ndarray
  keypoints: np.ndarray


def main() -> None:
  """Draws, predicts and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--folder", type=pathlib.Path, required=True)
  parser.add_argument("--objects", type=int, default=2)
  parser.add_argument("--frames", type=int, default=2000)
  parser.add_argument("--searched", type=int, default=20, help="frames searched singly")
  parser.add_argument("--kill", action="store_true", help="kill and resume, too")
  args = parser.parse_args()
  clip = args.folder / "foxes.mp4"
  truth = draw(clip, args.frames, args.objects)
  objects = ["--objects", str(args.objects), "--smooth"]
  command = [sys.executable, "-m", "fskd_jax", "predict", "--query", str(clip)]
  command += ["--support", str(args.folder / "support.png"), *objects]
  command += ["--keypoints", str(args.folder / "support.json"), "--out"]
  whole = args.folder / "whole"
  subprocess.run([*command, str(whole)], check=True)
  print(followed(whole, truth), flush=True)
  if args.searched:
    print(searched(args.folder, args.searched, args.objects), flush=True)
  if args.kill:
    killed = args.folder / "killed"
    kill([*command, str(killed)], killed, int(0.7 * args.frames))
    subprocess.run([*command, str(killed), "--resume"], check=True)
    print("killed and resumed:", compared(whole, killed))


def draw(clip: pathlib.Path, frames: int, count: int) -> np.ndarray:
  """Writes a video and its support, and returns the keypoints [frames, count, n, 2]."""
  shutil.rmtree(clip.parent, ignore_errors=True)
  rng = np.random.default_rng(0)
  stage = Image.fromarray(scene.background(2 * WIDTH, rng)).resize((WIDTH, WIDTH))
  ground = np.asarray(stage)[:HEIGHT].astype(np.float32)
  strides = [stride(rng) for _ in range(count + 1)]
  marked = strides.pop()[0][0]
  support = np.asarray(stage)[-render.SIDE :, : render.SIDE].astype(np.float32)
  paste(support, marked, 0, 0)
  points = dict(zip(skeleton.KEYPOINTS, marked.keypoints.tolist()))
  clip.parent.mkdir(parents=True)
  write_picture(clip.parent / "support.png", support.astype(np.uint8))
  write_json(clip.parent / "support.json", points)
  truth = np.zeros((frames, count, len(skeleton.KEYPOINTS), 2))
  with videos.writing(clip, fractions.Fraction(RATE)) as add:
    for t in range(frames):
      picture = ground.copy()
      for i, both_ways in enumerate(strides):
        turn = 2 * np.pi * (t / (180 + 47 * i) + i / count)
        is_left = int(np.cos(turn) < 0)
        x = int((WIDTH - render.SIDE) * (0.5 + 0.5 * np.sin(turn)))
        y = int((HEIGHT - render.SIDE) * (0.5 + 0.4 * np.sin(0.37 * turn + i)))
        sprite = both_ways[is_left][t % PHASES]
        paste(picture, sprite, x, y)
        truth[t, i] = sprite.keypoints + [x, y]
      add(videos.Frame(picture.astype(np.uint8), t / RATE))
  return truth


def stride(rng: np.random.Generator) -> list[list[Sprite]]:
  """Returns a fox in all phases, between two poses: walking right, and left."""
  kind = next(kind for kind in SPECIES if kind.name == "fox")
  coat = kind.coats[rng.integers(len(kind.coats))]
  one, other = (pose.pose(kind, coat, rng) for _ in range(2))
  pattern = render.Pattern(kind.pattern, kind.pattern_size)
  seed, both_ways = int(rng.integers(1 << 30)), []
  for yaw in (15, 195):
    phases = []
    for phase in range(PHASES):
      share = 0.5 - 0.5 * np.cos(2 * np.pi * phase / PHASES)
      body = one._replace(
        **{
          name: (1 - share) * getattr(one, name) + share * getattr(other, name)
          for name in ("start", "end", "radii", "keypoints")
        }
      )
      same = np.random.default_rng(seed)  # place, size and coat
      body, view = render.fit(body, render.camera(yaw, 8, 0), same)
      surface = render.rasterize(body)
      drawn = np.zeros((render.DRAWN, render.DRAWN, 4), np.uint8)
      shades = render.shade(body, surface, view, pattern, coat, same)
      drawn[surface.rows, surface.columns, :3] = shades
      drawn[surface.rows, surface.columns, 3] = 255
      small = np.asarray(Image.fromarray(drawn).reduce(2), np.float32)
      alpha = small[..., 3:] / 255
      phases.append(Sprite(small[..., :3], alpha, (body.keypoints[:, :2] - 0.5) / 2))
    both_ways.append(phases)
  return both_ways


def paste(picture: np.ndarray, sprite: Sprite, x: int, y: int) -> None:
  """Draws a fox over a picture, its corner at (x, y)."""
  part = picture[y : y + render.SIDE, x : x + render.SIDE]
  part += sprite.alpha * (sprite.color - part)


def followed(folder: pathlib.Path, truth: np.ndarray) -> str:
  """Returns how many foxes were found, their PCK, and how often numbers changed."""
  rows = collections.defaultdict(list)
  names = list(skeleton.KEYPOINTS)
  with (folder / files.TABLE).open(encoding="utf-8") as file:
    for row in csv.DictReader(file):
      if row[f"{names[0]}.x"]:
        points = [(float(row[f"{n}.x"]), float(row[f"{n}.y"])) for n in names]
        rows[int(row["frame"])].append((int(row["object"]), points))
  found = switches = 0
  last: dict[int, int] = {}
  shares = []
  for t, foxes in enumerate(truth):
    if not rows[t]:
      continue
    numbers, points = zip(*rows[t])
    side = np.ptp(foxes, axis=1).max(-1)
    away = (
      np.linalg.norm(np.array(points)[:, None] - foxes[None], axis=-1) / side[:, None]
    )
    for row, fox in zip(*linear_sum_assignment(away.mean(-1))):
      if away[row, fox].mean() < 0.2:
        found += 1
        shares.append(np.mean(away[row, fox] < 0.1))
        switches += last.get(fox, numbers[row]) != numbers[row]
        last[fox] = numbers[row]
  total = truth.shape[0] * truth.shape[1]
  crossings = sum(
    int((np.diff(np.sign(a - b)) != 0).sum())
    for a, b in itertools.combinations(truth.mean(2)[..., 0].T, 2)
  )
  return (
    f"{truth.shape[0]} frames, {truth.shape[1]} foxes, {crossings} crossings: "
    f"{found / total:.1%} found, PCK@0.1 of those {np.mean(shares):.1%}, "
    f"{switches} switches"
  )


def searched(folder: pathlib.Path, count: int, objects: int) -> str:
  """Returns the rate at which frames are searched, each for itself."""
  detector = fskd_jax.load()
  marks = json.loads((folder / "support.json").read_text())
  support = detector.support([folder / "support.png"], [marks])
  with videos.reading(folder / "foxes.mp4") as video:
    frames = [frame.pixels for frame in itertools.islice(video.frames, count + 1)]
  detector.predict(support, frames[:1], objects=objects)  # compiles
  begin = time.perf_counter()
  for frame in frames[1:]:
    detector.predict(support, [frame], objects=objects)
  return f"searched singly: {count / (time.perf_counter() - begin):.2f} frames a second"


def kill(command: list[str], folder: pathlib.Path, frames: int) -> None:
  """Runs a command until so many frames are in its journal, and kills it."""
  with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
    journal = folder / JOURNAL
    while not journal.exists() or journal.read_bytes().count(b"\n") < frames:
      if process.poll() is not None:
        raise RuntimeError(f"ended with {process.returncode} before it was killed")
      time.sleep(0.5)
    process.send_signal(signal.SIGKILL)


def compared(one: pathlib.Path, other: pathlib.Path) -> str:
  """Returns how many files of two folders are the same to the byte."""
  contents = [
    {p.relative_to(f): p.read_bytes() for p in f.rglob("*") if p.is_file()}
    for f in (one, other)
  ]
  names = contents[0].keys() | contents[1].keys()
  same = sum(contents[0].get(name) == contents[1].get(name) for name in names)
  return f"{same} of {len(names)} files are the same to the byte"


if __name__ == "__main__":
  main()
