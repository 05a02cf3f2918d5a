"""Whole pose runs: what they learn and write, how they resume, how they are scored."""

import copy
import json

import jax
import numpy as np
import pytest
from helpers import poses, shapes
from PIL import Image

from fskd_jax import experiment
from fskd_jax.data.feed import Feed
from fskd_jax.experiment import make_task
from fskd_jax.pictures import episodes
from fskd_jax.pose import scores as pose_scores
from fskd_jax.training.checkpoint import CheckpointStore


@pytest.fixture(scope="module")
def run(shapes_folder, tmp_path_factory):
  """(configuration, workdir, final state)."""
  cfg, workdir = poses.config(shapes_folder), tmp_path_factory.mktemp("poses")
  return cfg, workdir, jax.device_get(experiment.train(cfg, workdir))


@pytest.fixture(scope="module")
def evaluation(run):
  """(results of the run with annotated boxes, rows of the picture)."""
  rows, draw = [], episodes.draw_episodes
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(episodes, "draw_episodes", lambda new: rows.extend(new) or draw(new))
    return _evaluate(run[0], run[1], run[1]), rows


@pytest.fixture(scope="module")
def results(evaluation):
  """Results of the run with annotated boxes."""
  return evaluation[0]


def _evaluate(cfg, trained, workdir):
  saved = CheckpointStore(trained).restore_model()
  return make_task(cfg).evaluate(saved.variables, saved.step, workdir)


def test_a_run_learns_more_than_the_mean_pose(results):
  found = results["settings"]["seen/base"]
  pck, mean_pose = (
    part["pck"]["0.1"]["mean"] for part in (found, found["baselines"]["mean_pose"])
  )
  assert pck > mean_pose + 0.1


def _assert_shows(path, rows):
  """A picture is that of these rows, and would be another with other predictions."""
  picture = np.asarray(Image.open(path))
  np.testing.assert_array_equal(picture, episodes.draw_episodes(rows))
  moved = [row._replace(predicted=row.predicted + 4) for row in rows]
  assert (episodes.draw_episodes(moved) != picture).any()


def test_a_run_leaves_its_records(run, monkeypatch):
  cfg, workdir, state = run
  assert int(state.step) == cfg.train.steps
  lines = shapes.metrics(workdir)
  losses = [line["train/loss_main"] for line in lines if "train/loss_main" in line]
  assert losses[-1] < 0.9 * losses[0]
  scores = [line for line in lines if "val/base/pck@0.2" in line]
  assert [line["step"] for line in scores] == [30, 60]

  feed = Feed.open(cfg.data)
  validator, rows, persons = make_task(cfg).validator(feed), [], []
  distances = pose_scores.distances

  def watched(scored, *others):
    persons.extend(scored)
    return distances(scored, *others)

  with monkeypatch.context() as patch:
    patch.setattr(pose_scores, "distances", watched)
    patch.setattr(episodes, "draw_episodes", rows.extend)
    found = validator.scores(state)
    validator.picture(state, "step 60")
  assert found == {name: scores[-1][name] for name in found} and len(found) == 4
  assert {person.species for person in persons} == {"crate"}  # never the unseen
  _assert_shows(workdir / "pictures" / "step_0000060.png", rows)


def test_a_killed_run_resumes_bit_for_bit(run, tmp_path, monkeypatch):
  cfg, workdir, state = run
  begin, calls = CheckpointStore.begin_saving, []

  def deadly(*args):
    begin(*args)
    calls.append(args)
    if len(calls) == 2:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(CheckpointStore, "begin_saving", deadly)
    with pytest.raises(KeyboardInterrupt):
      experiment.train(cfg, tmp_path)
  assert CheckpointStore(tmp_path).restore_model().step == 40
  resumed = jax.device_get(experiment.train(cfg, tmp_path))
  shapes.assert_identical(resumed, state)
  shapes.assert_same_run(tmp_path, workdir)


def test_results_are_written_beside_the_baselines(run, evaluation):
  (cfg, workdir, _), (results, rows) = run, evaluation
  folder = workdir / "eval"
  assert json.loads((folder / "results.json").read_text()) == results
  assert list(results["settings"]) == list(cfg.eval.settings)
  for found in results["settings"].values():
    assert set(found["baselines"]) == {"mean_pose", "untrained"}
    for part in (found, *found["baselines"].values()):
      assert set(part["pck"]) == {"0.05", "0.1", "0.15", "0.2"}
      assert 0 <= part["oks"]["AP"] <= part["oks"]["AP50"] <= 1
      assert part["keypoints"] == found["keypoints"]
  assert results["settings"]["unseen/base"]["persons"] == 8  # ponds
  table = (folder / "table.txt").read_text().splitlines()
  assert len(table) == 1 + 2 * 3 and "PCK@0.2" in table[0] and "OKS-AP" in table[0]
  names = [row.title.split(":")[0] for row in rows]
  assert names == [
    f"{setting}, {kind}"
    for setting in cfg.eval.settings
    for kind in ("worst", "typical", "best")
  ]
  _assert_shows(folder / "episodes.png", rows)


def test_predictions_are_in_the_images_and_in_cocos_form(run, results):
  cfg, workdir, _ = run
  entries = json.loads((workdir / "eval" / "predictions_unseen_base.json").read_text())
  truth = json.loads((_folder(cfg) / "annotations.json").read_text())
  ponds = {a["image_id"] for a in truth["annotations"] if a["category_id"] == 4}
  assert {entry["image_id"] for entry in entries} == ponds and len(entries) == 8
  for entry in entries:
    assert entry["category_id"] == 4 and len(entry["keypoints"]) == 3 * 4
    points = np.reshape(entry["keypoints"], (4, 3))[:, :2]
    assert (points > -20).all() and (points < 80).all()


def _folder(cfg):
  import pathlib

  return pathlib.Path(cfg.data.path)


def test_detections_that_are_the_annotated_boxes_score_alike(run, results, tmp_path):
  cfg = copy.deepcopy(run[0])
  truth = json.loads((_folder(cfg) / "annotations.json").read_text())
  boxes = [
    {key: entry[key] for key in ("image_id", "category_id", "bbox")} | {"score": 1.0}
    for entry in truth["annotations"]
  ]
  cfg.pose.detections = str(tmp_path / "boxes.json")
  (tmp_path / "boxes.json").write_text(json.dumps(boxes))
  cfg.eval.settings = ("unseen/base", "all/base")
  found = _evaluate(cfg, run[1], tmp_path)
  expected = results["settings"]["unseen/base"]["oks"]
  assert found["settings"]["unseen/base"]["oks"] == expected
  assert found["settings"]["all/base"]["persons"] == 40
  assert "pck" not in found["settings"]["all/base"]


def test_crops_of_another_size_leave_the_results_of_the_run(run, results):
  def larger(cfg):
    cfg.data.image_size, cfg.data.image_width = 64, 48
    return cfg

  folder = run[1] / "eval"
  before = {path: path.read_bytes() for path in folder.iterdir()}
  found = experiment.evaluate(run[1], change=larger)
  assert {path: path.read_bytes() for path in folder.iterdir()} == before
  assert found["settings"] != results["settings"]
  kept = run[1] / "48x64" / "eval" / "results.json"
  assert json.loads(kept.read_text()) == found


def test_an_empty_split_is_named(run, tmp_path):
  cfg = copy.deepcopy(run[0])
  cfg.data.heldout_fraction = 0.0
  cfg.eval.settings = ("seen/base",)
  with pytest.raises(ValueError, match="'seen/base': 0 instances in split 'seen'"):
    _evaluate(cfg, run[1], tmp_path)
