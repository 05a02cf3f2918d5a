"""The labels that a run was trained on: its support, where no other one is given."""

import pathlib

import numpy as np

from fskd_jax.config import DataConfig
from fskd_jax.data import images
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.data.labels.plain_json import Marked
from fskd_jax.few_shot import recipe
from fskd_jax.prediction.inputs import Annotated
from fskd_jax.prediction.photographs import Decoded

MOST = 50
"""Number of labelled objects that become the support, evenly spaced: all of those that
`fskd adapt` takes, and enough of more."""


def trained_on(data: DataConfig) -> str:
  """Returns the path of the labels that a run was trained on.

  Args:
    data: The configuration of the run's data.

  Raises:
    ValueError: The run is not of one's own labels.
  """
  own = [s.data.path for s in data.mixture if s.name == recipe.LABELS]
  own += [data.path] if not data.mixture and data.name == "coco_keypoints" else []
  if len(own) != 1:
    raise ValueError(
      "the detector was not trained on labels of one's own, which would be the support "
      "and what is checked: give --support and --keypoints, or --data"
    )
  return own[0]


def supports(data: DataConfig) -> list[Annotated]:
  """Returns the labelled objects of a run, `MOST` of them at most, as the support.

  Args:
    data: The configuration of the run's data.

  Raises:
    FileNotFoundError: The labels or their images are not where they were.
    ValueError: The run is not of one's own labels, or they cannot be read any more.
  """
  try:
    dataset = read_dataset(trained_on(data))
  except FileNotFoundError as error:
    raise FileNotFoundError(
      f"the labels that the detector was trained on are its support, but {error}: give "
      "--support and --keypoints"
    ) from error
  names, count = dataset.keypoint_names, len(dataset.instances)
  pairs = dataset.skeleton
  skeleton = tuple((names[a], names[b]) for a, b in pairs)
  found: list[Annotated] = []
  for row in np.linspace(0, count - 1, min(count, MOST)).round().astype(int):
    instance = dataset.instances[row]
    name = dataset.image_names[instance.image]
    pixels = images.decode(dataset.read_image(instance.image), name, 0)
    points = {
      name: (float(x), float(y)) if seen else None
      for name, (x, y), seen in zip(names, instance.keypoints, instance.visible)
    }
    marked = Marked(points, instance.box, skeleton, instance.image_size)
    found.append(Annotated(pathlib.Path(name), Decoded(name, pixels), marked))
  return found
