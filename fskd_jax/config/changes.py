"""Changes fields of a configuration by their dotted names."""

import copy
import difflib
import fnmatch
from collections.abc import Mapping
from typing import Any

from fskd_jax.config.fields import walk
from fskd_jax.config.schema import Config
from fskd_jax.config.validation import validate


def with_fields(cfg: Config, values: Mapping[str, Any]) -> Config:
  """Returns a valid copy of a configuration with fields replaced.

    with_fields(cfg, {"optim.learning_rate": 1e-3})
    with_fields(cfg, {"data.mixture.*.data.self_supervised.share": 0.4})

  Args:
    cfg: The configuration; stays as it is.
    values: Values by name; "*" in the place of a source's name stands for all sources.

  Raises:
    ValueError: A field does not exist, or the result is invalid.
  """
  changed = copy.deepcopy(cfg)
  for pattern, value in values.items():
    every = [x.name for x in walk(changed)]
    names = [name for name in every if fnmatch.fnmatchcase(name, pattern)]
    if not names:
      near = difflib.get_close_matches(pattern, every, 1)
      raise ValueError(
        f"there is no field {pattern!r} in the configuration"
        + "".join(f" (did you mean {name}?)" for name in near)
      )
    for name in names:
      _set(changed, name, value)
  validate(changed)
  return changed


def _set(cfg: Config, name: str, value: Any) -> None:
  section: Any = cfg
  *path, last = name.split(".")
  for part in path:
    if isinstance(section, tuple):
      section = next(source for source in section if source.name == part)
    else:
      section = getattr(section, part)
  setattr(section, last, value)
