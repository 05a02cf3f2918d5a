"""Two processes train in a bucket: one sends, both go on from what is there."""

import os
import subprocess
import sys

import pytest
from helpers import shapes
from helpers.paths import ROOT
from helpers.ports import free_port

from fskd_jax.buckets import copies
from fskd_jax.training.runs import load_run

pytestmark = pytest.mark.slow

RUN = "s3://store/runs/one"


def _train(experiment, homes):
  """Trains in two processes with copies of their own; returns what each said."""
  command = [
    *(sys.executable, "train.py", f"--config={experiment}", f"--workdir={RUN}"),
    *("--config.train.steps=12", "--config.train.backend=pmap"),
    *("--config.train.checkpoint_every=4", "--config.data.validation_species=()"),
    *("--distributed", f"--coordinator=localhost:{free_port()}", "--processes=2"),
  ]
  flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=2")
  running = [
    subprocess.Popen(
      [*command, f"--process={number}"],
      cwd=ROOT,
      env=os.environ | {"XLA_FLAGS": flags, "FSKD_BUCKETS": str(home)},
      stderr=subprocess.PIPE,
      text=True,
    )
    for number, home in enumerate(homes)
  ]
  try:
    said = [process.communicate(timeout=300)[1] for process in running]
  finally:
    for process in running:
      process.kill()
  assert [process.returncode for process in running] == [0, 0], "\n".join(said)
  return said


def test_they_stop_and_go_on_elsewhere(store, shapes_folder, tmp_path, monkeypatch):
  experiment = shapes.write_experiment(tmp_path / "experiment.py", shapes_folder)
  _train(experiment, (tmp_path / "a", tmp_path / "b"))
  assert load_run(RUN)[1] == 12
  copies.Bucket(RUN).remove("checkpoints/12/_CHECKPOINT_METADATA")  # a lost machine
  said = _train(experiment, (tmp_path / "c", tmp_path / "b"))
  assert "resuming after step 8 of 12" in said[0]
  monkeypatch.setenv("FSKD_BUCKETS", str(tmp_path / "d"))
  assert load_run(RUN)[1] == 12
  # The other one sends nothing.
  names = {name.split("/")[0] for name in copies.Bucket(RUN).listing()}
  assert "checkpoints" in names and not any("process" in name for name in names)
