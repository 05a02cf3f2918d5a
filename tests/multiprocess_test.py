"""Two processes of this machine train one detector together."""

import contextlib
import functools
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
import shapes

from fskd_jax.checkpoint import CheckpointStore

ROOT = pathlib.Path(__file__).parents[1]


def _free_port():
  with contextlib.closing(socket.socket()) as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]


def _run_both(script, *arguments, folder):
  """Runs a script in two processes of two devices each."""
  flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=2")
  command = [
    *(sys.executable, script, *arguments),
    *("--distributed", f"--coordinator=localhost:{_free_port()}", "--processes=2"),
  ]
  running = []
  for number in range(2):
    with (folder / f"{script}.{number}.log").open("w") as log:
      running.append(
        subprocess.Popen(
          [*command, f"--process={number}"],
          cwd=ROOT,
          env=os.environ | {"XLA_FLAGS": flags},
          stderr=log,
        )
      )
  codes = [process.wait(timeout=200) for process in running]
  logs = [(folder / f"{script}.{n}.log").read_text() for n in range(2)]
  assert codes == [0, 0], "\n".join(logs)
  return logs


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_two_processes_resume_train_and_checkpoint_together(
  trained, shapes_folder, tmp_path, backend
):
  # From step 64 of a run of one process and one device to its end at step 80.
  workdir = tmp_path / "run"
  shutil.copytree(trained[1], workdir)
  shutil.rmtree(workdir / "checkpoints" / "80")
  for path in workdir.glob("events.*"):
    path.unlink()
  experiment = shapes.write_experiment(tmp_path / "experiment.py", shapes_folder)
  logs = _run_both(
    "train.py",
    f"--config={experiment}",
    f"--workdir={workdir}",
    f"--config.train.backend={backend}",
    folder=tmp_path,
  )
  assert "resuming after step 64 of 80" in logs[0] and "resuming" not in logs[1]
  assert len(list(workdir.glob("events.*"))) == 1  # process 0 alone writes
  found, expected = shapes.metrics(workdir), shapes.metrics(trained[1])
  assert [line.keys() for line in found] == [line.keys() for line in expected]
  models = [CheckpointStore(run).restore_model() for run in (workdir, trained[1])]
  assert models[0].step == 80
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  jax.tree.map(close, found, expected)
  jax.tree.map(close, models[0].variables, models[1].variables)
