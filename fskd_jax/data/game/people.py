"""Keypoints of people."""

import numpy as np
from jaxtyping import Float

from fskd_jax.data.game import posing
from fskd_jax.data.game.archive import Model
from fskd_jax.data.game.points import JOINT_DEPTH, SKIN_DEPTH
from fskd_jax.data.game.posing import Posed

SKELETON = "biped"

_BONES = {
  "neck": "neck", "chest": "chest",
  "left shoulder": "arm_L", "right shoulder": "arm_R",
  "left elbow": "forearm_L", "right elbow": "forearm_R",
  "left wrist": "hand_L", "right wrist": "hand_R",
  "left hip": "thigh_L", "right hip": "thigh_R",
  "left knee": "leg_L", "right knee": "leg_R",
  "left ankle": "foot_L", "right ankle": "foot_R",
}  # fmt: skip
_HEAD = {
  "top of head": (0.0, 0.63, -0.02), "nose": (0.0, 0.25, -0.32),
  "left eye": (0.09, 0.36, -0.28), "right eye": (-0.09, 0.36, -0.28),
  "left ear": (0.21, 0.3, 0.0), "right ear": (-0.21, 0.3, 0.0),
}  # fmt: skip
"""Places in the frame in which heads are attached: all heads have the same size."""

KEYPOINTS = (*_BONES, *_HEAD)


def is_person(model: str) -> bool:
  """Whether a model such as "skeletal/new/m_dress.dae" is a person without a head."""
  return model.startswith("skeletal/new/")


def places(model: Model, posed: Posed, bones: list[str]) -> Float[np.ndarray, "n 3"]:
  """Returns where `KEYPOINTS` are in the scene.

  Args:
    model: The model of the posed person.
    posed: The person.
    bones: Names of the bones, in order.
  """
  joints = posed.bones[[bones.index(bone) for bone in _BONES.values()], :3]
  head = posing.anchor_frame(model, posed.bones, "head")
  return np.concatenate([joints, list(_HEAD.values()) @ head[:3, :3].T + head[:3, 3]])


def depths() -> Float[np.ndarray, " n"]:
  """Returns how deep `KEYPOINTS` may lie below a visible surface, parts of the size."""
  deep = [JOINT_DEPTH] * (len(_BONES) + 1)  # the top may be below a helmet
  return np.array([*deep, *[SKIN_DEPTH * 2] * (len(_HEAD) - 1)])
