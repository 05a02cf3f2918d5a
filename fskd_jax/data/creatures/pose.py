"""Poses a creature with random proportions and joint angles, part by part.

The frame is that of `skeleton.Body`: x forward, y up, z to the creature's right.
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np

from fskd_jax.data.creatures.skeleton import (
  COATED,
  LEGS,
  PATTERNED,
  PLAIN,
  Body,
  Builder,
)
from fskd_jax.data.creatures.species import BLACK, LENGTHS, WHITE, Coat, Species

_SIDES = (("left", -1), ("right", 1))
_HORN, _ANTLER, _OSSICONE = (206, 196, 172), (134, 108, 80), (90, 62, 42)


def pose(species: Species, coat: Coat, rng: np.random.Generator) -> Body:
  """Builds a creature in a random pose, its proportions within 10 % of its species'."""
  sizes = {name: getattr(species, name) * rng.uniform(0.9, 1.1) for name in LENGTHS}
  kind = dataclasses.replace(species, **sizes)
  build = Builder()
  hip = np.array([-0.5, rng.normal(0, 0.03), 0.0])
  shoulder = np.array([0.5, rng.normal(0, 0.03) + 0.15 * (kind.chest - kind.hip), 0.0])
  _trunk(build, kind, coat, hip, shoulder, rng)
  stride = rng.uniform(0, 28)
  phase = rng.uniform(0, 2 * math.pi)
  for leg, offset in zip(LEGS, (0.0, math.pi, math.pi, 0.0)):
    swing = stride * math.sin(phase + offset) + rng.normal(0, 7)
    lift = max(0.0, math.cos(phase + offset)) * stride * rng.uniform(0, 2)
    root = shoulder if "front" in leg else hip
    _leg(build, kind, coat, leg, root, _leg_angles(leg, swing, lift), rng)
  _tail(build, kind, coat, hip, rng)
  _neck_and_head(build, kind, coat, shoulder, rng)
  return build.body()


def direction(elevation: float, heading: float = 0.0) -> np.ndarray:
  """Returns the unit vector at an elevation and a heading to the right; degrees."""
  e, h = math.radians(elevation), math.radians(heading)
  return np.array([math.cos(e) * math.cos(h), math.sin(e), math.cos(e) * math.sin(h)])


def down(forward: float, outward: float) -> np.ndarray:
  """Returns the unit vector at angles, forward and right, from straight down."""
  f, o = math.radians(forward), math.radians(outward)
  return np.array([math.sin(f) * math.cos(o), -math.cos(f) * math.cos(o), math.sin(o)])


def _trunk(
  build: Builder,
  kind: Species,
  coat: Coat,
  hip: np.ndarray,
  shoulder: np.ndarray,
  rng: np.random.Generator,
) -> None:
  middle = (hip + shoulder) / 2 - [0, 0.25 * (kind.belly - kind.chest) + 0.02, 0]
  build.capsule(hip, middle, kind.hip, kind.belly, coat.base, PATTERNED)
  build.capsule(middle, shoulder, kind.belly, kind.chest, coat.base, PATTERNED, 0.5)
  withers = shoulder + [-0.08, 0.97 * kind.chest, 0]
  build.keypoint("withers", withers, 0.6 * kind.chest)
  if kind.ornament == "wool":
    for _ in range(14):
      along, angle = rng.uniform(-0.1, 1.1), rng.uniform(-0.6, math.pi + 0.6)
      outward = np.array([0, math.sin(angle), math.cos(angle)])
      center = hip + along * (shoulder - hip) + 0.8 * kind.belly * outward
      build.ball(center, rng.uniform(0.1, 0.15), coat.base)


def _leg_angles(leg: str, swing: float, lift: float) -> tuple[float, float, float]:
  """Returns the angles of the three bones, in degrees forward of straight down.

  A front leg folds backwards at its knee; a hind leg is a zigzag, stifle forward
  and hock backward.
  """
  if "front" in leg:
    return swing - 14, swing + 4 + 0.5 * lift, swing + 2 - 0.8 * lift
  return swing + 16, swing - 22 - 0.2 * lift, swing + 6 - 0.6 * lift


def _leg(
  build: Builder,
  kind: Species,
  coat: Coat,
  leg: str,
  root: np.ndarray,
  angles: tuple[float, float, float],
  rng: np.random.Generator,
) -> None:
  if "front" in leg:
    trunk, length, upper, foot = kind.chest, kind.front_leg, 0.55, min(kind.foot, 0.1)
    thigh = 1.25 * kind.leg
  else:
    trunk, length, upper, foot = kind.hip, kind.back_leg, 0.5, kind.foot
    thigh = 1.6 * kind.leg
  side = 1 if "right" in leg else -1
  out = side * rng.uniform(0, 6)
  top = root + [0.0, -0.15 * trunk, side * 0.6 * trunk]
  elbow = top + 1.05 * trunk * down(angles[0], out)
  knee = elbow + upper * length * down(angles[1], out)
  paw = knee + (1 - upper) * length * down(angles[2], out)
  toe = paw + foot * direction(min(0.0, 0.3 * angles[2]), out)
  r = kind.leg
  lower = coat.feet or coat.base
  skin = PLAIN if coat.feet else PATTERNED
  red, green, blue = (int(0.62 * channel) for channel in lower)
  build.capsule(top, elbow, min(thigh, 0.7 * trunk), r, coat.base, PATTERNED)
  build.capsule(elbow, knee, r, 0.72 * r, coat.base, PATTERNED, 0.3)
  build.capsule(knee, paw, 0.68 * r, 0.55 * r, lower, skin, 0.3 + upper * length)
  build.capsule(paw, toe, 0.62 * r, 0.58 * r, (red, green, blue))
  for joint, point in (("leg", elbow), ("knee", knee), ("paw", paw)):
    build.keypoint(f"{leg} {joint}", point, 1.15 * r)


def _tail(
  build: Builder, kind: Species, coat: Coat, hip: np.ndarray, rng: np.random.Generator
) -> None:
  backward = direction(180 - 35)
  build.keypoint("tail", hip + kind.hip * backward, 0.8 * kind.hip)
  segments = 6 if kind.tail_curl > 180 else 4
  angle, heading = kind.tail_angle + rng.normal(0, 12), rng.normal(0, 15)
  color, skin = (coat.mark, PLAIN) if kind.tail_hair else (coat.base, PATTERNED)
  radii = np.linspace(kind.tail_base, kind.tail_tip, segments + 1)
  step = kind.tail / segments
  point = hip + (kind.hip - 0.05) * backward
  for i in range(segments):
    if i == segments - 1 and kind.tuft:
      (color, radii[-1]), skin = kind.tuft, PLAIN
    end = point + step * direction(180 - angle, -heading)
    build.capsule(point, end, radii[i], radii[i + 1], color, skin, i * step)
    point, angle = end, angle + kind.tail_curl / segments


class _Head(NamedTuple):
  """The centre and radius of a skull, and the unit vectors of its frame."""

  center: np.ndarray
  radius: float
  forward: np.ndarray
  up: np.ndarray
  right: np.ndarray

  def direction(self, forward: float, up: float, right: float) -> np.ndarray:
    """Returns a vector by its components in the frame of the head."""
    return forward * self.forward + up * self.up + right * self.right

  def at(self, forward: float, up: float, right: float) -> np.ndarray:
    """Returns a point by its coordinates in units of the skull's radius."""
    return self.center + self.radius * self.direction(forward, up, right)


def _neck_and_head(
  build: Builder,
  kind: Species,
  coat: Coat,
  shoulder: np.ndarray,
  rng: np.random.Generator,
) -> None:
  lowered = rng.uniform(25, 65) if kind.grazes and rng.random() < 0.2 else 0.0
  heading = rng.normal(0, 16)
  along = direction(kind.neck_angle - lowered + rng.normal(0, 10), heading)
  foot = shoulder + [0.2 * kind.chest, 0.3 * kind.chest, 0]
  top = foot + kind.neck * along
  build.capsule(foot, top, kind.neck_base, kind.neck_top, coat.base, PATTERNED, 0.8)
  forward = direction(
    kind.head_angle - 0.5 * lowered + rng.normal(0, 9), heading + rng.normal(0, 14)
  )
  right = np.cross(forward, [0.0, 1.0, 0.0])
  right /= np.linalg.norm(right)
  underneath = -np.cross(right, along)
  throat = foot + 0.86 * kind.neck * along + 0.9 * kind.neck_top * underneath
  build.keypoint("throat", throat, 2 * kind.neck_top)
  center = top + 0.35 * kind.skull * forward
  head = _Head(center, kind.skull, forward, np.cross(right, forward), right)
  _face(build, kind, coat, head)
  _ears(build, kind, coat, head, rng.normal(0, 0.12))
  if kind.ornament == "mane":
    low = foot + 0.15 * kind.neck * along - 0.95 * kind.neck_base * underneath
    high = head.at(0, 0.9, 0) - 0.2 * kind.skull * along
    build.capsule(low, high, 0.05, 0.055, coat.mark)
  elif kind.ornament == "wool":
    build.ball(head.at(-0.4, 0.65, 0), 0.8 * kind.skull, coat.base)
  else:
    _horns(build, kind.ornament, head)


def _face(build: Builder, kind: Species, coat: Coat, head: _Head) -> None:
  r, color = head.radius, coat.head or coat.base
  build.capsule(head.at(-0.2, 0, 0), head.center, r, r, color, COATED)
  bridge = head.at(0.4, -0.15, 0)
  tip = head.at(kind.muzzle / r, -0.2, 0)
  build.capsule(bridge, tip, 0.72 * r, kind.muzzle_tip, color, COATED)
  if coat.face:
    middle = bridge + 0.35 * (tip - bridge)
    width = 0.65 * 0.72 * r + 0.35 * kind.muzzle_tip
    build.capsule(middle, tip, 1.02 * width, 1.05 * kind.muzzle_tip, coat.face)
  size = max(kind.nose_size * kind.muzzle_tip, 0.028)
  nose = tip + (0.95 * kind.muzzle_tip - 0.3 * size) * head.direction(0.95, 0.3, 0)
  build.ball(nose, size, kind.nose)
  build.keypoint("nose", nose, 1.3 * size + 0.5 * kind.muzzle_tip)
  for side, sign in _SIDES:
    # The direction has length 1: 0.9 lies below the surface of the skull.
    build.ball(head.at(0.9 * 0.45, 0.9 * 0.4, sign * 0.9 * 0.8), 0.26 * r, WHITE)
    pupil = head.at(1.03 * 0.45, 1.03 * 0.4, sign * 1.03 * 0.8)
    build.ball(pupil, 0.19 * r, BLACK)
    build.keypoint(f"{side} eye", pupil, 0.3 * r)


def _ears(build: Builder, kind: Species, coat: Coat, head: _Head, turn: float) -> None:
  forward, up, outward = kind.ear_direction
  for side, sign in _SIDES:
    root = head.at(-0.3, 0.72, sign * 0.62)
    way = head.direction(forward + turn, up, sign * outward)
    way *= kind.ear / np.linalg.norm(way)
    color = coat.head or coat.base
    build.capsule(root, root + way, kind.ear_base, kind.ear_tip, color)
    build.keypoint(f"{side} ear", root + 0.5 * way, 1.5 * kind.ear_base)


def _horns(build: Builder, ornament: str, head: _Head) -> None:
  for _, sign in _SIDES:
    root = head.at(-0.1, 0.9, sign * 0.4)
    if ornament == "horns":
      bend = root + 0.13 * head.direction(0, 0.45, sign)
      tip = bend + 0.13 * head.direction(0.2, 1, 0)
      build.capsule(root, bend, 0.04, 0.032, _HORN)
      build.capsule(bend, tip, 0.032, 0.01, _HORN)
    elif ornament == "ossicones":
      tip = root + 0.15 * head.direction(-0.2, 1, sign * 0.2)
      build.capsule(root, tip, 0.025, 0.035, _OSSICONE)
    elif ornament == "antlers":
      beam = root + 0.2 * head.direction(-0.35, 1, sign * 0.6)
      tip = beam + 0.24 * head.direction(0.25, 1, sign * 0.25)
      build.capsule(root, beam, 0.026, 0.022, _ANTLER)
      build.capsule(beam, tip, 0.022, 0.012, _ANTLER)
      for start in (root + 0.35 * (beam - root), beam):
        branch = start + 0.14 * head.direction(0.9, 1, 0)
        build.capsule(start, branch, 0.018, 0.01, _ANTLER)
