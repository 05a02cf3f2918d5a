"""A detector without a network: its objects are bright squares on a dark ground."""

import numpy as np
from scipy import ndimage

from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.prediction import objects, search
from fskd_jax.prediction.results import Prediction
from fskd_jax.prediction.rows import placed
from fskd_jax.prediction.supports import Support

NAMES = ("north west", "south east", "centre")
SHAPE = np.array([(-0.4, -0.4), (0.4, 0.4), (0.0, 0.0)])
SIDE = 20
MARGIN = 1.25


class BlobDetector:
  """Finds the square nearest to the centre of a box, where one is in it.

  It counts its looks. Its confidence is a function of the pixels alone.
  """

  calibration = Calibration(
    mass_slope=1.0,
    peak_slope=0.0,
    offset=0.0,
    covariance_scale=1.0,
    split="validation",
    shots=1,
    keypoints=100,
    step=1,
  )

  def __init__(self, fail_at=None):
    self.looks = self.searches = 0
    self._fail_at = fail_at

  def support(self, images, keypoints, boxes):
    return Support(NAMES, np.ones(3, bool), SHAPE[None], (), None)

  def predict(self, support, images, boxes, objects=1):
    labels = [str(i) for i in range(len(images))]
    rows = self.locate(support, images, boxes, labels, objects)
    return self.detect(support, images, rows)[0]

  def locate(self, support, images, boxes, labels, count=1):
    sizes = [image.shape[1::-1] for image in images]

    def find(missing):
      self.searches += 1
      where = [sizes[i] for i in missing]

      def look(numbers, boxes):
        return self._look([images[missing[i]] for i in numbers], boxes)

      if count == 1:
        found = search.find_boxes(look, where, SHAPE[None], MARGIN)
        return np.arange(len(missing)), found
      return objects.find_objects(look, where, SHAPE[None], MARGIN, count)

    return placed(boxes, sizes, labels, find)

  def detect(self, support, images, rows):
    self.looks += 1
    if self.looks == self._fail_at:
      raise KeyboardInterrupt
    points, scores = self._look([images[i] for i in rows.numbers], rows.boxes)
    spread = np.broadcast_to(np.eye(2), (*scores.shape, 2, 2))
    found = Prediction(rows.numbers, rows.boxes, points, scores, spread, NAMES)
    return found, scores.mean(1)

  def _look(self, images, boxes):
    points, scores = [], []
    for image, (x, y, w, h) in zip(images, boxes):
      middle, side = np.array([x + (w - 1) / 2, y + (h - 1) / 2]), max(w, h)
      labels, count = ndimage.label(image[..., 0] > 128)
      found = ndimage.center_of_mass(labels > 0, labels, range(1, count + 1))
      centers = np.reshape(found, (-1, 2))[:, ::-1]
      away = np.linalg.norm(centers - middle, axis=-1) if count else np.array([np.inf])
      best = int(away.argmin())
      is_inside = away[best] < 0.6 * MARGIN * side
      points.append((centers[best] if is_inside else middle) + SIDE * SHAPE)
      fit = np.exp(-abs(np.log(side / SIDE)) / 4) if is_inside else 0.2
      noise = image[::7, ::5].mean() / 2550
      scores.append(np.full(3, fit * (0.9 - noise)))
    return np.array(points).reshape(-1, 3, 2), np.array(scores).reshape(-1, 3)


def frame(centers, size=(120, 90)):
  """Returns an image [h w 3] with a bright square at each centre."""
  image = np.zeros((size[1], size[0], 3), np.uint8)
  for x, y in np.round(centers).astype(int):
    left, top = max(x - SIDE // 2, 0), max(y - SIDE // 2, 0)
    image[top : y + SIDE // 2 + 1, left : x + SIDE // 2 + 1] = 255
  return image
