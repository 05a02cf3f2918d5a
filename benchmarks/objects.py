"""Measures the search for several objects, on objects put side by side.

  python -m benchmarks.objects --root ../shared/data --sources doors --supports 5

Each image holds two or three annotated objects, cut out with a margin and scaled to one
height. An object is found where a prediction has half of its keypoints within a tenth
of its longer box side; each prediction counts for one object. PCK is that of the
objects found. The support are objects with all keypoints, evenly spaced, which are in
none of the images.
"""

import argparse
import pathlib

import numpy as np
from PIL import Image

import fskd_jax
from fskd_jax.data import images
from fskd_jax.data.any_labels import read_dataset

HEIGHT, MARGIN = 120, 0.15


def main() -> None:
  parser = argparse.ArgumentParser("python -m benchmarks.objects")
  parser.add_argument("--root", required=True, type=pathlib.Path)
  parser.add_argument("--sources", nargs="+", required=True)
  parser.add_argument("--images", type=int, default=20)
  parser.add_argument("--supports", type=int, default=1)
  args = parser.parse_args()
  detector = fskd_jax.load()
  for source in args.sources:
    dataset = read_dataset(args.root / source)
    for count in (2, 3):
      row = _measure(detector, dataset, count, args.images, args.supports)
      print(f"{source}, {count} objects, {args.images} images: {row}", flush=True)


def _measure(detector, dataset, count: int, number: int, supports: int) -> str:
  rng = np.random.default_rng(0)
  whole = [i for i in dataset.instances if i.visible.all()]
  spacing = len(whole) // supports
  marked, whole = whole[::spacing][:supports], _without(whole, spacing)
  support = detector.support(
    [images.decode(dataset.read_image(i.image), "support") for i in marked],
    [dict(zip(dataset.keypoint_names, map(tuple, i.keypoints))) for i in marked],
    [i.box for i in marked],
  )
  found = total = right = 0
  shares = []
  for _ in range(number):
    chosen = rng.choice(len(whole), count, replace=False)
    parts = [_cut(dataset, whole[i]) for i in chosen]
    offsets = np.cumsum([0, *(part[0].shape[1] for part in parts)])
    image = np.concatenate([part[0] for part in parts], axis=1)
    prediction = detector.predict(support, [image], objects=None)
    within = np.stack([
      np.linalg.norm(prediction.keypoints - points - [x, 0], axis=-1) <= 0.1 * side
      for (_, points, side), x in zip(parts, offsets)
    ]).mean(-1)  # fmt: skip
    found, total = found + len(prediction), total + count
    while within.size and within.max() >= 0.5:
      place = np.unravel_index(within.argmax(), within.shape)
      shares.append(within[place])
      right += 1
      within = np.delete(np.delete(within, place[0], 0), place[1], 1)
  pck = 100 * np.mean(shares) if shares else np.nan
  return (
    f"precision {100 * right / found:.0f} %, recall {100 * right / total:.0f} %, "
    f"PCK@0.1 {pck:.0f} %"
  )


def _without(whole: list, spacing: int) -> list:
  """Returns the objects that are no support."""
  return [instance for i, instance in enumerate(whole) if i % spacing]


def _cut(dataset, instance) -> tuple[np.ndarray, np.ndarray, float]:
  """Returns an object at `HEIGHT`, its keypoints, and its longer box side."""
  pixels = images.decode(dataset.read_image(instance.image), "query")
  x, y, w, h = instance.box
  margin, (height, width) = MARGIN * max(w, h), pixels.shape[:2]
  left, top = int(max(x - margin, 0)), int(max(y - margin, 0))
  right, bottom = int(min(x + w + margin, width)), int(min(y + h + margin, height))
  scale = HEIGHT / (bottom - top)
  picture = Image.fromarray(pixels[top:bottom, left:right])
  picture = picture.resize((max(round((right - left) * scale), 8), HEIGHT))
  zoom = picture.width / (right - left), scale
  return (
    np.asarray(picture),
    (instance.keypoints - [left, top]) * zoom,
    max(w, h) * scale,
  )


if __name__ == "__main__":
  main()
