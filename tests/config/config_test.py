import copy
import dataclasses
import functools
import importlib
import json
import math
import re
import typing

import pytest
from helpers.paths import ROOT

from fskd_jax import config
from fskd_jax.config import fields as config_fields
from fskd_jax.models.transpose import VARIANTS


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
  cfg.data.executor = "grpc"
  cfg.model.kernel_sizes = (1, 2)
  cfg.data.image_size = 100
  cfg.optim.learning_rate = 0.0
  cfg.data.flip_probability = 1.5
  with pytest.raises(ValueError) as caught:
    config.validate(cfg)
  for field in (
    "data.base",
    "'grpc'",
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


def _field(cfg, name):
  return next(field for field in config.walk(cfg) if field.name == name)


def _set(cfg, name, value):
  *sections, last = name.split(".")
  setattr(functools.reduce(getattr, sections, cfg), last, value)


def _scalar(hint):
  """Returns the type of a field, or of the entries of its tuple."""
  return _scalar(typing.get_args(hint)[0]) if typing.get_origin(hint) else hint


NAMES = (
  "data.base data.novel data.auxiliary_paths data.flip_pairs data.unseen_species "
  "data.validation_species eval.settings pose.lower_body name model.encoder "
  "model.freeze_until model.pyramid.inner optim.rates train.init_patterns data.holdout "
  "data.group_pattern"
).split()
"""Fields of words that the data, the user or the table of encoders knows."""

FIELDS = {field.name: field for field in config.walk(config.Config())}
NUMBERS = [
  name for name, field in FIELDS.items() if _scalar(field.hint) in (int, float)
]


def test_every_field_says_what_it_takes():
  kinds = {int: "bounds", float: "bounds"}
  for name, field in FIELDS.items():
    scalar = _scalar(field.hint)
    if scalar in kinds:
      low, high = field.limits["bounds"]
      assert 0 <= low < high <= 2**31, name
      assert all(low <= value <= high for value in config_fields.numbers(field)), name
    elif scalar is str and name not in NAMES:
      assert field.limits.get("path") or field.value in field.limits["choices"], name
    elif field.limits.get("sections"):
      assert dataclasses.is_dataclass(scalar), name
    else:
      assert scalar in (str, bool), name
  assert len(NUMBERS) > 70


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_is_refused_beyond_its_bounds(name):
  field, is_tuple = FIELDS[name], isinstance(FIELDS[name].value, tuple)
  low, high = field.limits["bounds"]
  wrong = [math.nan, math.inf, -math.inf, -1, 10**20, True, "1", None]
  for value in (*wrong, low - 1, high + 1):
    for spoilt in [(value,), (*field.value, value)] if is_tuple else [value]:
      cfg = _valid()
      _set(cfg, name, spoilt)
      with pytest.raises(ValueError, match=rf"{re.escape(name)} = "):
        config.validate(cfg)
  for value in (low, high):
    cfg = _valid()
    _set(cfg, name, (value,) if is_tuple else value)
    length_is_fixed = is_tuple and typing.get_args(field.hint)[-1] is not Ellipsis
    assert length_is_fixed or not config_fields.problem(_field(cfg, name))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_refuses_another_type(name):
  class Other:
    pass

  for value in (Other(), {}, ((Other(),),)):
    cfg = _valid()
    _set(cfg, name, value)
    with pytest.raises(ValueError, match=rf"{re.escape(name)} = .*expected"):
      config.validate(cfg)


def test_a_text_is_no_list_of_names():
  cfg = _valid()
  cfg.data.base = "nose"  # pyright: ignore
  with pytest.raises(
    ValueError, match=r"data.base = 'nose': expected tuple\[str, ...\]"
  ):
    config.validate(cfg)


def test_a_choice_is_one_of_the_listed():
  for name, field in FIELDS.items():
    if "choices" in field.limits:
      cfg = _valid()
      _set(cfg, name, "sideways")
      with pytest.raises(ValueError, match=rf"{re.escape(name)} = 'sideways': choose"):
        config.validate(cfg)


def test_a_faulty_field_is_not_blamed_on_others():
  cfg = _valid()
  cfg.train.log_every = 0
  cfg.model.small_widths = (8, -1, 8)
  with pytest.raises(ValueError) as caught:
    config.validate(cfg)
  assert str(caught.value).count(" = ") == 2


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_warm_up_is_shorter_than_the_run(schedule):
  cfg = _valid()
  cfg.optim.schedule, cfg.optim.warmup_steps, cfg.train.steps = schedule, 60, 60
  with pytest.raises(ValueError, match="optim.warmup_steps = 60: .*train.steps = 60"):
    config.validate(cfg)
  cfg.train.steps = 61
  config.validate(cfg)


def test_what_a_resumed_run_may_change():
  names = {"name", "eval", "train.backend", "data.path", "pose.flip_test"}
  assert names < {*config.may_change()}
  for section in ("optim", "loss"):
    assert not any(name.startswith(section) for name in config.may_change())
  assert not {"train.steps", "train.seed", "data.base"} & {*config.may_change()}


@pytest.mark.parametrize(
  "field, value, message",
  [
    ("model.encoder", "vgg", r"'vgg': choose one of 'resnet50', 'resnet18', "),
    ("model.freeze_until", "stage2", r"'stage2': resnet50 takes '', 'stem', 'layer1'"),
    ("model.strides", (2,), r"\(2,\): resnet50 offers \(4, 8, 16, 32\)"),
    ("model.strides", (), r"\(\): resnet50 offers"),
    ("optim.rates", (("encoder/(", 0.1),), r"'encoder/\(' is no regular expression"),
    ("optim.rates", (("encoder/", -0.1),), "factor -0.1 of 'encoder/' must lie in"),
    ("train.init_patterns", (("*", ""),), r"'\*' is no regular expression"),
  ],
)
def test_words_of_the_encoder_and_patterns_are_checked(field, value, message):
  cfg = _valid()
  _set(cfg, field, value)
  with pytest.raises(ValueError, match=f"{field}.*{message}"):
    config.validate(cfg)


def test_machines_share_all_but_paths():
  left_out = FIELDS.keys() - config.shared(_valid()).keys()
  assert left_out == {
    "data.path",
    "data.cache_dir",
    "data.mixture",  # but its parts are shared
    "model.pretrained",
    "pose.detections",
    "train.init_from",
  }


def test_a_misspelt_attribute_is_refused():
  cfg = _valid()
  assert dataclasses.is_dataclass(cfg)
  with pytest.raises(AttributeError):
    cfg.optim.learning_rat = 1.0  # pyright: ignore


def _pose() -> config.Config:
  cfg = config.Config(task="pose", data=config.DataConfig(base=("nose", "left eye")))
  cfg.data.image_size, cfg.data.image_width = 256, 192
  cfg.model = copy.deepcopy(VARIANTS["tp_r_a4"])
  cfg.eval.settings = ("all/base",)
  return cfg


def test_the_pose_task_needs_no_few_shot_fields():
  cfg = _pose()
  config.validate(cfg)
  assert config.crop_size(cfg.data) == (256, 192)
  cfg.data.image_width = 0
  assert config.crop_size(cfg.data) == (256, 256)


POSE_FAULTS = {
  "data.image_width": lambda cfg: setattr(cfg.data, "image_width", 190),
  "model.transformer.layers": lambda cfg: setattr(cfg.model.transformer, "layers", 0),
  "model.freeze_until": lambda cfg: setattr(cfg.model, "freeze_until", "stem"),
  "pose.lower_body": lambda cfg: setattr(cfg.pose, "lower_body", ("tail",)),
  "pose.oks_sigmas": lambda cfg: setattr(cfg.pose, "oks_sigmas", (0.1,)),
  "pose.scale_std": lambda cfg: setattr(cfg.pose, "scale_std", 1.0),
  "pose.decoding": lambda cfg: setattr(cfg.pose, "decoding", "mean"),
  "pose.detections": lambda cfg: setattr(cfg.pose, "detections", "boxes.json"),
  "eval.protocol": lambda cfg: setattr(cfg.eval, "protocol", "reference"),
  "eval.settings": lambda cfg: setattr(cfg.eval, "settings", ("unseen/novel",)),
}


@pytest.mark.parametrize("field", POSE_FAULTS)
def test_faults_of_a_pose_experiment_are_named(field):
  cfg = _pose()
  POSE_FAULTS[field](cfg)
  with pytest.raises(ValueError, match=field):
    config.validate(cfg)


def test_the_few_shot_detector_takes_square_crops():
  cfg = _valid()
  cfg.data.image_width = 192
  with pytest.raises(ValueError, match="data.image_width = 192: .* square"):
    config.validate(cfg)


@pytest.mark.parametrize("variant", VARIANTS)
def test_published_experiments_are_valid(variant):
  from configs import transpose

  cfg = transpose.get_config(variant)
  config.validate(cfg)
  assert (len(cfg.data.base), cfg.loss.target_sigma * 256) == (17, 8)
  with pytest.raises(ValueError, match="'tp_x': choose one of tp_r_a3"):
    transpose.get_config("tp_x")


@pytest.mark.parametrize(
  "path", sorted(ROOT.glob("configs/*.py")), ids=lambda p: p.stem
)
def test_every_experiment_is_valid(path):
  module = importlib.import_module(f"configs.{path.stem}")
  try:
    cfg = module.get_config()
  except FileNotFoundError as error:
    pytest.skip(str(error))  # its species are listed by a data set
  config.validate(cfg)
