"""Reads a header of one row: which columns are the coordinates of which keypoint.

Written as nose.x (SLEAP, `fskd predict`), nose_x, x_nose, "nose x", nose-x, nose:x,
"nose (x)" or noseX.
"""

import re
from collections.abc import Sequence

_STYLES = tuple(
  re.compile(pattern)
  for pattern in (
    r"(?P<name>.+)\.(?P<axis>[A-Za-z]+)",
    r"(?P<name>.+?)[_ :-](?:coord[_ ])?(?P<axis>[A-Za-z]+)",
    r"(?P<axis>[xy]|likelihood|confidence|score|visib(?:le|ility))[_ :.-](?P<name>.+)",
    r"(?P<name>.+?) ?[(\[](?P<axis>[A-Za-z]+)(?:[ ,_]*(?:px|pixels?))?[)\]]",
    r"(?P<name>.*[a-z0-9])(?P<axis>[XY])",
  )
)
_AXES = frozenset(
  ("x", "y", "likelihood", "confidence", "score", "visible", "visibility")
)
_SHORT = {"v": "visibility", "vis": "visibility", "conf": "confidence"}
_BOXES = frozenset(("bbox", "box", "bounding_box"))
_NUMBERED = re.compile(r"[xy]_?\d+", re.IGNORECASE)


def columns(header: Sequence[str]) -> list[tuple[str, str]]:
  """Returns (keypoint, axis) of every column; ("", "") for columns of other kinds.

  The axis is one of x, y, likelihood, confidence, score, visible and visibility.

  Raises:
    ValueError: The columns are numbered (X1, Y1, ..): such tables count y from the top
      or from the bottom of the image.
  """
  spaced = all(cell.startswith(" ") for cell in header[1:])  # "image, nose_x, nose_y"
  cells = [cell.strip() if spaced else cell for cell in header]
  found = [_split(cell) for cell in cells]
  axes = [axis for _, axis in found]
  if not {"x", "y"} <= {*axes} and sum(map(bool, map(_NUMBERED.fullmatch, cells))) > 3:
    raise ValueError(
      "columns X1, Y1, .. do not tell whether y counts from the top of the image (a "
      "box?) or from the bottom (morphometrics); read the .tps file, or name the "
      "columns NAME_x, NAME_y, counted from the top"
    )
  return found


def _split(cell: str) -> tuple[str, str]:
  matches = (style.fullmatch(cell) for style in _STYLES)
  parts = [(m["name"], m["axis"].lower()) for m in matches if m]
  parts = [(name, _SHORT.get(axis, axis)) for name, axis in parts]
  known = [p for p in parts if p[1] in _AXES and p[0].lower() not in _BOXES]
  return (known or [("", "")])[0]
