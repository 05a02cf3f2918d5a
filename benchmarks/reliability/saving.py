"""Times how long a training waits for a checkpoint, and how long that is written.

  python -m benchmarks.reliability.saving

Prints a row for each configuration: the size of its state, the seconds that the loop
waits (`begin_saving`), and those until the checkpoint is written and read back.
"""

import contextlib
import os
import statistics
import tempfile
import time

_RUNS = 3


def main() -> None:
  """Measures and prints."""
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  import jax

  from configs import lightweight, quickstart
  from fskd_jax import config, experiment
  from fskd_jax.training import loop
  from fskd_jax.training.checkpoint import CheckpointStore

  print("| configuration | MB | the loop waits, s | until it is whole, s |")
  print("|---|---|---|---|")
  for module in (quickstart, lightweight):
    cfg = module.get_config()
    cfg.model.pretrained = ""
    state = loop.new_state(experiment.make_task(cfg), cfg)
    jax.block_until_ready(state)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6
    waited, whole = [], []
    with (
      tempfile.TemporaryDirectory() as folder,
      contextlib.closing(CheckpointStore(folder, keep=1)) as store,
    ):
      for step in range(_RUNS + 1):
        begun = time.perf_counter()
        store.begin_saving(step, state, config.to_dict(cfg))
        waited.append(time.perf_counter() - begun)
        store.finish()
        whole.append(time.perf_counter() - begun)
    # The first one also imports and compiles.
    seconds = " | ".join(f"{statistics.median(x[1:]):.2f}" for x in (waited, whole))
    print(f"| `{cfg.name}` | {size:.0f} | {seconds} |", flush=True)


if __name__ == "__main__":
  main()
