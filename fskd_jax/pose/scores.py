"""PCK of persons, measured in pixels of the original images."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int32

from fskd_jax.data.annotations import Instance
from fskd_jax.metrics.distances import Distances


def distances(
  persons: Sequence[Instance],
  predicted: Float[np.ndarray, "p n 2"],
  types: Int32[np.ndarray, " n"],
) -> Distances:
  """Measures predictions at every annotated keypoint, inside the crop or not.

  Args:
    persons: The p persons.
    predicted: The predictions, in pixels of the original images.
    types: The predicted types, as indices of the vocabulary.

  Returns:
    One entry per annotated keypoint; an episode is an image.
  """
  visible = np.stack([person.visible[types] for person in persons])
  truth = np.stack([person.keypoints[types] for person in persons])
  errors = np.linalg.norm(predicted - truth.astype(np.float64), axis=-1)
  box_side = np.array([max(person.box[2:]) for person in persons])
  image_side = np.array([max(person.image_size) for person in persons])
  row, slot = np.nonzero(visible)
  return Distances(
    to_box=(errors / box_side[:, None])[visible],
    to_image=(errors / image_side[:, None])[visible],
    episode=np.array([person.image for person in persons])[row],
    keypoint=types[slot],
    species=np.array([person.species for person in persons])[row],
  )


def person_pck(
  persons: Sequence[Instance],
  predicted: Float[np.ndarray, "p n 2"],
  types: Int32[np.ndarray, " n"],
  threshold: float,
) -> Float[np.ndarray, " p"]:
  """Returns each person's PCK; nan without an annotated keypoint."""
  found = [
    (distances([person], points[None], types).to_box <= threshold)
    for person, points in zip(persons, predicted)
  ]
  return np.array([hits.mean() if len(hits) else np.nan for hits in found])
