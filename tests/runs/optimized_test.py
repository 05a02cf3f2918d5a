"""Optimised code, which is what users run: other tests leave most optimisations out."""

import os
import subprocess
import sys

from helpers.paths import ROOT

TESTS = {
  # A run that resumes bit for bit, over a checkpoint, to its end.
  "runs/training_test": ("a_run_without_validation_resumes_bit_for_bit",),
  # Gradients: pmap and shard_map beside a single device.
  "device/parallel_test": ("backends_give_the_gradients_of_a_single_device",),
  # Slow, obvious loops.
  "models/smd_test": ("correlate_is_the_slow_loop",),
  "models/aggregator_test": ("pooling_is_the_weighted_sum",),
  "few_shot/losses_test": (
    "heatmap_loss_equals_slow_loop",
    "mfcl_equals_slow_loop_with_ids_in_any_order",
  ),
}
CASES = 12
"""Of these tests of this folder."""

RUN = """
import sys, jax, pytest
assert not jax.config.values["jax_disable_most_optimizations"]
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_optimised_code_resumes_bit_for_bit_and_equals_slow_loops():
  finished = subprocess.run(
    [
      *(sys.executable, "-c", RUN, "-p", "no:xdist", "-p", "no:cacheprovider"),
      *(f"tests/{file}.py::test_{name}" for file in TESTS for name in TESTS[file]),
    ],
    cwd=ROOT,
    env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"},
    capture_output=True,
    text=True,
    timeout=900,
  )
  assert finished.returncode == 0, finished.stdout + finished.stderr
  assert f"{CASES} passed" in finished.stdout.splitlines()[-1]
