"""The pictures that `fskd predict` leaves: overlays, contact sheets, drawn videos."""

import contextlib
import fractions
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from fskd_jax.files import atomic_path, write_picture
from fskd_jax.pictures.predictions import (
  THUMBNAIL,
  Marks,
  draw_contact_sheet,
  draw_marks,
  draw_prediction,
)
from fskd_jax.prediction import photographs, videos
from fskd_jax.prediction.keypoint_files import Marked

SHEET = 30
"""Images per contact sheet."""

OVERLAYS = "overlays"


def support_marks(
  path: pathlib.Path,
  found: Marked,
  names: Sequence[str],
  skeleton: Sequence[tuple[int, int]],
) -> Marks:
  """Returns an annotated image, for the pictures.

  Args:
    path: of the image.
    found: what is marked on it.
    names: of the keypoint types, in order.
    skeleton: pairs of their numbers.
  """
  points = [found.keypoints.get(name) or (np.nan, np.nan) for name in names]
  return Marks(
    title=path.name,
    image=photographs.read(path, str(path)),
    keypoints=np.array(points, float),
    filled=np.ones(len(names), bool),
    skeleton=skeleton,
  )


class Pictures:
  """Draws into a folder; what fails is told and stops nothing."""

  def __init__(
    self,
    folder: pathlib.Path,
    supports: Sequence[Marks],
    names: Sequence[str],
    tell: Callable[[str], None],
  ):
    """Makes the folder of the overlays.

    Args:
      folder: of the results.
      supports: the annotated images.
      names: of the keypoint types.
      tell: gets a sentence for every picture that fails.
    """
    self._folder, self._supports, self._names = folder, supports, names
    self._tell, self._sheets = tell, 0
    self._thumbnails: list[tuple[str, Image.Image]] = []
    (folder / OVERLAYS).mkdir()

  def add(self, number: int, marks: Marks, confidence: Float[np.ndarray, " n"]) -> None:
    """Draws the support beside a query, and remembers a thumbnail of it.

    Args:
      number: of the query.
      marks: its keypoints.
      confidence: of them.
    """
    with self._telling(marks.title):
      picture = draw_prediction(self._supports, marks, self._names, confidence)
      path = self._folder / OVERLAYS / f"{_stem(number, marks.title)}.jpg"
      write_picture(path, picture, quality=92)
      thumbnail = draw_marks(marks._replace(covariance=None), THUMBNAIL)
      self._thumbnails.append((marks.title, thumbnail))
    if len(self._thumbnails) == SHEET:
      self._draw_sheet()

  def finish(self) -> None:
    """Draws the last contact sheet; a single image needs none."""
    if len(self._thumbnails) > (self._sheets == 0):
      self._draw_sheet()

  @contextlib.contextmanager
  def video(
    self, number: int, name: str, rate: fractions.Fraction
  ) -> Iterator[Callable[[Marks], None]]:
    """Makes a copy of a video; yields a function that draws and adds a frame."""
    opened, add_frame = contextlib.ExitStack(), None
    with self._telling(name):
      path = self._folder / f"{_stem(number, name)}.mp4"
      unfinished = opened.enter_context(atomic_path(path))
      add_frame = opened.enter_context(videos.writing(unfinished, rate))

    def add(marks: Marks) -> None:
      nonlocal add_frame
      if add_frame is None:
        return
      add_frame, write = None, add_frame  # after a failure, no frame is in its place
      with self._telling(name):
        drawn = draw_marks(marks._replace(covariance=None), max(marks.image.shape))
        write(np.asarray(drawn))
        add_frame = write

    try:
      yield add
    finally:
      with self._telling(name):
        opened.close()

  def _draw_sheet(self) -> None:
    self._sheets += 1
    pictures, self._thumbnails = self._thumbnails, []
    name = f"contact_sheet_{self._sheets}.png"
    with self._telling(name):
      write_picture(self._folder / name, draw_contact_sheet(pictures))

  @contextlib.contextmanager
  def _telling(self, name: str) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # whatever it is, results are worth more
      self._tell(f"{name}: {type(error).__name__}: {error}")


def _stem(number: int, name: str) -> str:
  """Returns a file name that every file system takes (255 bytes)."""
  stem = pathlib.PurePosixPath(name).stem
  return f"{number:04d}_" + "".join(c if c.isprintable() else "_" for c in stem[:50])
