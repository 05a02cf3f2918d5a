"""Checks the image files of a data set: present, sound, as annotated, and seen."""

import collections
import hashlib
import pathlib
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from fskd_jax.data import depth, images, names
from fskd_jax.data.checks.findings import ERROR, NOTE, WARNING, Case

SQUARE = (
  "images that EXIF data turns, whose size does not tell whether the labels are of the "
  "turned picture: `mogrify -auto-orient FILE` stores it turned, `exiftool "
  "-Orientation= FILE` forgets the turn"
)
TURNED = "images that EXIF data turns: labels and pixels are of the turned picture"
DEEP = "images of more than 8 bits: the values that become black and white"
DEPTHS = (
  "images whose greys mean different brightness, because each is scaled by the bits "
  "that it uses"
)
CUT = (
  "images that are nearly all black or white: was their depth cut off by a conversion?"
)
_CUT = 0.95  # part of the pixels


MISSING = "images that are missing: training leaves them out, with their labels"
SAME = "images with the same bytes: training and test may each get one of them"
SHARED = "images in several splits: a detector is tested on what it was trained on"


def findings(
  root: pathlib.Path,
  entries: Mapping[str, Mapping[str, Any]],
  splits: Mapping[str, Collection[str]],
  labelled: Container[str],
  progress: Callable[[Iterable], Iterable],
) -> Iterator[Case]:
  """Decodes every image, and yields what is wrong or doubtful.

  Args:
    root: The folder of the images.
    entries: Their entries in the labels, with width and height, by name.
    splits: The splits that list an image, by name; empty where files are no splits.
    labelled: The names of images with labels. Others may be missing.
    progress: A wrapper of the iterable of images, to show progress.
  """
  for name, several in splits.items():
    if len(several) > 1:
      yield Case(ERROR, SHARED, f"{name}: {', '.join(sorted(several))}")
  is_any = any((root / name).is_file() for name in entries)
  there = {str(file.relative_to(root)): file for file in images.below(root)}
  by_lower = {name.lower(): name for name in there}
  outside = {*names.outside(root, entries)}
  digests: dict[str, str] = {}
  whites: dict[str, float] = {}
  for name, entry in progress(list(entries.items())):
    if not (root / name).is_file():
      other = by_lower.get(name.lower())
      hint = f" (there is {other})" if other else ""
      if name in labelled:
        yield Case(WARNING if is_any else ERROR, MISSING, name + hint)
      else:
        yield Case(NOTE, "images without labels that are missing", name + hint)
      continue
    if name in outside:
      yield Case(ERROR, "images that are links out of their folder", name)
      continue
    data = (root / name).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if other := digests.get(digest):
      both = {*splits.get(name, ()), *splits.get(other, ())}
      case = f"{name} = {other}" + f" ({', '.join(sorted(both))})" * bool(both)
      yield Case(*((ERROR, SHARED) if len(both) > 1 else (WARNING, SAME)), case)
    digests.setdefault(digest, name)
    try:
      yield from _picture(name, data, (entry["width"], entry["height"]), whites)
    except images.ImageError as error:
      yield Case(ERROR, "images that cannot be decoded", str(error))
  yield from _depths(whites)
  for name in sorted(set(there) - set(entries)):
    yield Case(NOTE, "image files that no annotation file names", name)


def _picture(
  name: str, data: bytes, expected: tuple[int, int], whites: dict[str, float]
) -> Iterator[Case]:
  """Yields what is found in one image; adds the value of white of a deep one.

  Raises:
    ImageError: It cannot be decoded.
  """
  with images.opened(data, name) as image:
    turned, stored = images.is_turned(image), image.size
    shown = images.shown_size(image)
    deep = depth.is_deep_color(image) or image.mode[0] in "IF"
    if deep and not depth.is_deep_color(image):
      low, whites[name] = depth.limits(np.asarray(image), name)
      yield Case(NOTE, DEEP, f"{name}: {low:g} and {whites[name]:g}")
    elif deep:
      yield Case(NOTE, DEEP, f"{name}: 16 bits in each colour")
    pixels = np.asarray(images.pixels(image, name).convert("L"))
  if shown != expected:
    hint = images.OF_STORED_PIXELS if stored == expected else ""
    yield Case(
      ERROR,
      "images of another size than annotated",
      f"{name}: {shown[0]} x {shown[1]}, annotated {expected[0]} x {expected[1]}{hint}",
    )
  elif turned and shown[0] == shown[1]:
    yield Case(ERROR, SQUARE, name)
  elif turned:
    yield Case(WARNING, TURNED, name)
  ends = float(np.isin(pixels, (0, 255)).mean())
  if ends >= _CUT:
    yield Case(WARNING, CUT, f"{name}: {ends:.0%} of the pixels")


def _depths(whites: Mapping[str, float]) -> Iterator[Case]:
  counts = collections.Counter(whites.values())
  if len(counts) > 1:
    said = ", ".join(f"{count} with white at {at:g}" for at, count in counts.items())
    yield Case(WARNING, DEPTHS, said)
