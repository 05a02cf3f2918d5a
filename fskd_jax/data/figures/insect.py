"""An insect with legs, antennae and wings; the unit of length is the thorax."""

import numpy as np

from fskd_jax.data.creatures.pose import direction
from fskd_jax.data.creatures.skeleton import PATTERNED, Builder
from fskd_jax.data.figures import looks

_LEGS = ("front", "middle", "back")
KEYPOINTS = (
  *("head", "thorax", "waist", "abdomen tip"),
  *(f"{side} {part}" for part in ("eye", "antenna", "wing tip")
    for side in ("left", "right")),
  *(f"{side} {leg} {part}" for leg in _LEGS for part in ("knee", "foot")
    for side in ("left", "right")),
)  # fmt: skip


def pose(build: Builder, rng: np.random.Generator) -> None:
  """Adds an insect, x forward, y up, z to the insect's right."""
  color, dark = looks.any_color(rng), looks.shade_of(looks.any_color(rng), 0.5)
  long, thick = rng.uniform(0.9, 2.6), rng.uniform(0.25, 0.55)
  head = np.array([0.75 + rng.normal(0, 0.05), rng.normal(0, 0.08), 0])
  size = rng.uniform(0.2, 0.34)
  build.capsule(
    np.array([-0.35, 0, 0]), np.array([0.35, 0, 0]), 0.35, 0.38, color, PATTERNED
  )
  build.ball(head, size, color)
  waist = np.array([-0.55, 0, 0])
  way = direction(180 + rng.normal(0, 12), rng.normal(0, 14))
  middle, tip = waist + 0.5 * long * way, waist + long * way
  build.capsule(waist, middle, 0.6 * thick, thick, color, PATTERNED)
  build.capsule(middle, tip, thick, 0.25 * thick, color, PATTERNED, 0.5 * long)
  build.keypoint("head", head, size)
  build.keypoint("thorax", np.zeros(3), 0.45)
  build.keypoint("waist", waist, thick)
  build.keypoint("abdomen tip", tip, thick)
  reach, leg = rng.uniform(0.6, 1.3), rng.uniform(0.035, 0.07)
  wings, glass = (
    rng.uniform(0, 85),
    looks.shade_of((215, 215, 205), rng.uniform(0.7, 1)),
  )
  wing = dark if rng.random() < 0.35 else glass
  length = rng.uniform(0.9, 2.4)
  for name, sign in (("left", -1), ("right", 1)):
    eye = head + [0.35 * size, 0.35 * size, sign * 0.7 * size]
    build.ball(eye, 0.45 * size, dark)
    build.keypoint(f"{name} eye", eye, 0.6 * size)
    feeler = head + [0.6 * size, 0.4 * size, sign * 0.3 * size]
    end = feeler + rng.uniform(0.3, 1.2) * direction(
      rng.normal(20, 20), sign * rng.uniform(5, 50)
    )
    build.capsule(feeler, end, 0.03, 0.025, dark)
    build.keypoint(f"{name} antenna", end, 0.1)
    heading = sign * (180 - rng.normal(wings, 4))
    root = np.array([0.1, 0.3, sign * 0.2])
    for k, share in enumerate((1.0, 0.85, 0.7)):
      far = root + share * length * direction(8 - 4 * k, heading + sign * 9 * k)
      build.capsule(root, far, 0.05, 0.12, wing)
      if k == 0:
        build.keypoint(f"{name} wing tip", far, 0.2)
    for number, kind in enumerate(_LEGS):
      out = sign * (50 + 42 * number + rng.normal(0, 9))
      start = np.array([0.25 - 0.25 * number, -0.2, sign * 0.2])
      knee = start + 0.6 * reach * direction(rng.normal(28, 10), out)
      foot = knee + reach * direction(rng.normal(-42, 10), out + rng.normal(0, 8))
      build.capsule(start, knee, leg, 0.8 * leg, dark)
      build.capsule(knee, foot, 0.7 * leg, 0.5 * leg, dark)
      build.keypoint(f"{name} {kind} knee", knee, 2 * leg)
      build.keypoint(f"{name} {kind} foot", foot, 2 * leg)


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
  """Returns yaw, pitch and roll of the view, degrees."""
  return rng.uniform(-180, 180), rng.uniform(5, 90), rng.normal(0, 20)
