import dataclasses
import json

import pytest

from fskd_jax import config


def _valid() -> config.Config:
  return config.Config(data=config.DataConfig(base=("nose",)))


def test_json_round_trip_is_identity():
  cfg = _valid()
  cfg.data.auxiliary_paths = (("nose", "left ear"), ("a", "b"))
  again = config.from_dict(json.loads(json.dumps(config.to_dict(cfg))))
  assert again == cfg
  assert isinstance(again.data.auxiliary_paths[0], tuple)


def test_validate_lists_every_problem_at_once():
  cfg = _valid()
  config.validate(cfg)
  cfg.data.base = ()
  cfg.data.executor = "grain"
  cfg.model.kernel_sizes = (1, 2)
  cfg.data.image_size = 100
  cfg.optim.learning_rate = 0.0
  cfg.data.flip_probability = 1.5
  with pytest.raises(ValueError) as caught:
    config.validate(cfg)
  for field in (
    "data.base",
    "'grain'",
    "model.kernel_sizes",
    "data.image_size",
    "optim.learning_rate",
    "data.flip_probability",
  ):
    assert field in str(caught.value)


def test_unknown_fields_are_named():
  values = config.to_dict(_valid())
  values["optim"]["learning_rat"] = 1.0
  with pytest.raises(ValueError, match="optim.learning_rat"):
    config.from_dict(values)


def test_every_choice_and_range_names_an_existing_field():
  fields = config.flatten(_valid())
  for field in (*config.CHOICES, *config._POSITIVE, *config._FRACTIONS):
    assert field in fields
  for field, allowed in config.CHOICES.items():
    assert fields[field] in allowed


def test_a_misspelt_attribute_is_refused():
  cfg = _valid()
  assert dataclasses.is_dataclass(cfg)
  with pytest.raises(AttributeError):
    cfg.optim.learning_rat = 1.0  # pyright: ignore
