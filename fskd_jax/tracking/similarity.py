"""Compares objects by their keypoints: similarity, suppression of duplicates."""

import numpy as np
from jaxtyping import Float, Int

TOLERANCE = 0.1
"""Distance at which a keypoint counts exp(-1/2), as a fraction of the object's side;
COCO's object keypoint similarity with sigma 0.05 and the area of a square."""

SAME = 0.3
"""Similarity above which two detections are one object. An object that mixes the
keypoints of two neighbours is about 0.5 similar to each of them, and goes, too."""


def similarity(
  one: Float[np.ndarray, "r n 2"],
  other: Float[np.ndarray, "s n 2"],
  sides: Float[np.ndarray, " r"],
) -> Float[np.ndarray, "r s"]:
  """Returns the object keypoint similarity (OKS) of all pairs, 0..1.

  Args:
    one: Keypoints of r objects, pixels; NaN where there is none.
    other: Keypoints of s objects.
    sides: Longer side of the box of each of the r objects, pixels.

  Returns:
    The mean over the keypoints that both objects have; 0 if they share none.
  """
  squares = np.square(one[:, None] - other[None]).sum(-1)
  near = np.exp(-squares / (2 * np.square(TOLERANCE * sides))[:, None, None])
  both = np.isfinite(near)
  total = np.where(both, near, 0).sum(-1)
  return total / np.maximum(both.sum(-1), 1)


def distinct(
  keypoints: Float[np.ndarray, "r n 2"],
  scores: Float[np.ndarray, " r"],
  sides: Float[np.ndarray, " r"],
) -> Int[np.ndarray, " k"]:
  """Returns the numbers of the objects that are left without duplicates, best first.

  Of two objects that are more similar than `SAME`, by the side of the smaller one, the
  one with the higher score stays; of equal scores, the first.

  Args:
    keypoints: Keypoints of each object, pixels; NaN where there is none.
    scores: Score of each object.
    sides: Longer side of the box of each object, pixels.
  """
  near = similarity(keypoints, keypoints, sides)
  near = np.minimum(near, near.T)
  kept: list[int] = []
  for row in np.argsort(-scores, kind="stable").tolist():
    if not (near[row, kept] > SAME).any():
      kept.append(row)
  return np.array(kept, np.int64)
