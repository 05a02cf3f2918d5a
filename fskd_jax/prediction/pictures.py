"""Draws the pictures of a prediction folder: overlays, contact sheets and videos."""

import contextlib
import fractions
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from fskd_jax.files import atomic_path, write_picture
from fskd_jax.pictures.marks import Marks, cut_out, draw_marks, reduced
from fskd_jax.pictures.predictions import (
  SIDE,
  THUMBNAIL,
  draw_contact_sheet,
  draw_prediction,
)
from fskd_jax.prediction import videos
from fskd_jax.prediction.inputs import Annotated

SHEET = 30
"""Images per contact sheet."""

OVERLAYS = "overlays"


def support_marks(
  annotated: Annotated, names: Sequence[str], skeleton: Sequence[tuple[int, int]]
) -> Marks:
  """Returns the marks of an annotated image, for the pictures.

  Args:
    annotated: The image, and an object marked on it.
    names: Names of the keypoint types, in order.
    skeleton: Pairs of indices of types.
  """
  points = [annotated.marked.keypoints.get(name) or (np.nan, np.nan) for name in names]
  return Marks(
    title=annotated.path.name,
    image=annotated.image.pixels,
    keypoints=np.array(points, float),
    filled=np.ones(len(names), bool),
    skeleton=skeleton,
    box=annotated.marked.box,
  )


class Pictures:
  """Draws into a folder; a picture that fails is reported, and the rest is drawn."""

  def __init__(
    self,
    folder: pathlib.Path,
    supports: Sequence[Marks],
    names: Sequence[str],
    report: Callable[[str], None],
  ):
    """Creates the folder of the overlays.

    Args:
      folder: Folder of the results.
      supports: The annotated images, as returned by `support_marks`.
      names: Names of the keypoint types.
      report: Function that takes a sentence for every picture that fails.
    """
    self._folder, self._supports, self._names = folder, supports, names
    self._report, self._sheets = report, 0
    self._thumbnails: list[tuple[str, Image.Image]] = []
    (folder / OVERLAYS).mkdir(exist_ok=True)

  def add(self, number: int, marks: Marks, confidence: Float[np.ndarray, " n"]) -> None:
    """Draws the support beside a query, and keeps a thumbnail of the query.

    Args:
      number: Number of the query, in the file name.
      marks: The query image and its keypoints.
      confidence: Confidence of each keypoint, 0..1.
    """
    with self._reporting(marks.title):
      part = reduced(cut_out(marks), 2 * SIDE)  # drawn at twice the size
      path = self._folder / OVERLAYS / f"{_stem(number, marks.title)}.jpg"
      if not path.exists():  # a run that goes on
        picture = draw_prediction(self._supports, part, self._names, confidence)
        write_picture(path, picture, quality=92)
      thumbnail = draw_marks(_plain(part), THUMBNAIL)
      self._thumbnails.append((marks.title, thumbnail))
    if len(self._thumbnails) == SHEET:
      self._draw_sheet()

  def finish(self) -> None:
    """Draws the last contact sheet, unless there is only one image."""
    if len(self._thumbnails) > (self._sheets == 0):
      self._draw_sheet()

  @contextlib.contextmanager
  def video(
    self, number: int, name: str, rate: fractions.Fraction
  ) -> Iterator[Callable[[Marks, float], None]]:
    """Opens a copy of a video, and yields a function that draws and adds a frame.

    The function takes the frame's marks and its time in seconds.
    """
    opened, path = contextlib.ExitStack(), self._folder / f"{_stem(number, name)}.mp4"

    def start() -> Callable[[videos.Frame], None]:
      unfinished = opened.enter_context(atomic_path(path))
      return opened.enter_context(videos.writing(unfinished, rate))

    write, has_failed = None, False  # no file without frames

    def add(marks: Marks, time: float) -> None:
      nonlocal write, has_failed
      if has_failed:
        return
      has_failed = True  # no frames after one that failed
      with self._reporting(name):
        drawn = draw_marks(_plain(marks), max(marks.image.shape))
        write = write or start()
        write(videos.Frame(np.asarray(drawn), time))
        has_failed = False

    try:
      yield add
    finally:
      with self._reporting(name):
        opened.close()

  def _draw_sheet(self) -> None:
    self._sheets += 1
    pictures, self._thumbnails = self._thumbnails, []
    name = f"contact_sheet_{self._sheets}.png"
    with self._reporting(name):
      write_picture(self._folder / name, draw_contact_sheet(pictures, self._names))

  @contextlib.contextmanager
  def _reporting(self, name: str) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # any, because a picture must not stop the prediction
      self._report(f"{name}: {type(error).__name__}: {error}")


def _plain(marks: Marks) -> Marks:
  """Returns marks without ellipses, which hide small pictures."""
  others = tuple(other._replace(covariance=None) for other in marks.others)
  return marks._replace(covariance=None, others=others)


def _stem(number: int, name: str) -> str:
  """Returns a file name short enough for every file system (255 bytes)."""
  stem = pathlib.PurePosixPath(name).stem
  return f"{number:04d}_" + "".join(c if c.isprintable() else "_" for c in stem[:50])
