"""Keypoints marked on the animals among the stamps of Tux Paint.

The stamps (Debian's package tuxpaint-stamps-default 2022.06.04, GPL-2) are photographs
without backgrounds; the package ships the keypoints alone. They were marked by eye on a
grid, to about 2 % of the longer side. Left and right are the animal's own.
"""

import csv
import pathlib
from typing import NamedTuple

from fskd_jax.data.sides import mirror_name

FILE = pathlib.Path(__file__).with_name("labels.csv")


class Marked(NamedTuple):
  """A stamp with keypoints.

  Attributes:
    file: Its path below the folder of the stamps.
    group: Its kind of animal: "bird", "fish", "insect" or "quadruped".
    keypoints: (x, y) by name of those that can be seen, pixels of the stamp.
  """

  file: str
  group: str
  keypoints: dict[str, tuple[float, float]]


def read() -> list[Marked]:
  """Returns the marked stamps, in the order of their file names."""
  stamps: dict[str, Marked] = {}
  with open(FILE, newline="") as file:
    for row in csv.DictReader(file):
      stamp = stamps.setdefault(row["file"], Marked(row["file"], row["group"], {}))
      stamp.keypoints[row["keypoint"]] = float(row["x"]), float(row["y"])
  return [stamps[name] for name in sorted(stamps)]


def names(stamps: list[Marked]) -> dict[str, list[str]]:
  """Returns the keypoint names of each group, in the order of their appearance.

  Both sides are there even if only one was marked: a mirrored picture shows the other.
  """
  found: dict[str, dict[str, None]] = {}
  for stamp in stamps:
    both = (side for x in stamp.keypoints for side in (x, mirror_name(x)))
    found.setdefault(stamp.group, {}).update(dict.fromkeys(both))
  return {group: list(found[group]) for group in sorted(found)}
