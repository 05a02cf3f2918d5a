"""Evaluation of a trained run on data that it was not trained on."""

import copy
import json
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.few_shot import transfer
from fskd_jax.metrics import record
from fskd_jax.training.checkpoint import CheckpointStore


@pytest.fixture(scope="module")
def saved(trained):
  return CheckpointStore(trained[1]).restore_model()


def test_the_script_evaluates_elsewhere(trained, shapes_folder, tmp_path):
  """New names, one species, and the run's own folder: nothing else is touched."""
  workdir, folder = tmp_path / "run", tmp_path / "strangers"
  shutil.copytree(trained[1], workdir)
  before = {p.relative_to(workdir) for p in workdir.rglob("*")}
  shutil.copytree(shapes_folder, folder)
  content = json.loads((folder / "annotations.json").read_text())
  names = [f"point {i}" for i in range(5)]
  content["categories"] = [{"id": 0, "name": "shape", "keypoints": names}]
  for entry in content["annotations"]:
    entry["category_id"] = 0
  (folder / "annotations.json").write_text(json.dumps(content))
  command = ["evaluate.py", f"--workdir={workdir}", f"--data={folder}"]
  options = ["--config.eval.episodes=24", "--config.eval.shots=2"]
  done = subprocess.run(
    [sys.executable, *command, *options], cwd=ROOT, text=True, capture_output=True
  )
  assert done.returncode == 0, done.stderr
  out = workdir / "eval" / "strangers_2shot"
  results = json.loads((out / "results.json").read_text())
  assert results["data"] == "strangers" and results["shots"] == 2
  assert set(results["settings"]) == {transfer.SETTING}
  found = results["settings"][transfer.SETTING]
  assert set(found["per_keypoint"]) == set(names)
  assert set(found["per_species"]) == {"shape"}
  # Every image is used: train, validation and unseen together, and the rest.
  ids = record.read(out)["settings"][transfer.SETTING]["instances"]
  assert len({i for episode in ids for i in episode}) > 32
  # The pictures are those it was trained on: it finds what it has learned.
  untrained = found["baselines"]["untrained_encoder"]["pck"]["0.1"]["bootstrap95"]
  assert found["pck"]["0.1"]["bootstrap95"][0] > untrained[1]
  written = {p.relative_to(workdir) for p in workdir.rglob("*")} - before
  assert {p.parts[0] for p in written} == {"eval"}
  assert not (workdir / "eval" / "results.json").exists()


def test_the_network_its_input_and_the_thresholds_stay(trained):
  cfg = copy.deepcopy(trained[0])
  cfg.data.min_support_types = 2
  found = transfer.with_dataset(cfg, "elsewhere")
  assert found.model == cfg.model and found.train == cfg.train
  changed = {
    name: (value, config.flatten(cfg)[name])
    for name, value in config.flatten(found).items()
    if value != config.flatten(cfg)[name]
  }
  allowed = {"data.path", "data.base", "data.novel", "eval.settings"}
  allowed |= {"data.name", "data.auxiliary_paths", "data.flip_pairs", "data.class_mode"}
  splits = {f"data.{s}_{k}" for s in ("unseen", "validation") for k in ("species",)}
  splits |= {f"data.{s}_fraction" for s in ("unseen", "validation", "heldout")}
  assert {"data.path", "data.base", "eval.settings"} <= set(changed) <= allowed | splits
  assert cfg.data.path == trained[0].data.path  # a copy


def test_a_pose_estimator_is_refused():
  with pytest.raises(ValueError, match="the run's task is 'pose'"):
    transfer.with_dataset(Config(task="pose"), "elsewhere")


def test_a_real_video_with_few_keypoints(trained, saved, photographs, tmp_path):
  cfg = copy.deepcopy(trained[0])
  cfg.train.backend = "single"
  cfg.eval.episodes, cfg.eval.queries = 4, 2
  run = (str(photographs / "reaching_hand"), saved.variables, saved.step, tmp_path)
  found = transfer.evaluate(cfg, *run)["settings"][transfer.SETTING]
  names = {"Hand", "Finger1", "Tongue", "Joystick1", "Joystick2"}
  assert found["episodes"] == 4 and set(found["per_keypoint"]) <= names
  assert (tmp_path / "eval" / "reaching_hand_1shot" / "table.txt").is_file()
  cfg.eval.queries = 60
  with pytest.raises(ValueError, match="setting 'all/other': no species has the 61"):
    transfer.evaluate(cfg, *run)


def test_what_is_no_data_set_is_named(trained, saved, tmp_path):
  with pytest.raises(FileNotFoundError, match="nowhere"):
    transfer.evaluate(
      trained[0], str(tmp_path / "nowhere"), saved.variables, saved.step, tmp_path
    )
  assert not (tmp_path / "eval").exists()
