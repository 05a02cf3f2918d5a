"""A fish from the side; the unit of length is half the body."""

from collections.abc import Callable

import numpy as np

from fskd_jax.data.creatures.skeleton import PATTERNED, Builder
from fskd_jax.data.creatures.species import Color
from fskd_jax.data.figures import looks

KEYPOINTS = (
  *("mouth", "left eye", "right eye", "gill", "dorsal fin front", "dorsal fin end"),
  *("pelvic fin", "anal fin", "tail fin base", "tail fin top", "tail fin bottom"),
)


def pose(build: Builder, rng: np.random.Generator) -> None:
  """Adds a fish, x forward, y up, z to the fish's right."""
  color, fins = looks.any_color(rng), looks.any_color(rng)
  height, bend = rng.uniform(0.22, 0.6), rng.normal(0, 0.12)
  spine = lambda x: np.array([x, 0.0, bend * (x - 0.3) ** 2])
  stations = np.linspace(0.85, -0.8, 9)
  radii = height * np.clip(1.05 - 0.85 * np.abs(stations - 0.15) ** 1.6, 0.16, 1)
  # Balls above each other instead of one: a fish is higher than wide.
  for shift in (-0.45, 0.0, 0.45):
    for i in range(8):
      start, end = spine(stations[i]), spine(stations[i + 1])
      lift = np.array([0, shift, 0])
      build.capsule(
        start + radii[i] * lift, end + radii[i + 1] * lift,
        0.6 * radii[i], 0.6 * radii[i + 1], color, PATTERNED, 0.2 * i,
      )  # fmt: skip
  mouth = spine(0.85) + [0.6 * radii[0] + 0.03, -0.1 * height, 0]
  build.keypoint("mouth", mouth, 0.2)
  build.keypoint("gill", spine(0.45), height)
  for name, sign in (("left", -1), ("right", 1)):
    eye = spine(0.68) + [0, 0.3 * height, sign * 0.42 * height]
    build.ball(eye, 0.07, (230, 224, 200))
    build.ball(eye + [0.01, 0, sign * 0.04], 0.045, (20, 20, 24))
    build.keypoint(f"{name} eye", eye, 0.12)
  base, tall = spine(-0.85), rng.uniform(0.25, 0.6)
  for share in np.linspace(-1, 1, 9):
    back = 0.45 - 0.2 * rng.uniform(0, 1) * (1 - abs(share))
    end = base + [-back, share * tall, bend * 0.4]
    build.capsule(base, end, 0.05, 0.035, fins)
  for name, share in (("top", 1), ("bottom", -1)):
    build.keypoint(f"tail fin {name}", base + [-0.45, share * tall, bend * 0.4], 0.2)
  build.keypoint("tail fin base", base, 0.2)
  front, end = rng.uniform(0.15, 0.45), rng.uniform(-0.6, -0.1)
  _fin(build, (front, end), 1, rng.uniform(0.12, 0.4), (spine, height), fins)
  build.keypoint("dorsal fin front", spine(front) + [0, _edge(front, height), 0], 0.2)
  build.keypoint("dorsal fin end", spine(end) + [0, _edge(end, height), 0], 0.2)
  for name, place in (("pelvic", 0.25), ("anal", -0.45)):
    depth = rng.uniform(0.1, 0.28)
    _fin(build, (place, place - 0.18), -1, depth, (spine, height), fins)
    tip = spine(place - 0.25) - [0, _edge(place - 0.18, height) + depth, 0]
    build.keypoint(f"{name} fin", tip, 0.2)


def _edge(x: float, height: float) -> float:
  """Returns the distance of the outline from the spine."""
  return height * float(np.clip(1.05 - 0.85 * abs(x - 0.15) ** 1.6, 0.16, 1))


def _fin(
  build: Builder,
  span: tuple[float, float],
  sign: int,
  depth: float,
  body: tuple[Callable[[float], np.ndarray], float],
  color: Color,
) -> None:
  """Adds a fin of thin rays above (sign 1) or below the spine of a body."""
  spine, height = body
  for x in np.linspace(*span, 6):
    start = spine(x) + [0, sign * 0.85 * _edge(x, height), 0]
    end = spine(x - 0.08) + [0, sign * (_edge(x, height) + depth), 0]
    build.capsule(start, end, 0.05, 0.03, color)


def turn(rng: np.random.Generator) -> tuple[float, float, float]:
  """Returns yaw, pitch and roll of the view, degrees."""
  return rng.normal(0, 25) + 180 * rng.integers(2), rng.normal(0, 12), rng.normal(0, 25)
