"""The pose task: what it hands to the training step."""

from helpers import poses

from fskd_jax.experiment import make_task
from fskd_jax.pose import step


def test_the_step_is_given_all_of_the_configuration(monkeypatch, tmp_path):
  given = {}
  monkeypatch.setattr(step, "train_step", lambda *_, **found: given.update(found))
  cfg = poses.config(tmp_path, seed=9)
  cfg.data.color_jitter = 0.3
  cfg.optim.rates = (("encoder/", 0.5),)
  make_task(cfg).train_step("an optimiser")(None, None)
  model = given.pop("model")
  expected = (cfg.model, poses.SIZE, len(cfg.data.base))
  assert (model.config, model.image_size, model.num_keypoints) == expected
  assert given == {
    "tx": "an optimiser",
    "loss": cfg.loss,
    "seed": 9,
    "color_jitter": 0.3,
    "parts": 1,
    "rates": (("encoder/", 0.5),),
  }
