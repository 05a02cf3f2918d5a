"""Writes metrics and pictures of a run: JSON lines and TensorBoard events.

Only process 0 writes. Events need the `tensorboard` package, but not TensorFlow.
"""

import io
import json
import math
import os
import pathlib
import socket
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from PIL import Image
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer import record_writer

from fskd_jax.files import append_text, write_text
from fskd_jax.metrics import lines as metrics_lines

METRICS_FILE = "metrics.jsonl"


class MetricWriter:
  """Writer of `<workdir>/metrics.jsonl` and of an event file beside it."""

  def __init__(
    self,
    workdir: str | pathlib.Path,
    first_step: int = 0,
    *,
    not_validated: bool = False,
  ):
    """Opens a new event file, and removes lines that will be written again.

    Args:
      workdir: The folder of the run; created if it does not exist.
      first_step: The next step. Lines of this and later steps, from a run that was
        killed, are removed, so that no step appears twice.
      not_validated: Whether the step before is to be validated again; a line of that
        is removed, too.
    """
    self._enabled = jax.process_index() == 0
    if not self._enabled:
      return
    folder = pathlib.Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    _cut(folder / METRICS_FILE, first_step, not_validated)
    self._lines = folder / METRICS_FILE
    name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
    self._events = record_writer.RecordWriter((folder / name).open("wb"))
    self._write_event(file_version="brain.Event:2")
    # TensorBoard then drops the events of earlier files from this step on.
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    self._write_event(step=first_step, session_log=start)

  def scalars(self, step: int, values: Mapping[str, Any]) -> None:
    """Writes one line, such as {"step": 10, "train/loss": 0.5}.

    Numbers that are not finite become null in the line.
    """
    if not self._enabled:
      return
    floats = {name: float(value) for name, value in values.items()}
    line = {name: v if math.isfinite(v) else None for name, v in floats.items()}
    append_text(self._lines, json.dumps({"step": step, **line}) + "\n")
    summary = summary_pb2.Summary(
      value=[
        summary_pb2.Summary.Value(tag=name, simple_value=value)
        for name, value in floats.items()
      ]
    )
    self._write_event(step=step, summary=summary)

  def image(self, step: int, name: str, pixels: np.ndarray) -> None:
    """Writes a picture, uint8 [h w 3], to TensorBoard."""
    if not self._enabled:
      return
    height, width, channels = pixels.shape
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, format="PNG")
    picture = summary_pb2.Summary.Image(
      height=height,
      width=width,
      colorspace=channels,
      encoded_image_string=png.getvalue(),
    )
    value = summary_pb2.Summary.Value(tag=name, image=picture)
    self._write_event(step=step, summary=summary_pb2.Summary(value=[value]))

  def close(self) -> None:
    """Closes the event file."""
    if self._enabled:
      self._events.close()

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _write_event(self, **fields: Any) -> None:
    event = event_pb2.Event(wall_time=time.time(), **fields)
    self._events.write(event.SerializeToString())
    self._events.flush()


def _cut(path: pathlib.Path, first_step: int, not_validated: bool) -> None:
  """Removes lines that will be written again, and damaged lines."""
  if not path.is_file():
    return

  def is_kept(line: dict[str, Any]) -> bool:
    is_validation = any(name.startswith("val/") for name in line)
    if line["step"] == first_step - 1 and not_validated and is_validation:
      return False
    return line["step"] < first_step

  lines = filter(is_kept, metrics_lines.read(path))
  write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
