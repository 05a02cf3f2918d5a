"""A person in clothes, in any pose; the unit of length is the trunk, hips to neck."""

import numpy as np

from fskd_jax.data.creatures.pose import down
from fskd_jax.data.creatures.skeleton import PATTERNED, PLAIN, Builder
from fskd_jax.data.creatures.species import Color
from fskd_jax.data.figures import looks

_JOINTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
KEYPOINTS = (
  *("head top", "neck", "nose", "left eye", "right eye", "left ear", "right ear"),
  *(f"{side} {joint}" for joint in _JOINTS for side in ("left", "right")),
)


def pose(build: Builder, rng: np.random.Generator) -> None:
  """Adds a person, x forward, y up, z to the person's right."""
  size = lambda length: length * rng.uniform(0.88, 1.12)
  skin, trousers = looks.skin(rng), looks.any_color(rng)
  shirt = looks.any_color(rng)
  lean, side = rng.normal(8, 18), rng.normal(0, 9)
  up = -down(-lean, side)
  right = np.array([0.0, 0.0, 1.0]) - up[2] * up
  right /= np.linalg.norm(right)
  forward = np.cross(up, right)
  neck, hips, shoulders = up, size(0.16), size(0.28)
  _trunk(build, neck, right, (hips, shoulders), (shirt, trousers))
  _head(build, neck, (forward, up, right), skin, rng)
  has_sleeves, has_legs = rng.random(2) < 0.6
  sleeve = shirt if has_sleeves else skin
  trouser = trousers if has_legs else skin
  shoe = looks.any_color(rng)
  for name, sign in (("left", -1), ("right", 1)):
    shoulder = 0.93 * neck + sign * shoulders * right
    angles = rng.normal(25, 50), sign * (abs(rng.normal(20, 40)) - 8)
    bend = rng.uniform(0, 120)
    elbow = shoulder + size(0.56) * down(*angles)
    wrist = elbow + size(0.5) * down(angles[0] + bend, 0.6 * angles[1])
    hand = wrist + 0.16 * down(angles[0] + bend, 0.6 * angles[1])
    build.capsule(shoulder, elbow, 0.1, 0.075, shirt, PATTERNED if has_sleeves else 0)
    build.capsule(elbow, wrist, 0.07, 0.045, sleeve, PLAIN)
    build.capsule(wrist, hand, 0.055, 0.045, skin)
    hip = sign * hips * right
    angles = rng.normal(12, 32), sign * abs(rng.normal(5, 12))
    bend = abs(rng.normal(15, 40))
    knee = hip + size(0.8) * down(*angles)
    ankle = knee + size(0.78) * down(angles[0] - bend, 0.8 * angles[1])
    toe = ankle + 0.26 * down(angles[0] - bend + 75, 0.8 * angles[1])
    build.capsule(hip, knee, 0.15, 0.1, trousers)
    build.capsule(knee, ankle, 0.095, 0.06, trouser)
    build.capsule(ankle, toe, 0.075, 0.06, shoe)
    joints = zip(_JOINTS, (shoulder, elbow, wrist, hip, knee, ankle))
    for joint, point in joints:
      build.keypoint(f"{name} {joint}", point, 0.17)


def _trunk(
  build: Builder,
  neck: np.ndarray,
  right: np.ndarray,
  widths: tuple[float, float],
  colors: tuple[Color, Color],
) -> None:
  (hips, shoulders), (shirt, trousers) = widths, colors
  build.capsule(-0.8 * hips * right, 0.8 * hips * right, 0.17, 0.17, trousers)
  build.capsule(0.1 * neck, 0.75 * neck, 0.19, 0.22, shirt, PATTERNED)
  for sign in (-1, 1):
    build.capsule(
      0.75 * neck,
      0.9 * neck + sign * 0.9 * shoulders * right,
      0.17,
      0.1,
      shirt,
      PATTERNED,
    )


def _head(
  build: Builder,
  neck: np.ndarray,
  frame: tuple[np.ndarray, np.ndarray, np.ndarray],
  skin: Color,
  rng: np.random.Generator,
) -> None:
  turn, nod = np.radians(rng.normal(0, 30)), np.radians(rng.normal(5, 18))
  forward, up, right = frame
  forward, right = (
    np.cos(turn) * forward + np.sin(turn) * right,
    np.cos(turn) * right - np.sin(turn) * forward,
  )
  forward, up = (
    np.cos(nod) * forward - np.sin(nod) * up,
    np.cos(nod) * up + np.sin(nod) * forward,
  )
  center = 1.0 * neck + 0.28 * up + 0.05 * forward
  at = lambda x, y, z: center + x * forward + y * up + z * right
  build.capsule(0.95 * neck, center, 0.085, 0.085, skin)
  build.ball(center, 0.16, skin)
  build.capsule(at(0.02, 0, 0), at(0.06, -0.09, 0), 0.15, 0.1, skin)
  hair = looks.hair(rng)
  if rng.random() < 0.85:
    build.capsule(at(-0.05, 0.02, 0), at(0, 0.07, 0), 0.155, 0.14, hair)
  if rng.random() < 0.3:
    build.capsule(at(-0.1, 0, 0), at(-0.12, -0.3, 0), 0.11, 0.08, hair)
  build.capsule(at(0.16, 0.01, 0), at(0.185, -0.03, 0), 0.02, 0.028, skin)
  build.capsule(
    at(0.145, -0.085, -0.035), at(0.145, -0.085, 0.035), 0.012, 0.012, (150, 80, 78)
  )
  build.keypoint("nose", at(0.2, -0.03, 0), 0.05)
  build.keypoint("head top", at(0, 0.17, 0), 0.16)
  build.keypoint("neck", 0.95 * neck, 0.16)
  for name, sign in (("left", -1), ("right", 1)):
    build.ball(at(0.14, 0.03, sign * 0.06), 0.022, (40, 34, 32))
    build.ball(at(-0.01, -0.01, sign * 0.16), 0.035, skin)
    build.keypoint(f"{name} eye", at(0.15, 0.03, sign * 0.06), 0.05)
    build.keypoint(f"{name} ear", at(-0.01, -0.01, sign * 0.18), 0.06)


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
  """Returns yaw, pitch and roll of the view, degrees."""
  roll = rng.normal(0, 14) if rng.random() < 0.88 else rng.uniform(-180, 180)
  return rng.normal(-90, 70), rng.normal(6, 14), roll
