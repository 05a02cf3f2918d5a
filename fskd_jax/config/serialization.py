"""Configurations as plain values: for JSON, checkpoints and comparisons."""

import dataclasses
import typing
from typing import Any

from fskd_jax.config.fields import changeable, walk
from fskd_jax.config.schema import Config


def may_change() -> tuple[str, ...]:
  """Returns the fields and sections that a resumed run may change."""
  return tuple(changeable(Config()))


def shared(cfg: Config) -> dict[str, Any]:
  """Returns the fields that all machines of a run share: all but paths."""
  return {
    f.name: f.value
    for f in walk(cfg)
    if not f.limits.get("path") and not f.limits.get("sections")
  }


def flatten(cfg: Any, prefix: str = "") -> dict[str, Any]:
  """Returns {"data.path": ..., ...} of a (sub-)configuration."""
  return {field.name: field.value for field in walk(cfg, prefix)}


def to_dict(cfg: Config) -> dict[str, Any]:
  """Returns nested plain dicts and lists, ready for JSON."""
  return dataclasses.asdict(cfg)


def from_dict(values: dict[str, Any]) -> Config:
  """Rebuilds a configuration from `to_dict` or from its JSON.

  Raises:
    ValueError: There are unknown fields. The message lists them.
  """
  return _build(Config, values, "")


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
  hints = typing.get_type_hints(kind)
  unknown = sorted(set(values) - set(hints))
  if unknown:
    names = ", ".join(prefix + name for name in unknown)
    raise ValueError(f"configuration has unknown fields: {names}")
  built = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(hints[name]):
      built[name] = _build(hints[name], value, f"{prefix}{name}.")
    elif name == "mixture":
      kind_of_part = typing.get_args(hints[name])[0]
      built[name] = tuple(_build(kind_of_part, v, f"{prefix}{name}.") for v in value)
    else:
      built[name] = _tuples(value)
  return kind(**built)


def _tuples(value: Any) -> Any:
  """Turns lists into tuples: JSON has no tuples, the schema has no lists."""
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
