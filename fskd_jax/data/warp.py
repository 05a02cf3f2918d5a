"""Cuts a crop from a decoded image with NumPy, bit for bit as the tf.data executor.

The arithmetic is that of TensorFlow's `ImageProjectiveTransformV3`: float32, in the
same order.
"""

import numpy as np
from jaxtyping import Float32, UInt8

from fskd_jax.episode import BORDER_COLOR


def warp(
  image: UInt8[np.ndarray, "h w 3"],
  matrix: Float32[np.ndarray, "2 3"],
  size: tuple[int, int],
) -> UInt8[np.ndarray, "height width 3"]:
  """Samples an image bilinearly, blending into `BORDER_COLOR` outside.

  Args:
    image: RGB.
    matrix: From pixels of the result to pixels of the image.
    size: (height, width) of the result.
  """
  # Only the part that is sampled is converted to floats: photographs can be large.
  ends = np.array([[0, size[1] - 1, 0, size[1] - 1], [0, 0, size[0] - 1, size[0] - 1]])
  reached = matrix[:, :2] @ ends.astype(np.float32) + matrix[:, 2:]
  last = np.array(image.shape[1::-1], np.float32) - 1
  low = np.clip(np.floor(reached.min(1)) - 1, 0, last)
  high = np.clip(np.floor(reached.max(1)) + 2, 0, last)
  (left, top), (right, bottom) = low.astype(int), high.astype(int)
  border = np.array(BORDER_COLOR, np.float32)
  part = image[top : bottom + 1, left : right + 1].astype(np.float32) - border
  # A frame of zeros, the border's colour here, stands for all that lies outside.
  part = np.pad(part, ((1, 1), (1, 1), (0, 0)))
  rows, columns, _ = part.shape

  shift = matrix[:, 2] - low
  across = np.arange(size[1], dtype=np.float32)
  down = np.arange(size[0], dtype=np.float32)[:, None]
  x, y = (matrix[i, 0] * across + matrix[i, 1] * down + shift[i] for i in (0, 1))
  x0, y0 = np.floor(x), np.floor(y)
  x1, y1 = x0 + 1, y0 + 1

  def places(at: Float32[np.ndarray, "h w"], count: int) -> np.ndarray:
    return np.clip(at + 1, 0, count - 1).astype(np.intp)

  near, far = places(x0, columns), places(x1, columns)
  upper, lower = places(y0, rows) * columns, places(y1, rows) * columns
  corners = (upper + near, upper + far, lower + near, lower + far)
  from_left, from_right = x - x0, x1 - x
  from_top, from_bottom = y - y0, y1 - y
  # One colour at a time: NumPy is slow where the last axis is short.
  planes = np.ascontiguousarray(part.reshape(-1, 3).T)
  warped = np.empty((*size, 3), np.uint8)
  for channel, plane in enumerate(planes):
    a, b, c, d = (plane.take(at) for at in corners)
    above = from_right * a + from_left * b
    below = from_right * c + from_left * d
    color = from_bottom * above + from_top * below + border[channel]
    warped[..., channel] = np.clip(np.round(color), 0, 255)
  return warped
