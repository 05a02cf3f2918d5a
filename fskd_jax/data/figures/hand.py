"""A left or right hand, open to closed; the unit of length is the palm."""

import numpy as np

from fskd_jax.data.creatures.skeleton import PATTERNED, PLAIN, Builder
from fskd_jax.data.creatures.species import Color
from fskd_jax.data.figures import looks

_FINGERS = ("index", "middle", "ring", "little")
_PARTS = ("base", "knuckle", "joint", "tip")
KEYPOINTS = (
  "wrist",
  *(f"{finger} {part}" for finger in ("thumb", *_FINGERS) for part in _PARTS),
)

_BASES = ((0.96, 0.31), (1.0, 0.1), (0.95, -0.1), (0.87, -0.28))  # y, z
_LENGTHS = ((0.46, 0.28, 0.22), (0.5, 0.32, 0.23), (0.46, 0.3, 0.22), (0.36, 0.22, 0.2))


def pose(build: Builder, rng: np.random.Generator) -> None:
  """Adds a hand, x out of the palm, y to the fingers, z to or from the thumb."""
  side = 1 if rng.random() < 0.5 else -1
  skin, width = looks.skin(rng), rng.uniform(0.85, 1.15)
  place = lambda x, y, z: np.array([x, y, side * z * width])
  wrist = place(0, 0, 0)
  build.keypoint("wrist", wrist, 0.2)
  if rng.random() < 0.8:
    cloth = looks.any_color(rng)
    build.capsule(wrist, place(0, -0.5, 0), 0.17, 0.19, skin)
    start = rng.uniform(0.15, 0.6)
    build.capsule(place(0, -start, 0), place(0, -1.0, 0), 0.24, 0.26, cloth, PATTERNED)
  curl, spread = rng.uniform(0, 70), rng.uniform(0, 12)
  for i, finger in enumerate(_FINGERS):
    base = place(0, *_BASES[i])
    build.capsule(place(0, 0.1, 0.5 * _BASES[i][1]), base, 0.15, 0.12, skin)
    bend = max(-8.0, curl + rng.normal(0, 18) + 60 * (rng.random() < 0.12))
    fan = side * ((1.5 - i) * spread + rng.normal(0, 3))
    _digit(build, finger, base, (bend, fan), _LENGTHS[i], 0.105, skin, rng)
  root = place(0.06, 0.22, 0.26)
  build.capsule(place(0, 0.1, 0.1), root, 0.16, 0.15, skin)
  angles = rng.uniform(-5, 45), side * rng.uniform(15, 65)
  _digit(build, "thumb", root, angles, (0.48, 0.36, 0.28), 0.115, skin, rng)


def _digit(
  build: Builder,
  name: str,
  base: np.ndarray,
  angles: tuple[float, float],
  lengths: tuple[float, ...],
  radius: float,
  skin: Color,
  rng: np.random.Generator,
) -> None:
  """Adds a finger from its base: bent towards the palm, fanned out sideways."""
  bend, fan = angles
  points, radii = [base], radius * np.array([1.0, 0.95, 0.85, 0.7])
  for number, length in enumerate(lengths):
    b, f = np.radians(bend), np.radians(fan)
    way = np.array([np.sin(b), np.cos(b) * np.cos(f), np.cos(b) * np.sin(f)])
    points.append(points[-1] + rng.uniform(0.92, 1.08) * length * way)
    bend += max(0.0, (0.8 if number == 0 else 0.5) * bend + rng.normal(4, 6))
  for i in range(3):
    build.capsule(points[i], points[i + 1], radii[i], radii[i + 1], skin, PLAIN)
  nail = points[3] - 0.25 * radius * np.array([1.0, 0, 0])
  build.ball(nail, 0.55 * radius, looks.shade_of(skin, 1.15))
  for part, point, r in zip(_PARTS, points, radii):
    build.keypoint(f"{name} {part}", point, 1.6 * r)


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
  """Returns yaw, pitch and roll of the view, degrees."""
  yaw = rng.choice([-90, 90]) + rng.normal(0, 40)
  return yaw, rng.normal(0, 30), rng.uniform(-180, 180)
