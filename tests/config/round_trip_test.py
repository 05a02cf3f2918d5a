"""Any configuration, valid or not, is the same after JSON."""

import functools
import json
import math
import typing

from hypothesis import given
from hypothesis import strategies as st

from fskd_jax import config
from fskd_jax.config.fields import FieldValue


def _values(hint: typing.Any, limits: typing.Mapping) -> st.SearchStrategy:
  """Returns what a field of this type may hold, within its choices or bounds."""
  if typing.get_origin(hint) is tuple:
    kinds = typing.get_args(hint)
    if kinds[-1] is Ellipsis:
      return st.lists(_values(kinds[0], limits), max_size=3).map(tuple)
    return st.tuples(*(_values(kind, limits) for kind in kinds))
  if hint is config.SourceConfig:
    data = st.builds(config.DataConfig, path=st.text(), slots=st.integers(0, 9))
    return st.builds(config.SourceConfig, name=st.text(), data=data)
  low, high = limits.get("bounds", (-1e9, 1e9))  # JSON knows no infinity
  if hint is float:
    return st.floats(low, high, allow_nan=False)
  if hint is int:
    return st.integers(math.ceil(low), math.floor(high))
  if hint is bool:
    return st.booleans()
  return st.sampled_from(limits["choices"]) if "choices" in limits else st.text()


def _set(cfg: config.Config, field: FieldValue, value: typing.Any) -> None:
  *sections, name = field.name.split(".")
  setattr(functools.reduce(getattr, sections, cfg), name, value)


@st.composite
def configurations(draw):
  """Draws a configuration with a few fields that are not at their defaults."""
  cfg = config.Config()
  fields = list(config.walk(cfg))
  for field in draw(st.lists(st.sampled_from(fields), max_size=12)):
    _set(cfg, field, draw(_values(field.hint, field.limits)))
  return cfg


@given(configurations())
def test_a_configuration_is_the_same_after_json(cfg):
  text = json.dumps(config.to_dict(cfg), allow_nan=False)
  again = config.from_dict(json.loads(text))
  assert again == cfg
  assert config.flatten(again) == config.flatten(cfg)
  assert [type(f.value) for f in config.walk(again)] == [
    type(f.value) for f in config.walk(cfg)
  ]
