"""Keypoints that quadrupeds share, found in the skeletons of their models.

Bones have other names in every skeleton, and some sit at other joints than they say:
the table was made by looking at where they are at rest. Sides are told from where a
bone is, because in some models the names are exchanged.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.data.game.archive import Model
from fskd_jax.data.game.points import Points

LEGS = "shoulder", "elbow", "wrist", "front paw", "hip", "knee", "hock", "rear paw"
MIDDLE = "nose", "top of head", "withers", "tail base", "tail tip"
KEYPOINTS = (
  *MIDDLE,
  *(f"{side} {name}" for name in ("ear tip", *LEGS) for side in ("left", "right")),
)
"""Names of all keypoints."""


class Skeleton(NamedTuple):
  """Bones of a skeleton.

  Attributes:
    head: Bones of the head and the jaws, the head first.
    neck: The bone at the withers.
    tail: The first and the last bone of the tail, or none.
    ear: The bone of the left ear, or nothing.
    legs: Bones of the left legs in the order of `LEGS`; nothing where there is none.
  """

  head: str
  neck: str
  tail: str
  ear: str
  legs: str


# A dash stands for no bone. Names of the right are those of the left with the other
# side.
_SKELETONS = {
  "ursidae_armature": Skeleton(
    "Ursidae_Head Ursidae_Jaw_01", "Ursidae_Spine_3", "", "Ursidae_ear_2_L",
    "Ursidae_Upperarm_L Ursidae_Forearm_L Ursidae_Paw_L Ursidae_Claw_L "
    "Ursidae_Leg_L Ursidae_Shin_L Ursidae_Ankle_L Ursidae_Toe_L",
  ),
  "boar": Skeleton(
    "Boar_Head Boar_Jaw", "Boar_Neck", "Boar_Tail Boar_Tail", "Boar_Ear_Left",
    "- Boar_Front_Leg_Left - Boar_Front_Foot_Left "
    "- Boar_Back_Leg_Left - Boar_Back_Foot_Left",
  ),
  "camelus": Skeleton(
    "Camelus_Head Camelus_Top_Jaw", "Camelus_Neck_01",
    "Camelus_Tail_Root Camelus_Tail_03", "",
    "Camelus_upperarm_L Camelus_Arm_L Camelus_Forearm_L Camelus_Hoof_L "
    "Camelus_Leg_L Camelus_Foreleg_L Camelus_Shin_L Camelus_Hoof_back_L",
  ),
  "bovidae_skeleton": Skeleton(
    "Bovidae_Head", "Bovidae_spine1", "Bovidae_Tail Bovidae_TailTip",
    "Bovidae_eartip_L",
    "Bovidae_FrontLegTop_L Bovidae_FrontThigh_L Bovidae_FrontCalf_left "
    "Bovidae_FrontFoot_left - Bovidae_RearThigh_L Bovidae_RearCalf_left "
    "Bovidae_RearFoot_left",
  ),
  "deer": Skeleton(
    "head", "neck", "tail tail1", "l_ear",
    "l_clavicle l_upperarm l_forearm l_hand l_thigh l_calf l_foot l_toe",
  ),
  "elephantidae_asian": Skeleton(
    "Elephantidae_Head", "Elephantidae_Vertebrae_Dorsal",
    "Elephantidae_Tail_1 Elephantidae_Tail_7", "Elephantidae_Ear_3_L",
    "- Elephantidae_Arm_L Elephantidae_Forearm_L Elephantidae_Hand_L "
    "Elephantidae_Leg_L Elephantidae_Shin_L - Elephantidae_Foot_L",
  ),
  "hippopotamus_armature": Skeleton(
    "Hippopotamidae_Head Hippopotamidae_Jaw_02 Hippopotamidae_Jaw_Bottom",
    "Hippopotamidae_Spine_2", "", "Hippopotamidae_ear_L",
    "Hippopotamidae_Upperarm_L Hippopotamidae_Arm_L Hippopotamidae_Forearm_L "
    "Hippopotamidae_Paw_L Hippopotamidae_Leg_L Hippopotamidae_Foreleg_L "
    "Hippopotamidae_Ankle_L Hippopotamidae_Foot_L",
  ),
  "fox_armature": Skeleton(
    "Fox_head Fox_head2 Fox_jaw1 Fox_jaw2", "Fox_Neck1", "Fox_Tail1 Fox_Tail4",
    "Fox_ear_L",
    "Fox_FrontLeg1_L Fox_FrontLeg2_L Fox_FrontLeg3_L Fox_FrontToe_L "
    "Fox_BackLeg1_L Fox_BackLeg2_L Fox_BackLeg3_L Fox_BackToe_L",
  ),
  "giraffe": Skeleton(
    "head", "left_f_pelvis_upper", "tail_02 tail_03", "",
    "left_f_leg_top left_f_leg_mid left_f_leg_bottom left_f_foot "
    "left_r_leg_top left_r_leg_mid left_r_leg_bottom left_r_foot",
  ),
  "goat": Skeleton(
    "head", "neck", "tail tail", "",
    "thigh_front_l calf_front_l foot_front_l foot_front_tip_l "
    "- calf_back_l foot_back_l foot_back_tip_l",
  ),
  "horse": Skeleton(
    "head", "neck", "tail tail7", "l_ear",
    "l_upperarm l_arm l_forearm l_hoof l_thigh l_leg l_shin l_hoof_back",
  ),
  "horse_old": Skeleton(
    "head", "neck1", "tail tail1", "",
    "l_upperarm l_forearm l_hand l_finger - l_calf l_foot l_toe",
  ),
  "mastiff": Skeleton(
    "Head Jaw1 Jaw2", "Neck1", "Tail1 Tail4", "ear3_L",
    "FrontLeg1_L FrontLeg2_L FrontLeg3_L FrontToe_L "
    "BackLeg1_L BackLeg2_L BackLeg3_L BackToe_L",
  ),
  "wolfhound": Skeleton(
    "Head Jaw1 Jaw2", "Neck1", "Tail1 Tail5", "ear2_L",
    "FrontLeg1_L FrontLeg2_L FrontLeg3_L FrontToe_L "
    "BackLeg1_L BackLeg2_L BackLeg3_L BackToe_L",
  ),
  "rhino": Skeleton(
    "head", "neck", "tail1 tail2", "ear_L",
    "shoulder_L leg_upper_L leg_L foot_front_L thigh_L leg_back_L - foot_back_L",
  ),
  "sheep": Skeleton(
    "Head", "Neck", "Tail Tail", "",
    "- Arm_Left Forearm_Left Hand_Left - Leg_Left Shin_Left Foot_Left",
  ),
  "feline_blender": Skeleton(
    "head jaw", "neck_1", "tail_1 tail_7", "ear_L",
    "leg_front_top_L leg_front_mid_L leg_front_bot_L leg_front_foot_L "
    "leg_back_top_L leg_back_mid_L leg_back_bot_L leg_back_foot_L",
  ),
  "wolf": Skeleton(
    "Head Jaw1 Jaw2", "Neck1", "Tail1 Tail4", "",
    "FrontLeg1_L FrontLeg2_L FrontLeg3_L FrontToe_L "
    "BackLeg1_L BackLeg2_L BackLeg3_L BackToe_L",
  ),
  "zebra": Skeleton(
    "head", "body", "tail_start tail_tip", "left_ear",
    "- left_leg left_shin left_foot - rear_left_leg rear_left_shin rear_left_foot",
  ),
}  # fmt: skip

MODELS = {
  "bear": "ursidae_armature", "bear_polar": "ursidae_armature",
  "animal_boar": "boar", "animal_piglet": "boar", "pig": "boar",
  "camel": "camelus", "auroch_a": "bovidae_skeleton", "auroch_b": "bovidae_skeleton",
  "bull_a": "bovidae_skeleton", "bull_b": "bovidae_skeleton",
  "cattle_female_a": "bovidae_skeleton", "cattle_female_b": "bovidae_skeleton",
  "cattle_male_a": "bovidae_skeleton", "cattle_male_b": "bovidae_skeleton",
  "cattle_male_c": "bovidae_skeleton", "sanga_cattle_a": "bovidae_skeleton",
  "sanga_cattle_b": "bovidae_skeleton", "wildebeest_adult": "bovidae_skeleton",
  "zebu": "bovidae_skeleton", "deer_mesh": "deer",
  "elephant_african_baby": "elephantidae_asian",
  "elephant_african_bush": "elephantidae_asian",
  "elephant_african_forest": "elephantidae_asian",
  "elephant_asian_male": "elephantidae_asian",
  "fauna_hippopotamus": "hippopotamus_armature", "fox": "fox_armature",
  "giraffe_adult": "giraffe", "giraffe_infant": "giraffe", "camel_1": "giraffe",
  "goat": "goat", "goat_male": "goat",
  "horse": "horse", "horse_barb": "horse", "horse_breed": "horse",
  "horse_celtic": "horse", "horse_lusitano": "horse", "horse_marwari": "horse",
  "horse_persian": "horse", "horse_tessalian": "horse", "pony": "horse",
  "animal_lion": "horse_old", "animal_lioness": "horse_old", "donkey": "horse_old",
  "mastiff": "mastiff", "mastiff_no_spikes": "mastiff", "wolfhound": "wolfhound",
  "rhino": "rhino", "sheep": "sheep", "tiger": "feline_blender", "wolf": "wolf",
  "zebra": "zebra",
}  # fmt: skip
"""Skeletons of the models of quadrupeds."""


def find(model: Model, skeleton: Skeleton, bones: list[str]) -> Points:
  """Finds those of `KEYPOINTS` that a model has.

  Args:
    model: The model.
    skeleton: The row of the table.
    bones: Names of the model's bones, in order.
  """
  number = {name: i for i, name in enumerate(bones)}
  strongest = np.where(
    model.weights.max(1) > 0.4,
    np.take_along_axis(model.bones, model.weights.argmax(1)[:, None], 1)[:, 0],
    -1,
  )
  head = [number[x] for x in skeleton.head.split()]
  forward = np.sign(model.rest[head[0], 2] - model.points[:, 2].mean()) or -1.0
  found: dict[str, tuple[int, int]] = {
    "top of head": (head[0], -1),
    "withers": (number[skeleton.neck], -1),
  }
  muzzle = np.flatnonzero(np.isin(strongest, head))
  width = np.ptp(model.points[muzzle, 0])
  middle = muzzle[np.abs(model.points[muzzle, 0]) < 0.25 * width + 1e-6]
  if len(middle):
    found["nose"] = (-1, int(middle[(forward * model.points[middle, 2]).argmax()]))
  if skeleton.tail:
    first, last = (number[x] for x in skeleton.tail.split())
    found["tail base"] = first, -1
    if (tip := _tip(model, strongest, last)) is not None:
      found["tail tip"] = -1, tip
  pairs = {"ear tip": skeleton.ear} if skeleton.ear else {}
  pairs |= {a: b for a, b in zip(LEGS, skeleton.legs.split()) if b != "-"}
  for name, bone in pairs.items():
    for one in (number[bone], number[_other_side(bone, number)]):
      # Facing backwards of the frame (z < 0), an animal has its left at x > 0.
      side = "left" if model.rest[one, 0] * -forward > 0 else "right"
      if name == "ear tip":
        tip = _tip(model, strongest, one)
        if tip is not None:
          found[f"{side} {name}"] = -1, tip
      elif np.abs(model.rest[one, :3]).sum() > 1e-6:
        found[f"{side} {name}"] = one, -1
  joints = {name: joint for name, (joint, _) in found.items() if joint >= 0}
  vertices = {name: vertex for name, (joint, vertex) in found.items() if joint < 0}
  return Points(
    (*joints, *vertices),
    np.array(list(joints.values()), int),
    np.array(list(vertices.values()), int),
  )


def skeleton_of(model: str) -> str | None:
  """Returns the name of the skeleton of a model such as "skeletal/wolf.dae"."""
  return MODELS.get(model.rsplit("/", 1)[-1].removesuffix(".dae"))


def table(skeleton: str) -> Skeleton:
  """Returns what a skeleton has."""
  return _SKELETONS[skeleton]


def _tip(model: Model, strongest: Int[np.ndarray, " v"], bone: int) -> int | None:
  """Returns the vertex of a bone that is farthest from where it begins."""
  own = np.flatnonzero(strongest == bone)
  if not len(own):
    return None
  start: Float[np.ndarray, " 3"] = model.rest[bone, :3]
  return int(own[np.linalg.norm(model.points[own] - start, axis=1).argmax()])


def _other_side(bone: str, bones: dict[str, int]) -> str:
  for left, right in (("Left", "Right"), ("left", "right")):
    if left in bone and bone.replace(left, right) in bones:
      return bone.replace(left, right)
  if bone.startswith("l_"):
    return f"r_{bone[2:]}"
  if bone.startswith("Fox_BackLeg1_L"):
    return "Fox_Fox_BackLeg1_R"  # so it is called
  return bone[:-2] + {"_L": "_R", "_l": "_r"}[bone[-2:]]
