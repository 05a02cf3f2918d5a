"""The classes of faults, by name."""

from collections.abc import Callable, Iterator

from benchmarks.reliability import (
  annotations,
  configuration,
  damage,
  demo,
  disks,
  images,
  interruptions,
  labels,
  processes,
  repetition,
  weights,
  workdirs,
)
from benchmarks.reliability.trial import Place, Trial

CLASSES: dict[str, tuple[str, Callable[[Place], Iterator[Trial]]]] = {
  "kill": ("SIGKILL of a training, then resumed", interruptions.killed),
  "interrupt": ("Ctrl-C and SIGTERM, then resumed", interruptions.interrupted),
  "disk": ("full disk", disks.full),
  "changing": ("disk that turns read-only, is unmounted or slow", disks.changing),
  "readonly": ("workdir that cannot be written", disks.read_only),
  "names": ("names of workdirs", workdirs.names),
  "damage": ("files of a checkpoint damaged", damage.checkpoints),
  "flips": ("bytes of checkpoints and exported detectors flipped", damage.flips),
  "two": ("two trainings on one workdir", workdirs.two_trainings),
  "reading": ("reading while a training writes", workdirs.reading),
  "metrics": ("metrics.jsonl damaged", disks.damaged_lines),
  "notfinite": ("losses that are not finite", configuration.not_finite),
  "numbers": ("wrong numbers in the configuration", configuration.numbers),
  "differing": ("two processes that differ", processes.differing),
  "cold": ("two processes, cold cache", processes.cold_cache),
  "lost": ("lost processes", processes.lost),
  "labels": ("files of labels, mutated", labels.mutated),
  "handmade": ("files of labels, hand-made", labels.hand_made),
  "weights": ("files of weights", weights.files),
  "images": ("images for fskd predict", images.predicted),
  "keys": ("keypoints, boxes, least confidence", annotations.read),
  "filenames": ("file names for fskd predict", images.file_names),
  "videos": ("videos damaged or cut", images.videos),
  "demo": ("demo", demo.visited),
  "memory": ("repeated predictions in one process", repetition.predictions),
  "repeats": ("reproducibility", repetition.reproduced),
}
"""For each name: what it is, and what gives its trials."""
