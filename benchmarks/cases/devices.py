"""(g) The training step on 1 and 4 devices: collectives of the program, and time.

Every combination runs in a process of its own with virtual CPU devices, whose program
XLA writes down. With synchronised batch norm the network reduces statistics in every
layer; the rows without ("frozen") show the gradients alone.

  python -m benchmarks.cases.devices BACKEND MODEL BATCH_NORM EPISODES RUNS
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import jax
import optax

from benchmarks.cases import training
from benchmarks.harness import collectives, runner
from benchmarks.harness.problem import Setup
from benchmarks.opponents import ours
from configs import lightweight, quickstart
from fskd_jax.config import rates
from fskd_jax.device import parallel
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.models.build import count_parameters
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.training import optim
from fskd_jax.training import state as train_state

CONFIGS = {"quickstart": quickstart.get_config, "lightweight": lightweight.get_config}
COMBINATIONS = (
  *(("single", 1), ("pmap", 4), ("shard_map", 4)),
  *(("pmap", 1), ("shard_map", 1)),
)
EPISODES, SIDE = 8, 64


def extra_entries(
  setup: Setup, entries: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
  """Yields an entry for every backend, number of devices and model."""
  del entries
  runs = 7 if setup.is_full else 3
  for model in CONFIGS if setup.is_full else ("quickstart",):
    every = setup.is_full and model == "quickstart"
    for backend, devices in COMBINATIONS if every else COMBINATIONS[:3]:
      both = setup.is_full and devices > 1
      for batch_norm in ("running", "frozen") if both else ("running",):
        name = f"{model}, {backend}, {devices} devices, batch norm {batch_norm}"
        yield {
          "case": "devices",
          "problem": name,
          "variables": {
            "model": model, "backend": backend, "devices": devices,
            "batch_norm": batch_norm, "episodes": EPISODES, "side": SIDE,
          },
          "values": _in_process(backend, devices, model, batch_norm, runs),
        }  # fmt: skip


def _in_process(
  backend: str, devices: int, model: str, batch_norm: str, runs: int
) -> dict[str, Any]:
  with tempfile.TemporaryDirectory() as folder:
    flags = (
      f"--xla_force_host_platform_device_count={devices} --xla_dump_to={folder} "
      "--xla_dump_hlo_as_text --xla_dump_hlo_module_re=.*"
    )
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # what is read is not dumped
    arguments = (backend, model, batch_norm, str(EPISODES), str(runs))
    found = subprocess.run(
      [sys.executable, "-m", "benchmarks.cases.devices", *arguments],
      cwd=pathlib.Path(__file__).parents[2],
      env=environment,
      capture_output=True,
      text=True,
    )
    if found.returncode:
      raise RuntimeError(f"{backend}, {devices} devices: {found.stderr[-2000:]}")
    programs = pathlib.Path(folder).glob("*after_optimizations.txt")
    # Of all programs of the process the step is by far the largest.
    step = max(programs, key=lambda path: path.stat().st_size)
    return collectives.summary(step.read_text()) | json.loads(
      found.stdout.splitlines()[-1]
    )


def measure(
  backend: str, model: str, batch_norm: str, episodes: int, runs: int
) -> dict[str, Any]:
  """Times steps in this process."""
  cfg = CONFIGS[model]()
  cfg.model.batch_norm = batch_norm
  detector = FewShotDetector(cfg.model, SIDE)
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps, rates(cfg))
  step = functools.partial(
    few_shot_step.train_step,
    detector=detector,
    tx=tx,
    rates=rates(cfg),
    loss=cfg.loss,
    seed=0,
    rotate_support=False,
  )
  train = parallel.parallelize_training(step, backend, (SIDE, SIDE))
  variables = ours.random_variables(detector)
  state = parallel.replicate(train_state.init_state(variables, tx), backend)
  batch = ours.episodes(SIDE, count=episodes, queries=1, keypoints=training.KEYPOINTS)
  seconds, sent = [], 0
  for number in range(runs + 1):
    if number == 1:
      sent = _sent()
    start = time.perf_counter()
    state, values = train(state, batch, None)
    jax.block_until_ready((state, values))
    seconds.append(time.perf_counter() - start)
  return {
    "seconds": runner.summary(seconds[1:]),
    "first_seconds": seconds[0],
    "devices": jax.device_count(),
    "input_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(batch)),
    "sent_bytes": (_sent() - sent) / runs,
    "gradient_bytes": 4 * _trained(variables["params"], tx),
  }


def _sent() -> int:
  """Returns the bytes that programs of this machine have sent each other so far."""
  counters = pathlib.Path("/proc/net/dev")
  lines = counters.read_text().splitlines() if counters.exists() else []
  loopback = [line.split() for line in lines if line.strip().startswith("lo:")]
  return int(loopback[0][9]) if loopback else 0


def _trained(params: Any, tx: optax.GradientTransformation) -> int:
  """Counts the parameters that the optimiser keeps moments of: two of each."""
  return count_parameters(jax.eval_shape(tx.init, params)) // 2


if __name__ == "__main__":
  names, numbers = sys.argv[1:4], map(int, sys.argv[4:])
  print(json.dumps(measure(names[0], names[1], names[2], *numbers)))
