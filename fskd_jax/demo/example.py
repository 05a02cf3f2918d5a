"""Example for the page: drawn creatures, one of them marked."""

from typing import Any

from fskd_jax.data.creatures import render, skeleton
from fskd_jax.demo.gallery import Gallery, Picture
from fskd_jax.files import encode_picture

_SPECIES = ("horse", "horse", "zebra", "fox")


def make(gallery: Gallery, number: int) -> tuple[list[Picture], dict[str, Any]]:
  """Draws four creatures into a gallery, and marks the first.

  Args:
    gallery: The gallery.
    number: The number of the example; another one has other creatures.

  Returns:
    The pictures, and the JSON of `marks`.
  """
  drawn = [(kind, render.render(kind, (number, i))) for i, kind in enumerate(_SPECIES)]
  pictures = [
    gallery.add(f"{kind}_{number}_{i}.png", encode_picture(picture.image))
    for i, (kind, picture) in enumerate(drawn)
  ]
  first = drawn[0][1]
  points = {
    name: {"x": x, "y": y, "sure": None, "hidden": False}
    for name, (x, y), seen in zip(
      skeleton.KEYPOINTS, first.keypoints.tolist(), first.visible
    )
    if seen
  }
  pairs = [(skeleton.KEYPOINTS[a], skeleton.KEYPOINTS[b]) for a, b in skeleton.SKELETON]
  marks = {
    "species": "",
    "names": [*points],
    "skeleton": [pair for pair in pairs if {*pair} <= points.keys()],
    "pictures": {pictures[0].key: {"points": points, "box": [*map(float, first.box)]}},
  }
  return pictures, marks
