"""Published keypoint lists: names, base/novel split, paths of auxiliary points.

Source: the authors' lists, docs/algorithm.md#data-sets and
docs/algorithm.md#auxiliary-keypoints.
"""

from collections.abc import Sequence

_LEGS = ("left-front", "right-front", "left-back", "right-back")

ANIMAL_BASE = (
  "left ear",
  "right ear",
  "nose",
  *(f"{leg} leg" for leg in _LEGS),
  *(f"{leg} paw" for leg in _LEGS),
)
"""The 11 types of Animal Pose that are trained on."""

ANIMAL_NOVEL = ("left eye", "right eye", *(f"{leg} knee" for leg in _LEGS))
"""The 6 types of Animal Pose kept for testing; throat, withers, tail are unused."""

ANIMAL_PATHS = (
  ("nose", "left ear"),
  ("nose", "right ear"),
  *((f"{leg} leg", f"{leg} paw") for leg in _LEGS),
)
"""Lines of the auxiliary points of Animal Pose. Their midpoints imitate eyes and knees,
which are novel types: report results without them as well."""

ANIMAL_BODY_PATHS = (
  ("left-front leg", "left-back leg"),
  ("right-front leg", "right-back leg"),
  ("left-front leg", "right-front leg"),
  ("nose", "left-front leg"),
  ("nose", "right-front leg"),
  ("left ear", "left-front leg"),
  ("right ear", "right-front leg"),
  ("left ear", "right ear"),
)
"""Further lines for Animal Pose, over flanks, chest, neck and forehead. They are ours:
features that distinguish many points of a body find new keypoint types better."""

_EYES = tuple(f"{side} eye {i}" for side in ("right", "left") for i in range(6))
_BROWS = tuple(f"{side} brow {i}" for side in ("right", "left") for i in range(5))

FACE_NOVEL = _EYES
"""The 12 eye points of 68 face landmarks, kept for testing."""

FACE_BASE = (
  *(f"jaw {i}" for i in range(17)),
  *_BROWS,
  *(f"nose bridge {i}" for i in range(4)),
  *(f"nostril {i}" for i in range(5)),
  *(f"outer lip {i}" for i in range(12)),
  *(f"inner lip {i}" for i in range(8)),
)
"""The 68 face landmarks except the eyes, trained on."""

FACE_PATHS = (
  ("right brow 0", "nostril 0"),
  ("left brow 4", "nostril 4"),
  ("right brow 2", "nose bridge 3"),
  ("left brow 2", "nose bridge 3"),
  ("jaw 0", "nose bridge 0"),
  ("jaw 16", "nose bridge 0"),
  ("jaw 4", "outer lip 0"),
  ("jaw 12", "outer lip 6"),
)
"""Lines of the auxiliary points of faces; brow-to-nose midpoints lie near the eyes."""


def _mirrored(part: str, *pairs: tuple[int, int]) -> tuple[tuple[str, str], ...]:
  return tuple((f"{part} {i}", f"{part} {j}") for i, j in pairs)


FACE_FLIPS = (
  *_mirrored("jaw", *((i, 16 - i) for i in range(8))),
  *((f"right brow {i}", f"left brow {4 - i}") for i in range(5)),
  *_mirrored("nostril", (0, 4), (1, 3)),
  *((f"right eye {i}", f"left eye {j}") for i, j in enumerate((3, 2, 1, 0, 5, 4))),
  *_mirrored("outer lip", (0, 6), (1, 5), (2, 4), (7, 11), (8, 10)),
  *_mirrored("inner lip", (0, 4), (1, 3), (5, 7)),
)
"""Pairs of face landmarks that a mirror exchanges. Numbers run along the contour, so
that equal numbers on both sides are not partners."""

HUMAN_NOVEL = ("right knee", "left knee", "right elbow", "left elbow", "neck")
"""The 5 of 14 human joints that are kept for testing."""

HUMAN_BASE = (
  "right ankle",
  "right hip",
  "left hip",
  "left ankle",
  "right wrist",
  "right shoulder",
  "left shoulder",
  "left wrist",
  "head top",
)
"""The 9 of 14 human joints that are trained on."""

HUMAN_LOWER_BODY = (
  *("right hip", "left hip", "right knee", "left knee"),
  *("right ankle", "left ankle"),
)
"""The human joints of the lower body."""

COCO_PERSON = (
  "nose",
  *(f"{side}_{part}" for part in ("eye", "ear") for side in ("left", "right")),
  *(
    f"{s}_{part}" for part in ("shoulder", "elbow", "wrist") for s in ("left", "right")
  ),
  *(f"{s}_{part}" for part in ("hip", "knee", "ankle") for s in ("left", "right")),
)
"""The 17 keypoint types of COCO persons (docs/transpose.md#oks-ap)."""

COCO_LOWER_BODY = COCO_PERSON[11:]
"""The types of the lower body of COCO persons."""

COCO_SIGMAS = (
  *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
  *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""Disagreement of annotators on COCO persons, as parts of the root of the area."""

HUMAN_PATHS = (
  ("right hip", "right ankle"),
  ("left hip", "left ankle"),
  ("right shoulder", "right wrist"),
  ("left shoulder", "left wrist"),
  ("right shoulder", "left shoulder"),
  ("right hip", "left hip"),
  ("right shoulder", "right hip"),
  ("left shoulder", "left hip"),
  ("head top", "right shoulder"),
  ("head top", "left shoulder"),
  ("right ankle", "left ankle"),
)
"""Lines of the auxiliary points of humans; the first five imitate knees, elbows and
neck."""

_LIMBS = (
  *(("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip")),
  *(("hip", "knee"), ("knee", "ankle"), ("ear", "shoulder"), ("eye", "ear")),
)
"""Lines between the parts of one side of a person."""

_MIDDLE_LIMBS = (
  *(("left eye", "right eye"), ("nose", "left eye"), ("nose", "right eye")),
  *(("left shoulder", "right shoulder"), ("left hip", "right hip")),
  *(("neck", "head top"), ("neck", "left shoulder"), ("neck", "right shoulder")),
)


def limbs(names: Sequence[str]) -> list[tuple[int, int]]:
  """Returns the lines of a person's skeleton, as pairs of places in `names`.

  They are those of COCO, and of the neck and head of other data sets; there are none
  for names that are no parts of a person.

  Args:
    names: Names such as "left knee" or "left_knee".
  """
  place = {name.replace("_", " "): n for n, name in enumerate(names)}
  sided = [
    (f"{side} {a}", f"{side} {b}") for a, b in _LIMBS for side in ("left", "right")
  ]
  return [
    (place[a], place[b])
    for a, b in (*sided, *_MIDDLE_LIMBS)
    if a in place and b in place
  ]
