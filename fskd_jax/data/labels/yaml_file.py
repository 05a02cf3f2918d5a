"""Reads YAML settings of other tools: plain values of limited size, no aliases."""

import pathlib
from typing import Any

import yaml

_MOST_BYTES = 2**22


class _Loader(yaml.SafeLoader):
  """Loader without aliases, of which a few lines can make a gigabyte."""

  def compose_node(self, parent: Any, index: Any) -> Any:
    if self.check_event(yaml.AliasEvent):
      raise ValueError("holds aliases (*name), which are not read")
    return super().compose_node(parent, index)


def read(path: pathlib.Path) -> dict[str, Any]:
  """Returns the mapping in a file.

  Raises:
    ValueError: The file is larger than 4 MiB, no YAML, or holds something else.
  """
  if path.stat().st_size > _MOST_BYTES:
    raise ValueError(f"{path} is larger than {_MOST_BYTES // 2**20} MiB of YAML")
  try:
    content = yaml.load(path.read_bytes(), _Loader)
  except (yaml.YAMLError, ValueError, RecursionError, UnicodeError) as error:
    reason = " ".join(str(error).split())
    raise ValueError(f"{path}: not valid YAML: {reason}") from error
  if not isinstance(content, dict):
    raise ValueError(f"{path}: expected names and values, such as task: ..")
  return content
