"""Kinds of configuration fields, with their choices and bounds, and their check.

A field is `name: type = kind(default, ..)` in a dataclass; `kind` is a function of this
file, which puts the choices or the bounds into the field's metadata.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

MOST = 10**9
"""Upper bound of counts."""

LARGEST_SEED = 2**31 - 1


def one_of(default: str, *others: str, may_change: bool = False) -> Any:
  """Returns a field that takes the default or one of the other words."""
  return _field(default, may_change, choices=(default, *others))


def number(default: Any, low: float, high: float, *, may_change: bool = False) -> Any:
  """Returns a field whose number, or each of whose numbers, lies in [low, high].

  Args:
    default: A number, or a tuple of numbers.
    low: The smallest value.
    high: The largest value.
    may_change: Whether a resumed run may have another value.
  """
  return _field(default, may_change, bounds=(low, high))


def fraction(default: Any) -> Any:
  """Returns a field whose numbers lie in [0, 1]."""
  return number(default, 0, 1)


def count(default: Any, low: int = 1, *, may_change: bool = False) -> Any:
  """Returns a field whose whole numbers are at least `low`."""
  return number(default, low, MOST, may_change=may_change)


def random_seed(default: int) -> Any:
  """Returns a field that takes the seed of a random generator."""
  return number(default, 0, LARGEST_SEED)


def local_path(default: str = "") -> Any:
  """Returns a field that names a file or folder of this machine.

  A resumed run, and another process of the same run, may find it elsewhere.
  """
  return _field(default, True, path=True)


def text(default: str, *, may_change: bool = False) -> Any:
  """Returns a field that takes any text."""
  return _field(default, may_change)


def switch(default: bool, *, may_change: bool = False) -> Any:
  """Returns a field that is on or off."""
  return _field(default, may_change)


def section(kind: Callable[[], Any], *, may_change: bool = False) -> Any:
  """Returns a field that holds a dataclass of fields."""
  return dataclasses.field(default_factory=kind, metadata={"may_change": may_change})


def sections() -> Any:
  """Returns a field that holds a tuple of dataclasses, each with a `name`."""
  return _field((), False, sections=True)


def _field(default: Any, may_change: bool, **limits: Any) -> Any:
  return dataclasses.field(
    default=default, metadata={"may_change": may_change} | limits
  )


def choices(section: type, name: str) -> tuple[str, ...]:
  """Returns the words that a field of `one_of` takes, the default first."""
  return section.__dataclass_fields__[name].metadata["choices"]


class FieldValue(typing.NamedTuple):
  """A field of a configuration, by its dotted name.

  Attributes:
    name: The name on the command line, such as "optim.learning_rate".
    hint: The type.
    default: The default value.
    limits: The metadata: may_change, and choices, bounds, path or sections.
    value: The value.
  """

  name: str
  hint: Any
  default: Any
  limits: typing.Mapping[str, Any]
  value: Any


def walk(cfg: Any, prefix: str = "") -> Iterator[FieldValue]:
  """Yields every field of a configuration and of its sections.

  A field of `sections` is followed by the fields of each: "data.mixture", then
  "data.mixture.faces.weight" and the others of the source "faces".
  """
  hints = typing.get_type_hints(type(cfg))
  for field in dataclasses.fields(cfg):
    value, name = getattr(cfg, field.name), prefix + field.name
    if dataclasses.is_dataclass(hints[field.name]):
      yield from walk(value, f"{name}.")
      continue
    found = FieldValue(name, hints[field.name], field.default, field.metadata, value)
    yield found
    if field.metadata.get("sections") and _fits(value, found.hint):
      for part in value:
        yield from walk(part, f"{name}.{part.name}.")


def without_section(name: str) -> str:
  """Returns the name that a field of a source has in the configuration of one data set.

  >>> without_section("data.mixture.faces.data.path")
  'data.path'
  """
  return re.sub(r"^data\.mixture\.[^.]+\.", "", name)


def changeable(cfg: Any, prefix: str = "") -> list[str]:
  """Returns the dotted names of the fields and sections that a resume may change."""
  names = []
  for field in dataclasses.fields(cfg):
    if field.metadata.get("may_change"):
      names.append(prefix + field.name)
    elif dataclasses.is_dataclass(getattr(cfg, field.name)):
      names += changeable(getattr(cfg, field.name), f"{prefix}{field.name}.")
  return names


def problem(field: FieldValue) -> str:
  """Describes a wrong type, choice or number of a field; "" if the value is right."""
  said = f"{field.name} = {field.value!r}: "
  if not _fits(field.value, field.hint):
    return f"{said}expected {_name(field.hint)}"
  allowed = field.limits.get("choices")
  if allowed and field.value not in allowed:
    return f"{said}choose one of {', '.join(map(repr, allowed))}"
  low, high = field.limits.get("bounds", (-math.inf, math.inf))
  if "bounds" in field.limits and not all(low <= x <= high for x in numbers(field)):
    return f"{said}must lie in [{low:g}, {high:g}]"
  return ""


def numbers(field: FieldValue) -> tuple[float, ...]:
  """Returns the number of a numeric field, or the numbers of its tuple."""
  is_many = isinstance(field.value, (tuple, list))
  return tuple(field.value) if is_many else (field.value,)


def _fits(value: Any, hint: Any) -> bool:
  """Returns whether a value is of one of the types in the schema."""
  if typing.get_origin(hint) is tuple:
    if not isinstance(value, (tuple, list)):
      return False
    kinds = typing.get_args(hint)
    if kinds[-1] is Ellipsis:
      return all(_fits(item, kinds[0]) for item in value)
    return len(kinds) == len(value) and all(map(_fits, value, kinds))
  if hint in (int, float):
    kinds = (int,) if hint is int else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool)
  return isinstance(value, hint)


def _name(hint: Any) -> str:
  return hint.__name__ if isinstance(hint, type) else str(hint)
