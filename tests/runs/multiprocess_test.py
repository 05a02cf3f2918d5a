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
from helpers import several_runs, shapes
from helpers.libraries import HOST_EXECUTOR, needs_tensorflow
from helpers.paths import ROOT
from helpers.ports import free_port

from fskd_jax.training.checkpoint import CheckpointStore


def _run_both(script, *arguments, folder, only_second=(), code=0):
  """Runs a script in two processes of two devices each.

  Args:
    script: train.py, or one that takes its flags.
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
    with (folder / f"{number}.log").open("w") as log:
      running.append(
        subprocess.Popen(
          [*command, f"--process={number}", *(only_second if number else ())],
          cwd=ROOT,
          env=os.environ | {"XLA_FLAGS": flags},
          stderr=log,
        )
      )
  try:
    codes = [process.wait(timeout=900) for process in running]
  finally:
    for process in running:
      process.kill()
  logs = [(folder / f"{n}.log").read_text() for n in range(2)]
  assert codes == [code, code], "\n".join(logs)
  return logs


def _assert_same_end(workdir, expected):
  """Compares records and weights of a run with those of one process and one device."""
  assert len(list(workdir.glob("events.*"))) == 1  # process 0 alone writes
  found, wanted = shapes.metrics(workdir), shapes.metrics(expected)
  assert [line.keys() for line in found] == [line.keys() for line in wanted]
  models = [CheckpointStore(run).restore_model() for run in (workdir, expected)]
  assert models[0].step == 80
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)
  jax.tree.map(close, found, wanted)
  jax.tree.map(close, models[0].variables, models[1].variables)


def _unfinished(finished, workdir):
  """Copies a run without its end, from step 64 to step 80."""
  shutil.copytree(finished, workdir)
  shutil.rmtree(workdir / "checkpoints" / "80")
  for path in workdir.glob("events.*"):
    path.unlink()
  return workdir


@pytest.fixture(scope="module")
def experiment(shapes_folder, tmp_path_factory):
  folder = tmp_path_factory.mktemp("experiment")
  return shapes.write_experiment(folder / "experiment.py", shapes_folder)


def test_processes_that_differ_end_before_the_first_step(experiment, tmp_path):
  logs = _run_both(
    "train.py",
    f"--config={experiment}",
    f"--workdir={tmp_path / 'run'}",
    "--config.train.backend=pmap",
    folder=tmp_path,
    # One of them is not even valid: this process must not end alone.
    only_second=(
      "--config.train.seed=7",
      "--config.train.steps=90",
      "--config.optim.learning_rate=-1",
    ),
    code=2,
  )
  for log in logs:
    last = log.splitlines()[-1]
    assert "train.seed is 0 on process 0, 7 on process 1" in last
    assert "train.steps is 80 on process 0, 90 on process 1" in last
    assert "optim.learning_rate is 0.01 on process 0, -1.0 on process 1" in last
    assert "Traceback" not in log
  assert not (tmp_path / "run" / "metrics.jsonl").exists()


def _other_data(folder, other):
  shutil.copytree(folder, other)
  content = json.loads((other / "annotations.json").read_text())
  content["annotations"][7]["keypoints"][0] += 0.5
  (other / "annotations.json").write_text(json.dumps(content))
  return other


@pytest.fixture(scope="module")
def several(trained, shapes_folder, experiment, tmp_path_factory):
  """Runs of two processes that start once: (folder, what each said by run)."""
  folder = tmp_path_factory.mktemp("several")
  pmap, shard_map = {"train.backend": "pmap"}, {"train.backend": "shard_map"}
  both = lambda name, fields: 2 * [{"workdir": str(folder / name), "fields": fields}]
  runs = {"other data": both("other data", pmap), "no data": both("no data", pmap)}
  other = _other_data(shapes_folder, folder / "other")
  runs["other data"][1] = runs["other data"][1] | {
    "fields": pmap | {"data.path": str(other)}
  }
  runs["no data"][1] = runs["no data"][1] | {"fields": pmap | {"data.path": "nowhere"}}
  runs["own folders"] = [
    {"workdir": str(workdir), "fields": pmap}
    for workdir in (shutil.copytree(trained[1], folder / "run"), folder / "own")
  ]
  for name, backend in (("resumed", pmap), ("global arrays", shard_map)):
    _unfinished(trained[1], folder / name)
    runs[name] = both(name, backend)
  if HOST_EXECUTOR == "tfdata":
    runs["streamed"] = both("streamed", pmap | STREAMED | {
      "data.cache_dir": str(folder / "cold")
    })  # fmt: skip
  (folder / "runs.json").write_text(json.dumps(runs))
  program = "tests/helpers/several_runs.py"
  logs = _run_both(
    program, f"--config={experiment}", f"--runs={folder / 'runs.json'}", folder=folder
  )
  assert all("Traceback" not in log for log in logs), logs
  return folder, [several_runs.split(log) for log in logs]


STREAMED = {
  "train.steps": 4,
  "train.checkpoint_every": 4,
  "data.validation_species": (),  # would take most of the time
  "data.executor": "tfdata",
}


# What both must say at the end.
FAULTS = {
  "other data": ("the processes of this run differ: the labels (CRC) is ",),
  "no data": ("nowhere",),
  "own folders": ("is [48, 64, 80] on process 0", "same workdir"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_data_and_folders_are_told_before_the_first_step(several, fault):
  folder, said = several
  for by_run in said:
    last = by_run[fault].splitlines()[-1]
    assert all(part in last for part in FAULTS[fault]), by_run[fault]
  assert fault != "no data" or "process 1: FileNotFoundError" in said[0][fault]
  assert not (folder / fault / "metrics.jsonl").exists()


@pytest.mark.parametrize("run", ["resumed", "global arrays"])
def test_two_processes_resume_train_and_checkpoint_together(several, trained, run):
  folder, said = several
  assert "resuming after step 64 of 80" in said[0][run]
  assert "resuming" not in said[1][run]
  _assert_same_end(folder / run, trained[1])


@needs_tensorflow
def test_the_default_executor_starts_with_an_empty_cache(several):
  folder, _ = several
  assert shapes.metrics(folder / "streamed")[0]["step"] == 4
  names = [path.name for path in (folder / "cold").rglob("*")]
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
