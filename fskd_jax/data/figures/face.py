"""A person's head from the front; the unit of length is the radius of the skull."""

import numpy as np

from fskd_jax.data.creatures.skeleton import PATTERNED, Builder
from fskd_jax.data.figures import looks

_SIDED = ("eye", "inner eye corner", "outer eye corner", "inner brow", "outer brow")
KEYPOINTS = (
  *(f"{side} {part}" for part in _SIDED for side in ("left", "right")),
  *("left ear", "right ear", "nose bridge", "nose tip", "upper lip", "lower lip"),
  *("left mouth corner", "right mouth corner", "left nostril", "right nostril", "chin"),
)


def pose(build: Builder, rng: np.random.Generator) -> None:
  """Adds a head, x forward, y up, z to the person's right."""
  skin, hair = looks.skin(rng), looks.hair(rng)
  vary = lambda value, spread=0.03: value + rng.normal(0, spread)
  at = lambda x, y, z: np.array([x, y, z])
  jaw = vary(-0.55, 0.06)
  build.ball(at(0, 0, 0), 1.0, skin)
  build.capsule(at(0.1, -0.2, 0), at(0.25, jaw, 0), 0.85, vary(0.55, 0.06), skin)
  build.capsule(at(-0.2, -0.8, 0), at(-0.25, -1.9, 0), 0.5, 0.55, skin)
  cloth = looks.any_color(rng)
  build.capsule(at(-0.2, -2.0, -0.9), at(-0.2, -2.0, 0.9), 0.5, 0.5, cloth, PATTERNED)
  if rng.random() < 0.9:
    build.capsule(at(-0.25, 0.2, 0), at(-0.05, 0.4, 0), 0.95, 0.9, hair)
  if rng.random() < 0.35:
    for z in (-0.75, 0.75):
      build.capsule(at(-0.2, 0.2, z), at(-0.25, -1.2, z), 0.4, 0.3, hair)
  if rng.random() < 0.2:  # a beard
    build.capsule(at(0.25, jaw - 0.05, 0), at(0.4, jaw - 0.15, 0), 0.55, 0.4, hair)
  eyes, mouth = vary(0.1), vary(-0.55, 0.04)
  tip = at(vary(1.22, 0.04), vary(-0.2, 0.04), 0)
  build.capsule(at(0.93, eyes + 0.05, 0), tip, 0.1, 0.13, skin)
  build.keypoint("nose tip", tip + at(0.13, 0, 0), 0.2)
  build.keypoint("nose bridge", at(1.03, eyes + 0.05, 0), 0.2)
  gap, width = abs(rng.normal(0, 0.07)), vary(0.3, 0.04)
  lip = looks.shade_of((188, 96, 92), rng.uniform(0.6, 1.1))
  front = 0.86
  for y, name in ((mouth + gap / 2 + 0.05, "upper"), (mouth - gap / 2 - 0.05, "lower")):
    for z in (-width, width):
      build.capsule(at(front - 0.1, mouth, z), at(front, y, 0), 0.035, 0.06, lip)
    build.keypoint(f"{name} lip", at(front + 0.05, y, 0), 0.2)
  if gap > 0.05:
    build.capsule(
      at(front - 0.06, mouth, -width / 2), at(front - 0.06, mouth, width / 2),
      gap / 2, gap / 2, (60, 24, 26),
    )  # fmt: skip
  build.keypoint("chin", at(0.62, jaw - 0.45, 0), 0.3)
  spacing, opening = vary(0.38), rng.uniform(0.05, 0.1)
  iris = looks.shade_of(looks.any_color(rng), 0.6)
  for name, sign in (("left", -1), ("right", 1)):
    z = sign * spacing
    inner, outer = at(0.9, eyes, z - sign * 0.13), at(0.78, eyes, z + sign * 0.16)
    build.capsule(inner, outer, opening, opening, (236, 232, 226))
    look = at(0.86 + 0.05, eyes, z + rng.normal(0, 0.02))
    build.ball(look, 0.075, iris)
    build.ball(look + at(0.05, 0, 0), 0.04, (20, 18, 18))
    build.keypoint(f"{name} eye", look, 0.15)
    build.keypoint(f"{name} inner eye corner", inner, 0.18)
    build.keypoint(f"{name} outer eye corner", outer, 0.18)
    height = eyes + vary(0.27, 0.03)
    start, end = (
      at(0.93, height, z - sign * 0.18),
      at(0.76, height + 0.03, z + sign * 0.2),
    )
    build.capsule(start, end, 0.045, 0.03, looks.shade_of(hair, 0.8))
    build.keypoint(f"{name} inner brow", start, 0.15)
    build.keypoint(f"{name} outer brow", end, 0.15)
    ear = at(-0.05, -0.05, sign * 1.0)
    build.capsule(ear + at(0, 0.15, 0), ear - at(0, 0.15, 0), 0.13, 0.09, skin)
    build.keypoint(f"{name} ear", ear, 0.2)
    build.keypoint(f"{name} mouth corner", at(front - 0.08, mouth, sign * width), 0.18)
    build.ball(tip + at(-0.08, -0.05, sign * 0.13), 0.09, skin)
    build.keypoint(f"{name} nostril", tip + at(-0.02, -0.08, sign * 0.13), 0.15)


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
  """Returns yaw, pitch and roll of the view, degrees."""
  return rng.normal(-90, 35), rng.normal(0, 14), rng.normal(0, 16)
