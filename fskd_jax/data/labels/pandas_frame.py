"""A data frame of pandas, in whichever of its formats it is stored."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


class Frame(NamedTuple):
  """A data frame.

  Attributes:
    column_levels: The names of the levels of the columns.
    columns: The texts of each column, one for each level.
    index: The texts of each row.
    values: The values; NaN where missing.
  """

  column_levels: list[str]
  columns: list[tuple[str, ...]]
  index: Sequence[Sequence[str]]
  values: Float64[np.ndarray, "r c"]
