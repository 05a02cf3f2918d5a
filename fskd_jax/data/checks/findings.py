"""Kinds and cases of what the checks of a data set find."""

from typing import NamedTuple

ERROR, WARNING, NOTE = "error", "warning", "note"


class Finding(NamedTuple):
  """One kind of finding.

  Attributes:
    level: `ERROR`, if training or evaluation would stop or be wrong; `WARNING`, if it
      needs a look; or `NOTE`.
    what: A description of the kind.
    cases: A text for each case.
  """

  level: str
  what: str
  cases: tuple[str, ...]


class Case(NamedTuple):
  """One case of a finding: its level, its kind, and a text."""

  level: str
  what: str
  text: str
