"""A run on a mixture: it resumes exactly, and every source has its scores."""

import copy
import shutil

import pytest
from helpers import mixtures, shapes

from fskd_jax import config, experiment


@pytest.fixture(scope="module")
def run(shapes_folder, tmp_path_factory):
  cfg = mixtures.config(shapes_folder)
  cfg.train.steps, cfg.train.checkpoint_every, cfg.train.validate_every = 16, 8, 8
  cfg.train.picture_every, cfg.eval.episodes, cfg.eval.search_episodes = 16, 8, 1
  cfg.eval.settings = ("unseen/base", "unseen/novel")
  # Episodes of different sources share no type, but those of one source do.
  cfg.loss.mfcl_weight = 0.01
  workdir = tmp_path_factory.mktemp("mixture") / "run"
  experiment.train(cfg, workdir)
  return cfg, workdir


def test_a_resumed_run_repeats_the_uninterrupted_one(run, tmp_path, shapes_folder):
  cfg, workdir = run
  shutil.copytree(workdir, tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints" / "16")
  moved = copy.deepcopy(cfg)
  moved.data.mixture[2].data.path = str(shapes_folder / "." / "images")
  experiment.train(moved, tmp_path / "run")
  shapes.assert_same_run(tmp_path / "run", workdir)


def test_another_weight_is_another_run(run):
  cfg, workdir = run
  other = copy.deepcopy(cfg)
  other.data.mixture[1].weight = 3.0
  with pytest.raises(
    ValueError, match="data.mixture.others.weight: 1.0 there, 3.0 now"
  ):
    experiment.train(other, workdir)
  other = copy.deepcopy(cfg)
  other.data.mixture = other.data.mixture[:2]
  with pytest.raises(
    ValueError, match=r"data.mixture: \['shapes', 'others', 'plain'\]"
  ):
    experiment.train(other, workdir)


def test_every_source_has_its_scores_and_their_mean_is_told(run):
  _, workdir = run
  found = experiment.evaluate(workdir)
  names = ["unseen/base@shapes", "unseen/base@others", "unseen/novel@shapes"]
  assert [*found["settings"]] == names
  pck = [found["settings"][name]["pck"]["0.1"]["mean"] for name in names[:2]]
  lines = (workdir / "eval" / "table.txt").read_text().splitlines()
  (line,) = [x for x in lines if x.startswith("unseen/base of 2")]
  assert f" {50 * sum(pck):.1f} " in line
  assert (workdir / "calibration.json").is_file()
  last = [x for x in shapes.metrics(workdir) if "val/base/pck@0.1" in x][-1]
  parts = [last[f"val/base/{name}/pck@0.1"] for name in ("shapes", "others")]
  assert last["val/base/pck@0.1"] == pytest.approx(sum(parts) / 2)


def test_one_source_can_be_left_out_of_a_finished_run(run):
  def without(cfg):
    cfg.data.holdout = ("others",)
    cfg.eval.settings, cfg.eval.search_episodes = ("unseen/novel",), 0
    config.validate(cfg)
    return cfg

  found = experiment.evaluate(run[1], change=without)
  assert [*found["settings"]] == ["unseen/novel@shapes", "unseen/novel@others"]
