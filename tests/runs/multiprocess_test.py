"""Two processes of this machine train one detector together."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from helpers import shapes
from helpers.libraries import needs_tensorflow
from helpers.paths import ROOT
from helpers.ports import free_port

from fskd_jax.training.checkpoint import CheckpointStore


def _run_both(script, *arguments, folder, only_second=(), code=0):
  """Runs a script in two processes of two devices each.

  Args:
    script: train.py or evaluate.py.
    *arguments: of both.
    folder: for what they say.
    only_second: further arguments of process 1.
    code: what both must end with.

  Returns:
    What each said.
  """
  flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=2")
  command = [
    *(sys.executable, script, *arguments),
    *("--distributed", f"--coordinator=localhost:{free_port()}", "--processes=2"),
  ]
  running = []
  for number in range(2):
    with (folder / f"{script}.{number}.log").open("w") as log:
      running.append(
        subprocess.Popen(
          [*command, f"--process={number}", *(only_second if number else ())],
          cwd=ROOT,
          env=os.environ | {"XLA_FLAGS": flags},
          stderr=log,
        )
      )
  try:
    codes = [process.wait(timeout=200) for process in running]
  finally:
    for process in running:
      process.kill()
  logs = [(folder / f"{script}.{n}.log").read_text() for n in range(2)]
  assert codes == [code, code], "\n".join(logs)
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


@pytest.fixture
def experiment(shapes_folder, tmp_path):
  return shapes.write_experiment(tmp_path / "experiment.py", shapes_folder)


def _other_data(folder, tmp_path):
  other = tmp_path / "other"
  shutil.copytree(folder, other)
  content = json.loads((other / "annotations.json").read_text())
  content["annotations"][7]["keypoints"][0] += 0.5
  (other / "annotations.json").write_text(json.dumps(content))
  return (f"--config.data.path={other}",)


# Of process 1, and what both must say at the end.
DIFFERENCES = {
  # One of them is not even valid: its process must not end alone.
  "settings": (
    lambda *_: (
      "--config.train.seed=7",
      "--config.train.steps=90",
      "--config.optim.learning_rate=-1",
    ),
    (
      "train.seed is 0 on process 0, 7 on process 1",
      "train.steps is 80 on process 0, 90 on process 1",
      "optim.learning_rate is 0.01 on process 0, -1.0 on process 1",
    ),
  ),
  "data": (_other_data, ("the processes of this run differ: the labels (CRC) is ",)),
  "missing data": (lambda *_: ("--config.data.path=nowhere",), ("nowhere",)),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_processes_that_differ_end_before_the_first_step(
  experiment, shapes_folder, tmp_path, case
):
  flags, told = DIFFERENCES[case]
  logs = _run_both(
    "train.py",
    f"--config={experiment}",
    f"--workdir={tmp_path / 'run'}",
    "--config.train.backend=pmap",
    folder=tmp_path,
    only_second=flags(shapes_folder, tmp_path),
    code=2,
  )
  for log in logs:
    assert all(part in log.splitlines()[-1] for part in told), log
    assert "Traceback" not in log
  assert case != "missing data" or "process 1: FileNotFoundError" in logs[0]
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_processes_with_folders_of_their_own_do_not_resume(
  trained, experiment, tmp_path
):
  workdir = tmp_path / "run"
  shutil.copytree(trained[1], workdir)
  logs = _run_both(
    "train.py",
    f"--config={experiment}",
    f"--workdir={workdir}",
    "--config.train.backend=pmap",
    folder=tmp_path,
    only_second=[f"--workdir={tmp_path / 'own'}"],
    code=2,
  )
  for log in logs:
    assert "is [48, 64, 80] on process 0" in log and "same workdir" in log, log
    assert "Traceback" not in log


@needs_tensorflow
def test_the_default_executor_starts_with_an_empty_cache(experiment, tmp_path):
  cache = tmp_path / "cold"
  _run_both(
    "train.py",
    f"--config={experiment}",
    f"--workdir={tmp_path / 'run'}",
    "--config.train.backend=pmap",
    "--config.train.steps=4",
    "--config.data.validation_species=()",  # would take most of the time
    "--config.train.checkpoint_every=4",
    "--config.data.executor=tfdata",
    f"--config.data.cache_dir={cache}",
    folder=tmp_path,
  )
  assert shapes.metrics(tmp_path / "run")[0]["step"] == 4
  names = [path.name for path in cache.rglob("*")]
  assert "1.0.0" in names and not [name for name in names if "incomplete" in name]


def test_the_command_for_pods_shares_out_episodes_for_contrasts(
  shapes_folder, tmp_path
):
  """Runs what docs/pods.md says for four devices, made small, in one process."""
  page = (ROOT / "docs" / "pods.md").read_text()
  block = re.findall(r"^```\n(DEVICES=.*?)^```", page, re.M | re.S)[0]
  block = block.replace("DEVICES=16", "DEVICES=4")
  shown = block.replace(".venv/bin/python train.py", "printf '%s\\n'")
  words = subprocess.run(
    ["bash", "-c", shown], capture_output=True, text=True, check=True
  ).stdout.split()
  assert "--config.train.episodes_per_step=8" in words
  words.remove("--distributed")
  small = {
    "data.name": "coco_keypoints",
    "data.path": str(shapes_folder),
    "data.executor": "resident",
    "data.image_size": 32,
    "data.base": ("north", "east", "middle"),
    "data.novel": ("south",),
    "data.auxiliary_paths": (),
    "data.unseen_species": ("pond",),
    "data.validation_species": (),
    "data.heldout_fraction": 0.4,
    "data.min_support_types": 1,
    "data.min_query_types": 1,
    "model.encoder": "small",
    "model.strides": (8,),
    "model.small_widths": (8, 8, 8),
    "model.freeze_until": "",
    "train.queries": 2,
    "train.steps": 1,
    "eval.queries": 2,
  }
  command = [*words, *(f"--config.{name}={value}" for name, value in small.items())]
  command.append(f"--workdir={tmp_path / 'run'}")
  ended = subprocess.run(
    [sys.executable, "train.py", *command], cwd=ROOT, capture_output=True, text=True
  )
  assert ended.returncode == 0, ended.stderr
  (line,) = shapes.metrics(tmp_path / "run")
  assert line["train/loss_mfcl"] > 0
