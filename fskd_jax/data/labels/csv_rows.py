"""Reads the rows of CSV files as spreadsheets of any language write them.

Where the comma is the decimal point, cells are separated by semicolons or tabs.
"""

import csv
import io
import pathlib
import re

from fskd_jax.data.labels import looks

_SEPARATORS = ",;\t"
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*")


@looks.kept
def read(path: pathlib.Path) -> list[list[str]]:
  """Returns the cells of all rows that are not blank; decimal commas become points.

  The separator is the one of comma, semicolon and tab that the first row has most of.

  Raises:
    ValueError: The file is not a CSV file in UTF-8 (or UTF-16 with its mark).
  """
  data = path.read_bytes()
  encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
  try:
    text = data.decode(encoding)
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    lines = io.StringIO(text, newline="")
    rows = [row for row in csv.reader(lines, delimiter=separator) if any(row)]
  except UnicodeDecodeError as error:
    raise ValueError(f"{path}: not a CSV file in UTF-8: {error}") from error
  except csv.Error as error:
    raise ValueError(f"{path}: not a CSV file: {error}") from error
  if separator == ",":
    return rows
  return [[_with_point(cell) for cell in row] for row in rows]


def _with_point(cell: str) -> str:
  return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
