"""The least that problems cost by formula, and how far a measured time is from it.

A multiplication and an addition are two operations. Bytes are float32 weights, and
every layer's inputs and outputs once: what it takes if layers are not fused. An input
or output takes `width` bytes: 4, and 2 in bfloat16.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.problem import Work
from fskd_jax.models.resnet import STAGES

CHANNELS = 2048
"""Of ResNet-50 at stride 32."""

WIDTHS = {"float32": 4, "tf32": 4, "bfloat16": 2}
"""Bytes of an activation."""


def distance(
  work: Work, peak: Mapping[str, float], seconds: Mapping[str, float]
) -> dict[str, Any]:
  """Compares medians with the time that the work takes at the machine's peak.

  Args:
    work: of the problem.
    peak: "flops" and "bytes" per second.
    seconds: by side.
  """
  arithmetic, traffic = work.flops / peak["flops"], work.bytes / peak["bytes"]
  least = max(arithmetic, traffic)
  return {
    "flops": work.flops,
    "bytes": work.bytes,
    "seconds": least,
    "bound": "arithmetic" if arithmetic >= traffic else "memory",
    "times": {name: found / least for name, found in seconds.items()},
  }


def resnet(
  side: int, images: int, blocks: Sequence[int] = (3, 4, 6, 2), width: int = 4
) -> dict[str, Work]:
  """Counts a pass through ResNet-50, stage by stage; `side` of square images."""
  side //= 2
  convolution = functools.partial(_convolution, images=images, width=width)
  works = {"stem": convolution(3, 64, 7, (2 * side, side))}
  side, channels = side // 2, 64
  for (stage, (narrow, _)), count in zip(STAGES.items(), blocks):
    work = Work(0, 0)
    for block in range(count):
      inner = side if stage == "layer1" or block else side // 2
      work += convolution(channels, narrow, 1, (side, side))
      work += convolution(narrow, narrow, 3, (side, inner))
      work += convolution(narrow, 4 * narrow, 1, (inner, inner))
      if channels != 4 * narrow:
        work += convolution(channels, 4 * narrow, 1, (side, inner))
      side, channels = inner, 4 * narrow
    works[stage] = work
  return works


def encoder(side: int, images: int) -> Work:
  """Counts a pass through the whole encoder."""
  return _total(resnet(side, images).values())


def training_step(
  side: int, episodes: int, images: int, keypoints: int, width: int = 4
) -> Work:
  """Counts a step that trains layer4 and the head; the rest is frozen.

  A backward pass does the work of a layer twice: for its input and for its weights.
  Adam reads parameters, gradients and two moments, and writes all but the gradients.
  """
  stages = resnet(side, episodes * images, width=width)
  one = head(side, keypoints, queries=images - 1, width=width)
  trained = 27_511_950 - 19_045_440 + 10_502_144
  update = Work(12 * trained, 7 * 4 * trained)
  return (
    _total(stages.values())
    + stages["layer4"].times(2)
    + one.times(3 * episodes)
    + update
  )


def head(
  side: int,
  keypoints: int,
  *,
  queries: int,
  shots: int = 1,
  sizes: Sequence[int] = (1, 3, 5),
  width: int = 4,
) -> Work:
  """Counts pooling, kernel generator, SMD and the up-sampling of one episode.

  The last layer of the CRM is applied to kernels or to queries, whichever is less.
  """
  cells, c, n = (side // 32) ** 2, CHANNELS, keypoints
  flops = 2.0 * shots * n * cells * c
  traffic = width * (shots + queries) * cells * c + 2 * 4.0 * c * c
  for size in sizes:
    taps = n * size * size
    hidden, detected = 2.0 * taps * c * c, 2.0 * queries * cells * taps * c
    on_queries = 2.0 * queries * cells * c * (c + size * size)
    flops += 2.0 * taps * c * (size > 1) + hidden + detected + min(hidden, on_queries)
    maps = queries * n * 4 * cells
    flops += maps * 2.0 * (25 + 3)
    traffic += width * (taps * c + maps)
  return Work(flops, traffic)


def mds(
  side: int, keypoints: int, *, queries: int, widths: Sequence[int] = (512, 512, 1024)
) -> Work:
  """Counts modulation and descriptor of one episode, see models/mds.py."""
  maps, cells = queries * keypoints, side // 32
  work = Work(maps * CHANNELS * cells**2, 2 * 4.0 * maps * CHANNELS * cells**2)
  channels, inner = CHANNELS, cells
  for width in widths:
    outer = math.ceil(inner / 2)
    work += _convolution(channels, width, 3, (inner, outer), maps)
    channels, inner = width, outer
  return work + _convolution(channels * inner**2, cells**2, 1, (1, 1), maps)


def _convolution(
  inputs: int,
  outputs: int,
  kernel: int,
  sides: tuple[int, int],
  images: int,
  width: int = 4,
) -> Work:
  weights = kernel * kernel * inputs * outputs
  read, written = (
    images * channels * side * side for channels, side in zip((inputs, outputs), sides)
  )
  moved = 4.0 * weights + width * (read + written)
  return Work(2.0 * weights * images * sides[1] ** 2, moved)


def _total(works: Any) -> Work:
  return sum(works, Work(0, 0))
