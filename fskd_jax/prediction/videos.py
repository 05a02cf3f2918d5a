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
    rate: Frames per second.
    count: Number of frames by the file's header, 0 if it has none.
    frames: RGB frames, rotated to be upright.
  """

  rate: fractions.Fraction
  count: int
  frames: Iterator[UInt8[np.ndarray, "h w 3"]]


def require() -> Any:
  """Returns PyAV.

  Raises:
    ImportError: PyAV is not installed; the message gives the command.
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
    ValueError: The file is not a video, broken, or without frames. Iterating over the
      frames raises it after the last one if frames are missing or damaged.
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
  """Opens an MP4 file, and yields a function that adds a frame to it.

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
  """Yields all frames that can be decoded, then raises if some were lost.

  Raises:
    ValueError: Packets or seconds are missing, or frames are damaged.
  """
  av, stream = require(), container.streams.video[0]
  packets = shown = damaged = 0
  end = 0.0
  for packet in container.demux(stream):
    packets += packet.size > 0
    try:
      frames = packet.decode()
    except av.InvalidDataError:
      damaged += 1
      continue
    for frame in frames:
      shown, damaged = shown + 1, damaged + frame.is_corrupt
      end = max(end, frame.time or 0.0)
      quarters = round(frame.rotation / 90)  # counterclockwise, as np.rot90 counts
      yield np.rot90(frame.to_ndarray(format="rgb24"), quarters)
  if not shown:
    raise ValueError(f"{path}: a video without frames")
  whole = stream.frames or _estimate(container, stream, end) or packets
  faults = [f"{packets} of {whole} frames are there"] * (packets < whole)
  faults += [f"{damaged} are damaged"] * (damaged > 0)
  if faults:
    raise ValueError(
      f"{path}: {' and '.join(faults)} ({shown} could be decoded): the file was cut "
      "off or changed"
    )


def _estimate(container: Any, stream: Any, end: float) -> int:
  """Returns the number of frames by the duration; 0 if the file seems whole.

  Args:
    container: The open file.
    stream: The stream of the frames.
    end: Time of the last frame, seconds.
  """
  if not container.duration or not stream.average_rate:
    return 0
  duration, frame = container.duration / 1e6, 1 / float(stream.average_rate)
  # Sound may go on for a while after the last frame.
  slack = 1.5 * frame + (len(container.streams) > 1) * max(1.0, 0.05 * duration)
  start = (stream.start_time or 0) * float(stream.time_base or 0)
  return round(duration / frame) if end - start + frame + slack < duration else 0
