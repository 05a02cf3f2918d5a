"""The log waits for the devices when it writes a line, and at no step between."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp

from fskd_jax.training import log as logs


def test_the_devices_are_waited_for_at_lines_alone(monkeypatch):
  real, fetched, lines = jax.device_get, [], []
  train = SimpleNamespace(log_every=4, steps=10)
  cfg: Any = SimpleNamespace(train=train, name="run")
  writer: Any = SimpleNamespace(scalars=lambda step, values: lines.append(step))
  monkeypatch.setattr(jax, "device_get", lambda x: (fetched.append(len(x)), real(x))[1])
  counts = []
  with logs.TrainLog(cfg, writer, steps_done=0, seconds=0.0, images_per_step=1) as log:
    for step in range(1, 11):
      log.add(step, {"loss": jnp.float32(step)})
      counts.append(len(fetched))
  # A line is written once the step after it is under way, so devices never stand still.
  assert counts == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
  assert fetched == [4, 4, 2] and lines == [4, 8, 10]
