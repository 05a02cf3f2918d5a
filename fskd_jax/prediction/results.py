"""The results of a detector: keypoints as rows of objects, and heat-maps."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

ARRAYS = ("image", "box", "keypoints", "confidence", "covariance")
"""Fields of a `Prediction` that have a row for each object."""


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
  """The keypoints of r objects, each with the number of its image.

  Where one object is searched for in each image, row i belongs to image i.
  Coordinates are pixel indices of the images: the centre of the first pixel is (0, 0).

    prediction = detector.predict(support, ["bob.jpg", "eve.png"])
    nose = prediction.names.index("nose")
    x, y = prediction.keypoints[0, nose]
    sure = prediction[prediction.confidence.mean(1) > 0.5]
    for found in prediction.of_image(1):
      print(found.box[0], found.keypoints[0])

  Attributes:
    image: Number of each object's image among the query images, from 0.
    box: (x, y, width, height) of each object, pixels: the one given, clipped to its
      image, or the one found by the search, which may reach beyond the image.
    keypoints: (x, y) of each keypoint, pixels; NaN for types that no support image
      shows.
    confidence: Probability of each keypoint that it is visible and lies within a tenth
      of the longer box side, 0..1; 0 for types that no support image shows. A raw score
      if the detector is not calibrated.
    covariance: Covariance matrix of each keypoint's location, square pixels; NaN for
      types that no support image shows.
    names: Names of the n keypoint types.
  """

  image: Int[np.ndarray, " r"]
  box: Float[np.ndarray, "r 4"]
  keypoints: Float[np.ndarray, "r n 2"]
  confidence: Float[np.ndarray, "r n"]
  covariance: Float[np.ndarray, "r n 2 2"]
  names: tuple[str, ...]

  def __len__(self) -> int:
    """Returns the number of objects."""
    return len(self.image)

  def __getitem__(self, rows: Any) -> "Prediction":
    """Returns some of the objects.

    Args:
      rows: A slice, an array of numbers or bool, or one number, which gives a
        prediction of one object.

    Raises:
      IndexError: The row does not exist.
    """
    if isinstance(rows, (int, np.integer)):
      rows = [rows]
    arrays = (getattr(self, name)[rows] for name in ARRAYS)
    return Prediction(*arrays, names=self.names)

  def __iter__(self) -> Iterator["Prediction"]:
    """Yields the objects one by one, each as a prediction of one row."""
    return (self[row] for row in range(len(self)))

  def of_image(self, number: int) -> "Prediction":
    """Returns the objects found in one image, given by its number from 0."""
    return self[self.image == number]

  def of_types(self, names: Sequence[str]) -> "Prediction":
    """Returns the objects with some of their keypoint types, in this order.

    Raises:
      ValueError: There is no such type.
    """
    if unknown := [name for name in names if name not in self.names]:
      raise ValueError(f"no keypoint {unknown[0]!r}; there are {', '.join(self.names)}")
    types = [self.names.index(name) for name in names]
    return dataclasses.replace(
      self,
      keypoints=self.keypoints[:, types],
      confidence=self.confidence[:, types],
      covariance=self.covariance[:, types],
      names=tuple(names),
    )

  def is_shown(self) -> Bool[np.ndarray, "r n"]:
    """Returns whether some support image shows the type of each keypoint."""
    return np.logical_not(np.isnan(self.keypoints).any(-1))


class Heatmaps(NamedTuple):
  """The heat-maps of q query images.

  Attributes:
    crops: The images as the network gets them: l x l pixels around the objects.
    heatmaps: Scores of the n keypoint types, fused over strides and kernel sizes; cell
      (0, 0) is at the top left of the crop. `softmax` makes distributions of them.
    keypoints: (x, y) read out of the heat-maps, with the prior if the detector has one;
      pixels of the crops.
    names: Names of the n keypoint types.
  """

  crops: UInt8[np.ndarray, "q l l 3"]
  heatmaps: Float[np.ndarray, "q n h w"]
  keypoints: Float[np.ndarray, "q n 2"]
  names: tuple[str, ...]

  def softmax(self) -> Float[np.ndarray, "q n h w"]:
    """Returns the softmax of each heat-map over its cells: 0..1, with the sum 1."""
    shifted = self.heatmaps - self.heatmaps.max((-2, -1), keepdims=True)
    weights = np.exp(shifted)
    return weights / weights.sum((-2, -1), keepdims=True)
