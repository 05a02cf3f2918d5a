"""train.py and evaluate.py as a user runs them."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers import several_commands, shapes
from helpers.libraries import HOST_EXECUTOR
from helpers.paths import ROOT

from fskd_jax.training.checkpoint import CheckpointStore


def start(*command, **options):
  return subprocess.Popen(
    [sys.executable, *map(str, command)], cwd=ROOT, text=True, **options
  )


def _end(process):
  """Returns the exit code and what was written to stderr."""
  _, errors = process.communicate(timeout=200)
  return process.returncode, errors


@pytest.fixture(scope="module")
def experiment(shapes_folder, tmp_path_factory):
  path = tmp_path_factory.mktemp("experiment") / "experiment.py"
  return shapes.write_experiment(path, shapes_folder)


def _lines(workdir):
  path = workdir / "metrics.jsonl"
  return path.read_text().splitlines() if path.exists() else []


def _saved_step(workdir):
  try:
    return CheckpointStore(workdir).restore_model().step
  except FileNotFoundError:  # Killed before the first checkpoint.
    return 0


def test_sigkill_at_any_step_changes_nothing(trained, experiment, tmp_path):
  command = ("train.py", f"--config={experiment}", f"--workdir={tmp_path}")
  seed = os.environ.get("FSKD_TEST_SEED") or str(time.time_ns())
  print(f"FSKD_TEST_SEED={seed} repeats these moments")
  chance, killed = random.Random(seed), []
  # 20 lines of losses, 2 of validation, 5 checkpoints.
  for low, high in ((5, 10), (11, 18)):
    until, delay = chance.randint(low, high), chance.uniform(0, 0.1)
    process = start(*command, stderr=subprocess.DEVNULL)
    while len(_lines(tmp_path)) < until and process.poll() is None:
      time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"ended before line {until}"
    reached, saved = json.loads(_lines(tmp_path)[-1])["step"], _saved_step(tmp_path)
    # A checkpoint is begun every 16 steps, once the one before is finished.
    assert saved >= 16 * ((reached - 1) // 16 - 1)
    killed.append((until, delay, saved))
  assert _end(start(*command, stderr=subprocess.DEVNULL))[0] == 0
  print("killed after (line, seconds, checkpoint):", killed)
  shapes.assert_same_run(tmp_path, trained[1])


def test_evaluation_reads_the_run_and_flags_override_it(trained, tmp_path):
  shutil.copytree(trained[1], tmp_path, dirs_exist_ok=True)
  code, errors = _end(
    start(
      "evaluate.py",
      f"--workdir={tmp_path}",
      "--config.eval.episodes=5",
      "--config.eval.settings=('seen/base',)",
      stderr=subprocess.PIPE,
    )
  )
  assert code == 0, errors
  results = json.loads((tmp_path / "eval" / "results.json").read_text())
  assert results["step"] == 80 and set(results["settings"]) == {"seen/base"}
  assert results["settings"]["seen/base"]["episodes"] <= 5
  assert (tmp_path / "eval" / "table.txt").read_text().strip() in errors


def test_wrong_flags_and_folders_end_with_one_line(trained, experiment, tmp_path):
  workdir = f"--workdir={trained[1]}"
  config = f"--config={experiment}"
  empty = tmp_path / "empty"
  train, evaluate = ("train.py", config, workdir), ("evaluate.py", workdir)
  runs = [
    (2, "Field learning_rte not", (*train, "--config.optim.learning_rte=1")),
    (2, "Field epsiodes not", (*evaluate, "--config.eval.epsiodes=3")),
    (2, str(empty), ("evaluate.py", f"--workdir={empty}")),
    (2, "train.shots: 1 there, 2 now", (*train, "--config.train.shots=2")),
  ]
  kept = [p for p in trained[1].rglob("*") if p.is_file()]
  before = {p: p.stat().st_mtime_ns for p in kept}
  commands = json.dumps([command for _, _, command in runs])
  program = ROOT / "tests" / "helpers" / "several_commands.py"
  code, log = _end(start(program, commands, stderr=subprocess.PIPE))
  assert code == 0, log
  for (code, text, _), (found, errors) in zip(
    runs, several_commands.split(log), strict=True
  ):
    assert (found, text in errors) == (code, True), errors
    assert "Traceback" not in errors
  assert not empty.exists()
  found = [p for p in trained[1].rglob("*") if p.is_file()]
  assert {p: p.stat().st_mtime_ns for p in found} == before


def test_a_broken_image_ends_a_streamed_run_in_one_line(trained, tmp_path):
  workdir, folder = tmp_path / "run", tmp_path / "data"
  shutil.copytree(trained[1], workdir)
  shutil.rmtree(workdir / "checkpoints" / "80")
  shutil.copytree(trained[0].data.path, folder)
  for path in sorted(folder.glob("images/*.png"))[:20]:
    path.write_bytes(path.read_bytes()[:-2000])
  experiment = shapes.write_experiment(tmp_path / "experiment.py", folder)
  code, errors = _end(
    start(
      "train.py",
      f"--config={experiment}",
      f"--workdir={workdir}",
      f"--config.data.executor={HOST_EXECUTOR}",
      stderr=subprocess.PIPE,
    )
  )
  assert code == 2 and "Traceback" not in errors, errors
  last = errors.splitlines()[-1]
  assert re.fullmatch(r"ImageError: image '0.*\.png' cannot be decoded: .*", last)
  assert CheckpointStore(workdir).restore_model().step == 64


WITHOUT_TENSORFLOW = """
import sys
class Partly:
  def __init__(self, finder):
    self.finder = finder
  def find_spec(self, name, path=None, target=None):
    missing = name.split(".")[0] in sys.argv[3].split(",")
    return None if missing else self.finder.find_spec(name, path, target)
  def __getattr__(self, name):
    return getattr(self.finder, name)
sys.meta_path[:] = map(Partly, sys.meta_path)
import pathlib
from helpers import several_commands, shapes
from fskd_jax import experiment
from fskd_jax.cli.main import main
from fskd_jax.demo import example, server
cfg = shapes.config(pathlib.Path(sys.argv[1]), steps=2, log_every=2, checkpoint_every=2)
cfg.data.validation_species = ()
cfg.eval.episodes = 2
cfg.data.executor, cfg.data.workers = sys.argv[4], 1
experiment.train(cfg, sys.argv[2])
if sys.argv[4] == "grain":
  sys.exit(any(m.split(".")[0] == "tensorflow" for m in sys.modules))
experiment.evaluate(sys.argv[2])
images, out = cfg.data.path + "/images/", sys.argv[2] + "/predicted"
code = main(
  ["predict", "--workdir", sys.argv[2], "--support", images + "000.png", "--out", out]
  + ["--keypoints", cfg.data.path, "--query", images + "005.png"]
)
assert not code, code
assert not any(m.split(".")[0] == "tensorflow" for m in sys.modules)
"""


@pytest.mark.parametrize(
  ("executor", "missing"),
  [("resident", "tensorflow,tensorflow_datasets,grain"), ("grain", "tensorflow")],
)
def test_all_but_the_pipeline_works_without_tensorflow(
  shapes_folder, tmp_path, executor, missing
):
  paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
  process = start(
    "-c",
    WITHOUT_TENSORFLOW,
    shapes_folder,
    tmp_path,
    missing,
    executor,
    stderr=subprocess.PIPE,
    env=os.environ | {"PYTHONPATH": paths},
  )
  code, errors = _end(process)
  assert code == 0, errors
  assert CheckpointStore(tmp_path).restore_model().step == 2
  if executor == "resident":
    results = json.loads((tmp_path / "eval" / "results.json").read_text())
    assert results["step"] == 2 and len(results["settings"]) == 3
    assert (tmp_path / "predicted" / "predictions.csv").is_file()
