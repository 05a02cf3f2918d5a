"""Reads and writes frames of videos; needs PyAV (the extra `video`)."""

import contextlib
import fractions
import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")


class Video(NamedTuple):
  """An open video.

  Attributes:
    rate: frames per second.
    count: of frames as the file says, 0 if it does not.
    frames: RGB, turned as the camera was held.
  """

  rate: fractions.Fraction
  count: int
  frames: Iterator[UInt8[np.ndarray, "h w 3"]]


def require() -> Any:
  """Returns PyAV.

  Raises:
    ImportError: it is not installed; says how to.
  """
  try:
    return importlib.import_module("av")
  except ImportError as error:
    raise ImportError(
      "videos need PyAV: pip install -e '.[video]' in the clone of fskd_jax"
    ) from error


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[Video]:
  """Opens a video.

  Raises:
    ValueError: it is no video, is broken, or has no frames; also while iterating.
  """
  av = require()
  try:
    with av.open(str(path)) as container:
      if not container.streams.video:
        raise ValueError(f"{path}: a video without frames")
      stream = container.streams.video[0]
      stream.thread_type = "AUTO"
      rate = stream.average_rate or fractions.Fraction(25)
      yield Video(rate, stream.frames, _frames(container, path))
  except av.FFmpegError as error:
    raise ValueError(f"{path}: not a video, or a broken one: {error}") from error


@contextlib.contextmanager
def writing(
  path: pathlib.Path, rate: fractions.Fraction
) -> Iterator[Callable[[UInt8[np.ndarray, "h w 3"]], None]]:
  """Opens an MP4 file; yields a function that adds a frame to it.

  All frames have the size of the first; an odd row or column is cut off.
  """
  av = require()
  with av.open(str(path), "w", format="mp4") as container:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=rate)
    stream.pix_fmt = "yuv420p"
    is_empty = True

    def add(frame: UInt8[np.ndarray, "h w 3"]) -> None:
      nonlocal is_empty
      if is_empty:
        stream.height, stream.width = (n // 2 * 2 for n in frame.shape[:2])
      even = np.ascontiguousarray(frame[: stream.height, : stream.width])
      container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
      is_empty = False

    yield add
    if not is_empty:
      container.mux(stream.encode())


def _frames(container: Any, path: pathlib.Path) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  is_empty = True
  for frame in container.decode(video=0):
    is_empty = False
    quarters = round(frame.rotation / 90)  # counterclockwise, as of rot90
    yield np.rot90(frame.to_ndarray(format="rgb24"), quarters)
  if is_empty:
    raise ValueError(f"{path}: a video without frames")
