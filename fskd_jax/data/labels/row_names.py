"""The image or frame that the row of a table is about."""

import pathlib
import re
from collections.abc import Sequence

from fskd_jax.data.labels.parsing import whole_number
from fskd_jax.messages import shown

_IMAGE_COLUMNS = (
  "image", "image_path", "image_file", "image_name", "imagename", "img", "img_path",
  "img_name", "file", "file_name", "filename", "file_path", "filepath", "path",
)  # fmt: skip


def find(
  row: Sequence[str], header: Sequence[str], others: Sequence[int], path: pathlib.Path
) -> str | int:
  """Returns the key of a row, from the columns that hold no keypoint.

  Raises:
    ValueError: None of them names an image.
  """
  cells = {header[i]: row[i] for i in others if i < len(row)}
  key = _key_by_name([*cells.values()], [*cells])
  if key == "":
    raise ValueError(
      f"{path}: no column names the image of the row {shown(list(row[:8]))}"
    )
  return key


def _key_by_name(cells: Sequence[str], header: Sequence[str]) -> str | int:
  """Returns the frame, or else the file name, of a row below a header of one row."""
  named = {name.strip().lower(): cell for name, cell in zip(header, cells)}
  number = whole_number(named.get("frame", ""))
  if named.get("image") and number is not None:
    return frame_name(named["image"], number)
  for name in ("frame_idx", "frame"):
    if named.get(name, "").strip():
      return of_index([named[name]])
  for name in _IMAGE_COLUMNS:
    if named.get(name, "").strip():
      return of_index([named[name]])
  texts = [cell for cell in cells if cell.strip()]
  files = [text for text in texts if re.search(r"\.[a-z]\w*$", text, re.IGNORECASE)]
  numbers = [text for text in texts if whole_number(text) is not None]
  return of_index((files or numbers or texts or [""])[-1:])


def of_index(cells: Sequence[str]) -> str | int:
  """Returns the key of an index: the joined path, or a lone number as a frame."""
  joined = "/".join(cell.replace("\\", "/") for cell in cells if cell.strip())
  number = whole_number(joined)
  return joined if number is None else number


def frame_name(video: str, frame: int) -> str:
  """Returns the file name of a frame among the labels of several videos.

  The command `ffmpeg -i VIDEO -start_number 0 VIDEO/%06d.png` writes such files.
  """
  return f"{video}/{frame:06d}.png"


def frame_numbers(name: str) -> tuple[int, ...]:
  """Returns the numbers of a frame that the name of its file may mean; likely first.

  It is the last number, but may also be an earlier and longer one with zeros in front:
  cam1_000012_left2.png is frame 2 or 12.
  """
  runs = re.findall(r"[0-9]+", pathlib.PurePosixPath(name).stem)
  padded = [run for run in runs[:-1] if run[0] == "0" and len(run) > len(runs[-1])]
  numbers = [whole_number(run) for run in (*runs[-1:], *padded[-1:])]
  return tuple(number for number in numbers if number is not None)


def frames_of(names: Sequence[str]) -> list[int | None]:
  """Returns the number of the frame in each name of a file of one video.

  It is the last number in all names, or, if that differs less often, the earlier one
  that `frame_numbers` offers for each.
  """
  offered = [frame_numbers(name) for name in names]
  last = [numbers[0] if numbers else None for numbers in offered]
  earlier = [numbers[-1] if numbers[1:] else None for numbers in offered]
  differs_less = len({*last}) < len({*earlier})
  return earlier if differs_less and None not in earlier else last
