"""A page of `fskd demo` whose detector answers at once, and its pictures."""

import contextlib
import io
import threading
import types

import numpy as np
from PIL import Image

from fskd_jax.demo.finding import Finder
from fskd_jax.demo.gallery import Gallery
from fskd_jax.demo.server import Server
from fskd_jax.demo.session import Session
from helpers.predictions import of_points


class StandIn:
  """Finds every point where it was marked, plus one pixel; each time less sure."""

  config = types.SimpleNamespace(name="stand-in")

  def support(self, images, keypoints, boxes):
    """Returns the points of the first picture that has each, and their names."""
    names = [*keypoints[0]]
    points = [
      next(shot[name] for shot in keypoints if shot[name] is not None) for name in names
    ]
    return names, np.array(points, float)

  def predict(self, support, images, boxes):
    names, points = support
    sure = np.tile(0.9 / np.arange(1, len(names) + 1), (len(images), 1))
    return of_points(np.tile(points + 1, (len(images), 1, 1)), sure, tuple(names), 4.0)


@contextlib.contextmanager
def served(folder=None, labels=None, detector=None, most=1):
  """Serves a page at a free port; yields its address."""
  session = Session(Finder(detector or StandIn()), Gallery(folder), labels)
  with Server(session, "127.0.0.1", 0, most) as server:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
      yield f"http://127.0.0.1:{server.server_port}"
    finally:
      server.shutdown()
      thread.join()


def png(size=(40, 30), seed=0):
  """Returns the content of a picture of smooth noise."""
  pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
  content = io.BytesIO()
  Image.fromarray(pixels).resize(size).save(content, "PNG")
  return content.getvalue()


def point(x, y, sure=None, hidden=False):
  """Returns a point as the page sends it."""
  return {"x": x, "y": y, "sure": sure, "hidden": hidden}


def marked(names, pictures, skeleton=()):
  """Returns marks as the page sends them; pictures: (points, box) by key."""
  content = {k: {"points": points, "box": box} for k, (points, box) in pictures.items()}
  return {"names": [*names], "skeleton": [*skeleton], "pictures": content}
