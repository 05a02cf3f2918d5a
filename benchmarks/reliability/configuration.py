"""Numbers that make no sense, in the configuration and in what is computed."""

import copy
import dataclasses
import importlib.util
import math
from collections.abc import Iterator
from typing import Any

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, Trial, check, check_explained, script

_WRONG = (math.nan, math.inf, -math.inf, -1, 10**20)
"""Refused in every field."""


def not_finite(place: Place) -> Iterator[Trial]:
  """Rates and augmentations that make the loss infinite or nan."""
  for name, fields in {
    "learning rate 1000": {"optim__learning_rate": 1000, "optim__clip_norm": 0},
    "learning rate 1e30": {"optim__learning_rate": 1e30},
    "colour jitter nan": {"data__color_jitter": "nan"},
  }.items():

    def run(name=name, fields=fields) -> None:
      workdir = place.work / name.replace(" ", "_")
      done = script(place, "train.py", *runs.flags(place, workdir, **fields))
      if name == "learning rate 1000" and done.status == 0:
        return  # batch norm may survive it
      check_explained(done, "finite", "learning_rate", "color_jitter")

    yield Trial(name, run)


def numbers(place: Place) -> Iterator[Trial]:
  """Every number of the configuration set to what no field takes; also to 0.

  0 makes sense in many fields: there, only a traceback is a failure.
  """
  from fskd_jax import config

  spec = importlib.util.spec_from_file_location(
    "quickstart", place.tree / "configs" / "quickstart.py"
  )
  assert spec and spec.loader
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  whole = module.get_config()
  fields = list(_numbers(whole, ()))
  for path, value in place.few(fields, 12):
    for wrong in (*_WRONG, 0):
      if wrong == 0 and value == 0:
        continue

      def run(path=path, value=value, wrong=wrong) -> None:
        cfg = copy.deepcopy(whole)
        _set(cfg, path, (wrong, *value[1:]) if isinstance(value, tuple) else wrong)
        try:
          config.validate(cfg)
        except ValueError as error:
          check(path[-1] in str(error), f"does not name the field: {str(error)[:150]}")
          return
        check(wrong == 0, "taken without a word")

      yield Trial(f"{'.'.join(path)} = {wrong}", run)


def _numbers(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
  for field in dataclasses.fields(node):
    value, place = getattr(node, field.name), (*path, field.name)
    if dataclasses.is_dataclass(value):
      yield from _numbers(value, place)
    elif _is_number(value) or (
      isinstance(value, tuple) and value and _is_number(value[0])
    ):
      yield place, value


def _is_number(value: Any) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def _set(node: Any, path: tuple[str, ...], value: Any) -> None:
  for name in path[:-1]:
    node = getattr(node, name)
  setattr(node, path[-1], value)
