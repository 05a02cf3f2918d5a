"""Facts about the published data sets, as constants.

Source: docs/algorithm.md#data-sets, unless noted otherwise. Terms and citations
summarise what the makers of each data set ask for: read their pages.
"""

from fskd_jax.data import keypoints
from fskd_jax.data.creatures import skeleton
from fskd_jax.data.published.mp100 import MAX_KEYPOINTS
from fskd_jax.data.published.schema import Published, SpeciesRule

# Linked by the authors' repositories (docs/algorithm.md#data-sets).
_ANIMAL_DRIVE = "https://drive.google.com/open?id=1G81INOtQogf8-23TfHbVVYvGKkNHRzJT"
_OTHER_DRIVE = "https://drive.google.com/open?id=15f0Y2U6Df-fgpd2AAIrL9I_deyevNLdU"

_ENDS = ("front", "back")


def _bird_paths(bill: str) -> tuple[tuple[str, str], ...]:
  return (
    *((bill, "crown"), (bill, "nape"), ("nape", "tail"), ("back", "tail")),
    *(("back", "breast"), ("back", "belly")),
  )


def _sides(*parts: str) -> tuple[tuple[str, str], ...]:
  """Returns the pairs of left and right, "{}" being the side."""
  return tuple((part.format("left"), part.format("right")) for part in parts)


_ANIMAL_SHORT = (
  *("l_eye", "r_eye", "l_ear", "r_ear", "nose", "throat", "withers", "tail"),
  *(
    f"{side}_{end}_{part}"
    for part in ("leg", "knee", "paw")
    for end in "fb"
    for side in "lr"
  ),
)

ANIMAL_POSE = Published(
  name="animal_pose",
  title="Animal Pose",
  keypoint_names=skeleton.KEYPOINTS,
  short_names=_ANIMAL_SHORT,
  base=keypoints.ANIMAL_BASE,
  novel=keypoints.ANIMAL_NOVEL,
  flip_pairs=_sides(
    *("{} eye", "{} ear"),
    *(f"{{}}-{end} {part}" for part in ("leg", "knee", "paw") for end in _ENDS),
  ),
  auxiliary_paths=keypoints.ANIMAL_PATHS,
  files={"all": "animal_pose_dataset.json"},
  drive=_ANIMAL_DRIVE,
  instances=6_117,
  images=4_666,
  classes=5,
  split_sizes=(4, 0, 1),
  species=("cat", "dog", "cow", "horse", "sheep"),
  unseen_species=("dog",),
  terms="research; most images are of PASCAL VOC 2011, under the terms of Flickr",
  citation=(
    "Cao et al., Cross-Domain Adaptation for Animal Pose Estimation, ICCV 2019; and"
    " Lu and Koniusz, Few-shot Keypoint Detection with Uncertainty Learning for"
    " Unseen Species, CVPR 2022, for these annotations (later official releases"
    " differ from them in content)"
  ),
)

AWA_POSE = Published(
  name="awa_pose",
  title="AwA-Pose",
  keypoint_names=(
    *("nose", "upper_jaw", "lower_jaw", "mouth_end_right", "mouth_end_left"),
    *("right_eye", "right_earbase", "right_earend"),
    *("right_antler_base", "right_antler_end"),
    *("left_eye", "left_earbase", "left_earend"),
    *("left_antler_base", "left_antler_end"),
    *("neck_base", "neck_end", "throat_base", "throat_end"),
    *("back_base", "back_end", "back_middle", "tail_base", "tail_end"),
    *("front_left_thai", "front_left_knee", "front_left_paw"),
    *("front_right_thai", "front_right_paw", "front_right_knee"),
    *("back_left_knee", "back_left_paw", "back_left_thai"),
    *("back_right_thai", "back_right_paw", "back_right_knee"),
    *("belly_bottom", "body_middle_right", "body_middle_left"),
  ),
  base=(
    *("nose", "right_earbase", "left_earbase", "neck_base", "neck_end"),
    *("throat_base", "throat_end", "tail_base"),
    *("front_left_thai", "front_left_paw", "front_right_thai", "front_right_paw"),
    *("back_left_paw", "back_left_thai", "back_right_thai", "back_right_paw"),
    *("belly_bottom", "body_middle_right", "body_middle_left"),
  ),
  novel=(
    *("right_eye", "left_eye", "front_left_knee", "front_right_knee"),
    *("back_left_knee", "back_right_knee"),
  ),
  # The original leaves out body_middle, both of whose types are trained on: a
  # mirrored image then teaches the wrong side (docs/algorithm.md#data-sets).
  flip_pairs=_sides(
    *("mouth_end_{}", "{}_eye", "{}_earbase", "{}_earend"),
    *("{}_antler_base", "{}_antler_end", "body_middle_{}"),
    *(f"{end}_{{}}_{part}" for end in _ENDS for part in ("thai", "knee", "paw")),
  ),
  auxiliary_paths=(
    *(("nose", "left_earbase"), ("nose", "right_earbase")),
    *(
      (f"{end}_{side}_thai", f"{end}_{side}_paw")
      for end in _ENDS
      for side in ("left", "right")
    ),
  ),
  files={"train": "AwAPose_split_train.json", "unseen": "AwAPose_split_test.json"},
  drive=_OTHER_DRIVE,
  image_folders=("JPEGImages", "images"),
  is_pickled=True,
  instances=10_064,
  images=10_064,
  classes=35,
  split_sizes=(25, 0, 10),
  unseen_species=(
    *("cow", "dalmatian", "giraffe", "grizzly+bear", "otter"),
    *("ox", "rhinoceros", "sheep", "wolf", "zebra"),
  ),
  terms="the images are of Animals with Attributes 2: each has its own licence",
  citation=(
    "Banik et al., A Novel Dataset for Keypoint Detection of Quadruped Animals from"
    " Images, 2021; and Xian et al., Zero-Shot Learning: A Comprehensive Evaluation"
    " of the Good, the Bad and the Ugly, TPAMI 2019, for the images"
  ),
)

CUB = Published(
  name="cub_keypoints",
  title="CUB-200-2011",
  keypoint_names=(
    *("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg"),
    *("left wing", "nape", "right eye", "right leg", "right wing", "tail", "throat"),
  ),
  base=(
    *("back", "beak", "belly", "breast", "crown"),
    *("left leg", "nape", "right leg", "tail", "throat"),
  ),
  novel=("forehead", "left eye", "left wing", "right eye", "right wing"),
  flip_pairs=_sides("{} eye", "{} leg", "{} wing"),
  auxiliary_paths=_bird_paths("beak"),
  files={
    "train": "cub_split_train.json",
    "validation": "cub_split_val.json",
    "unseen": "cub_split_test.json",
  },
  drive=_OTHER_DRIVE,
  has_text=True,
  instances=11_788,
  images=11_788,
  classes=200,
  split_sizes=(100, 50, 50),
  rule=SpeciesRule(modulus=4, validation=(0,), unseen=(2,)),
  terms="non-commercial research and education; the photographers hold the rights",
  citation=(
    "Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, CNS-TR-2011-001, Caltech 2011"
  ),
)

NABIRDS = Published(
  name="nabirds_keypoints",
  title="NABirds",
  keypoint_names=(
    *("bill", "crown", "nape", "left eye", "right eye", "belly", "breast", "back"),
    *("tail", "left wing", "right wing"),
  ),
  base=("bill", "crown", "nape", "belly", "breast", "back", "tail"),
  novel=("left eye", "right eye", "left wing", "right wing"),
  flip_pairs=_sides("{} eye", "{} wing"),
  auxiliary_paths=_bird_paths("bill"),
  files={
    "train": "nabird_split_train.json",
    "validation": "nabird_split_val.json",
    "unseen": "nabird_split_test.json",
  },
  drive=_OTHER_DRIVE,
  has_text=True,
  has_hierarchy=True,
  instances=48_562,
  images=48_562,
  classes=555,
  split_sizes=(333, 111, 111),
  rule=SpeciesRule(modulus=5, validation=(3,), unseen=(4,)),
  terms="non-commercial research, after agreeing to the terms of the Cornell Lab",
  citation=(
    "Van Horn et al., Building a Bird Recognition App and Large Scale Dataset with"
    " Citizen Scientists, CVPR 2015"
  ),
)

PUBLISHED = {
  published.name: published for published in (ANIMAL_POSE, AWA_POSE, CUB, NABIRDS)
}
"""The data sets of the papers, by name."""

# Source: docs/data.md#mp-100. The reference also pads objects to 100 keypoints.
_MP100_KEYPOINTS = tuple(f"keypoint {i + 1}" for i in range(MAX_KEYPOINTS))

MP100 = {
  f"mp100_split{split}": Published(
    name=f"mp100_split{split}",
    title=f"MP-100, split {split} of 5",
    keypoint_names=_MP100_KEYPOINTS,
    base=_MP100_KEYPOINTS,
    novel=(),
    flip_pairs=(),
    auxiliary_paths=(),
    files={
      "train": f"mp100_split{split}_train.json",
      "validation": f"mp100_split{split}_val.json",
      "unseen": f"mp100_split{split}_test.json",
    },
    makers="MP-100",
    drive="https://github.com/luminxu/Pose-for-Everything",
    is_numbered=True,
    collections=(
      *("COCO", "300W", "AFLW", "OneHand10K", "DeepFashion2 (13 categories)"),
      *("AP-10K (34)", "MacaquePose", "fly", "locust"),
      *("CUB-200-2011 (8)", "CarFusion (3)", "AnimalWeb (30)", "Keypoint-5 (5)"),
    ),
    image_folders=("images", "."),
    classes=100,
    split_sizes=(70, 10, 20),
    terms=(
      "non-commercial research; the images come from 13 data sets, each with terms of"
      " its own, and are not distributed with the annotations"
    ),
    citation=(
      "Xu et al., Pose for Everything: Towards Category-Agnostic Pose Estimation,"
      " ECCV 2022; and the 13 data sets"
    ),
  )
  for split in range(1, 6)
}
"""The five splits of MP-100, by name."""
