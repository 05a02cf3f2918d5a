import copy
import dataclasses
import json
import pathlib

import pytest

from fskd_jax import config
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
def test_published_experiments_are_valid(variant, monkeypatch):
  monkeypatch.syspath_prepend(pathlib.Path(__file__).parents[1])
  from configs import transpose

  cfg = transpose.get_config(variant)
  config.validate(cfg)
  assert (len(cfg.data.base), cfg.loss.target_sigma * 256) == (17, 8)
  with pytest.raises(ValueError, match="'tp_x': choose one of tp_r_a3"):
    transpose.get_config("tp_x")
