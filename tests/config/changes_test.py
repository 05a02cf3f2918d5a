import pytest

from configs import any_keypoints, quickstart
from fskd_jax.config import flatten
from fskd_jax.config.changes import with_fields


def test_only_the_named_fields_change_and_in_a_copy():
  cfg = quickstart.get_config()
  before = flatten(cfg)
  changed = flatten(with_fields(cfg, {"model.pyramid.width": 0, "train.steps": 7_000}))
  assert flatten(cfg) == before
  assert {k for k in changed if changed[k] != before[k]} == {"train.steps"}


def test_a_star_is_every_source():
  cfg = any_keypoints.get_config()
  name = "data.mixture.{}.data.self_supervised.share"
  changed = flatten(
    with_fields(cfg, {name.format("*"): 1.0, name.format("lips"): 0.25})
  )
  shares = {s.name: changed[name.format(s.name)] for s in cfg.data.mixture}
  assert shares.pop("lips") == 0.25 and {*shares.values()} == {1.0}


def test_what_is_not_there_or_wrong_is_named():
  cfg = quickstart.get_config()
  with pytest.raises(ValueError, match=r"loss\.heatmaps"):
    with_fields(cfg, {"loss.heatmaps": "mse"})
  with pytest.raises(ValueError, match=r"train\.steps = 0"):
    with_fields(cfg, {"train.steps": 0})
