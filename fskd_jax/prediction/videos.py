"""Reads and writes frames of videos; needs PyAV (the extra `video`)."""

import contextlib
import fractions
import importlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

TICKS = 90_000
"""Units of time in a second of the videos that are written, as in MPEG."""


class Frame(NamedTuple):
  """A frame of a video.

  Attributes:
    pixels: RGB, rotated to be upright.
    time: The time at which it is shown, seconds from the first frame; later than that
      of the frame before. Frames may come at a variable rate.
  """

  pixels: UInt8[np.ndarray, "h w 3"]
  time: float


class Video(NamedTuple):
  """An open video.

  Attributes:
    rate: Frames per second, on average.
    count: Number of frames by the file's header, 0 if it has none.
    frames: The frames in their order.
  """

  rate: fractions.Fraction
  count: int
  frames: Iterator[Frame]


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
      yield Video(rate, stream.frames, _timed(_frames(container, path), rate))
  except av.FFmpegError as error:
    raise ValueError(f"{path}: not a video, or a broken one: {error}") from error


@contextlib.contextmanager
def writing(
  path: pathlib.Path, rate: fractions.Fraction
) -> Iterator[Callable[[Frame], None]]:
  """Opens an MP4 file, and yields a function that adds a frame at its time.

  All frames have the size of the first; an odd row or column is cut off.

  Args:
    path: The file.
    rate: Frames per second, on average.
  """
  av = require()
  with av.open(str(path), "w", format="mp4") as container:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=rate)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = fractions.Fraction(1, TICKS)
    is_empty = True

    def add(frame: Frame) -> None:
      nonlocal is_empty
      if is_empty:
        stream.height, stream.width = (n // 2 * 2 for n in frame.pixels.shape[:2])
      even = np.ascontiguousarray(frame.pixels[: stream.height, : stream.width])
      drawn = av.VideoFrame.from_ndarray(even, format="rgb24")
      drawn.pts, drawn.time_base = (
        round(frame.time * TICKS),
        fractions.Fraction(1, TICKS),
      )
      container.mux(stream.encode(drawn))
      is_empty = False

    yield add
    if not is_empty:
      container.mux(stream.encode())


def _timed(
  frames: Iterator[tuple[np.ndarray, float | None]], rate: fractions.Fraction
) -> Iterator[Frame]:
  """Yields frames with times that grow: where a file has none, by the rate."""
  first, last = None, -float(1 / rate)
  for pixels, time in frames:
    if time is not None and first is None:
      first = time - last - float(1 / rate)
    seconds = last if time is None or first is None else time - first
    last = seconds if seconds > last else last + float(1 / rate)
    yield Frame(pixels, last)


def _frames(
  container: Any, path: pathlib.Path
) -> Iterator[tuple[UInt8[np.ndarray, "h w 3"], float | None]]:
  """Yields frames that can be decoded with their times, then raises if some were lost.

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
      yield np.rot90(frame.to_ndarray(format="rgb24"), quarters), frame.time
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
