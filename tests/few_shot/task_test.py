"""The few-shot task: what it hands to the training step."""

import pytest
from helpers import shapes

from fskd_jax.experiment import make_task
from fskd_jax.few_shot import step


@pytest.mark.parametrize("rotate_support", [True, False])
def test_the_step_is_given_all_of_the_configuration(
  monkeypatch, tmp_path, rotate_support
):
  given = {}
  monkeypatch.setattr(step, "train_step", lambda *_, **found: given.update(found))
  cfg = shapes.config(tmp_path, seed=9, rotate_support=rotate_support)
  cfg.data.color_jitter, cfg.data.grey_probability = 0.3, 0.2
  cfg.train.parts = 2
  cfg.optim.rates = (("encoder/", 0.5),)
  make_task(cfg).train_step("an optimiser")(None, None)
  detector = given.pop("detector")
  assert (detector.config, detector.image_size) == (cfg.model, cfg.data.image_size)
  assert given == {
    "tx": "an optimiser",
    "loss": cfg.loss,
    "seed": 9,
    "rotate_support": rotate_support,
    "color_jitter": 0.3,
    "grey_probability": 0.2,
    "parts": 2,
    "rates": (("encoder/", 0.5),),
  }
