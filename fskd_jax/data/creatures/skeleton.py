"""Skeleton of a creature: the capsules to draw, the keypoints to find.

The body frame is right-handed: x forward, y up, z to the creature's right. The unit of
length is the distance between hip and shoulder. Left and right are the creature's own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.data.creatures.species import Color

LEGS = ("left-front", "right-front", "left-back", "right-back")

KEYPOINTS = (
  "left eye", "right eye", "left ear", "right ear", "nose", "throat", "withers", "tail",
  *(f"{leg} {joint}" for joint in ("leg", "knee", "paw") for leg in LEGS),
)  # fmt: skip
"""The 20 keypoints of Animal Pose, in order. Source: docs/algorithm.md#data-sets."""

BONES = (
  ("left eye", "nose"), ("right eye", "nose"), ("left eye", "left ear"),
  ("right eye", "right ear"), ("nose", "throat"), ("throat", "withers"),
  ("withers", "tail"),
  *(("withers" if "front" in leg else "tail", f"{leg} leg") for leg in LEGS),
  *((f"{leg} {a}", f"{leg} {b}") for a, b in (("leg", "knee"), ("knee", "paw"))
    for leg in LEGS),
)  # fmt: skip

SKELETON = tuple((KEYPOINTS.index(a), KEYPOINTS.index(b)) for a, b in BONES)

PLAIN, COATED, PATTERNED = 0, 1, 2
"""Skins: one colour; a lighter underside; both that and the pattern of the species."""


class Body(NamedTuple):
  """Capsules and keypoints of a posed creature, in the body frame.

  Attributes:
    start, end: [c 3], the ends of the capsules' axes.
    radii: [c 2], the radii at start and end.
    colors: [c 3], RGB in 0..255.
    skins: [c], each PLAIN, COATED or PATTERNED.
    arcs: [c], the distance along the limb to the start of each capsule, which makes
      stripes continuous.
    keypoints: [n 3].
    slack: [n], the depth behind the visible surface down to which a keypoint counts as
      visible, since joints lie inside their limbs.
  """

  start: Float[np.ndarray, "c 3"]
  end: Float[np.ndarray, "c 3"]
  radii: Float[np.ndarray, "c 2"]
  colors: Float[np.ndarray, "c 3"]
  skins: Int[np.ndarray, " c"]
  arcs: Float[np.ndarray, " c"]
  keypoints: Float[np.ndarray, "n 3"]
  slack: Float[np.ndarray, " n"]


class Builder:
  """Collects the capsules and keypoints of one creature."""

  def __init__(self) -> None:
    self.capsules: list[tuple] = []
    self.keypoints: dict[str, tuple[np.ndarray, float]] = {}

  def capsule(
    self,
    start: np.ndarray,
    end: np.ndarray,
    r0: float,
    r1: float,
    color: Color,
    skin: int = PLAIN,
    arc: float = 0.0,
  ) -> None:
    """Adds a capsule from `start` with radius `r0` to `end` with radius `r1`."""
    self.capsules.append((start, end, (r0, r1), color, skin, arc))

  def ball(self, center: np.ndarray, radius: float, color: Color) -> None:
    """Adds a ball of one colour."""
    self.capsule(center, center, radius, radius, color)

  def keypoint(self, name: str, position: np.ndarray, slack: float) -> None:
    """Adds a keypoint with its `Body.slack`."""
    self.keypoints[name] = (position, slack)

  def body(self, names: Sequence[str] = KEYPOINTS) -> Body:
    """Returns the body made of the collected parts, its keypoints in this order."""
    start, end, radii, colors, skins, arcs = zip(*self.capsules)
    points, slack = zip(*(self.keypoints[name] for name in names))
    return Body(
      start=np.array(start, np.float32),
      end=np.array(end, np.float32),
      radii=np.array(radii, np.float32),
      colors=np.array(colors, np.float32),
      skins=np.array(skins, np.int32),
      arcs=np.array(arcs, np.float32),
      keypoints=np.array(points, np.float32),
      slack=np.array(slack, np.float32),
    )
