"""Evaluation of a trained run: the same numbers whoever asks, and how they are told."""

import copy
import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from fskd_jax import experiment
from fskd_jax.experiment import make_task
from fskd_jax.few_shot import calibration, evaluation
from fskd_jax.metrics import mistakes, paired
from fskd_jax.metrics import record as episode_record
from fskd_jax.metrics import results as metrics_results
from fskd_jax.pictures import episodes
from fskd_jax.training.checkpoint import CheckpointStore


@pytest.fixture(scope="module")
def saved(trained):
  return CheckpointStore(trained[1]).restore_model()


@pytest.fixture
def evaluate(trained, saved, tmp_path):
  """Evaluates the trained run with some fields of the configuration changed."""

  def run(backend="single", **fields):
    cfg = copy.deepcopy(trained[0])
    cfg.train.backend = backend
    cfg.eval = dataclasses.replace(cfg.eval, **fields)
    return make_task(cfg).evaluate(saved.variables, saved.step, tmp_path)

  return run


@pytest.fixture(scope="module")
def reference(trained, saved, tmp_path_factory):
  """Results, workdir, and the rows that were drawn."""
  workdir, rows = tmp_path_factory.mktemp("evaluated"), []
  with pytest.MonkeyPatch.context() as patch:
    draw = episodes.draw_episodes
    patch.setattr(episodes, "draw_episodes", lambda r: rows.extend(r) or draw(r))
    results = make_task(trained[0]).evaluate(saved.variables, saved.step, workdir)
  return results, workdir, rows


def _is_mean(value):
  low, high = value["bootstrap95"]
  return set(value) == {"mean", "ci95", "bootstrap95"} and (
    0 <= low <= value["mean"] + 1e-9 <= high + 2e-9 <= 1 + 3e-9 and value["ci95"] >= 0
  )


@pytest.mark.slow
def test_crops_of_another_size_leave_the_calibration_of_the_run(trained, tmp_path):
  def larger(cfg):
    cfg.data.image_size = 64
    cfg.eval.episodes, cfg.eval.search_episodes = 4, 0
    return cfg

  shutil.copytree(trained[1], tmp_path / "run")
  experiment.evaluate(tmp_path / "run", change=larger)
  written = {x.relative_to(tmp_path / "run") for x in (tmp_path / "run").rglob("*")}
  written -= {x.relative_to(trained[1]) for x in trained[1].rglob("*")}
  assert {path.parts[0] for path in written} == {"64x64"}
  assert (tmp_path / "run" / "64x64" / calibration.FILE).is_file()


@pytest.mark.slow
def test_results_have_the_promised_form(trained, reference):
  results, workdir, _ = reference
  assert json.loads((workdir / "eval" / "results.json").read_text()) == results
  assert results["step"] == 80 and results["data"] == "data"
  assert list(results["settings"]) == list(trained[0].eval.settings)
  for setting, found in results["settings"].items():
    assert 0 < found["episodes"] <= 22
    assert set(found["baselines"]) == {"copy_support", "untrained_encoder"}
    for scores in (found, *found["baselines"].values()):
      assert set(scores["pck"]) == {"0.05", "0.1", "0.15", "0.2"}
      assert all(map(_is_mean, scores["pck"].values()))
      assert _is_mean(scores["ne"]) and _is_mean(scores["auc"])
      means = [scores["pck"][t]["mean"] for t in ("0.05", "0.1", "0.15", "0.2")]
      assert means == sorted(means)
      # Everybody is asked for the same keypoints.
      assert scores["keypoints"] == found["keypoints"]
    types = {"base": {"north", "east", "middle"}, "novel": {"south"}}
    assert set(found["per_keypoint"]) == types[setting.split("/")[1]]
    species = {"unseen": {"pond"}, "seen": {"plum", "leaf", "rock"}}
    assert set(found["per_species"]) <= species[setting.split("/")[0]]


def test_every_episode_keeps_its_scores(trained, reference):
  results, workdir, _ = reference
  records = episode_record.read(workdir)
  for key in ("step", "config", "data", "protocol", "decoding", "shots", "queries"):
    assert records[key] == results[key]
  assert (records["seed"], results["decoding"]) == (results["seed"], "mode")
  per_episode = trained[0].eval.shots + trained[0].eval.queries
  for setting, found in results["settings"].items():
    record = records["settings"][setting]
    assert [len(set(ids)) for ids in record["instances"]] == [per_episode] * 22
    assert set(record["species"]) == set(found["per_species"])
    for name, scores in record["scores"].items():
      summary = found if name == evaluation.DETECTOR else found["baselines"][name]
      for threshold, values in scores["pck"].items():
        assert len(values) == 22
        mean = np.nanmean(np.array(values, float))
        assert mean == pytest.approx(summary["pck"][threshold]["mean"], abs=1e-6)


def test_what_was_learned_beats_both_baselines(reference):
  found = reference[0]["settings"]["unseen/base"]

  def bounds(scores):
    pck = scores["pck"]["0.1"]
    return pck["mean"] - pck["ci95"], pck["mean"] + pck["ci95"]

  for baseline in found["baselines"].values():
    assert bounds(found)[0] > bounds(baseline)[1]


def test_the_table_tells_the_results(reference):
  results, workdir, _ = reference
  lines = (workdir / "eval" / "table.txt").read_text().splitlines()
  assert lines[0] == "protocol: ours, decoding: mode"
  assert lines[1].split() == ["PCK@0.1", "in", "%", "detector", "copy", "untrained"]
  for line, (setting, found) in zip(lines[2:], results["settings"].items()):
    baselines = [found["baselines"][n] for n in ("copy_support", "untrained_encoder")]
    pck = [scores["pck"]["0.1"] for scores in (found, *baselines)]
    numbers = [x for m in pck for x in (m["mean"], m["ci95"], *m["bootstrap95"])]
    cells = [f"{100 * number:.1f}" for number in numbers]
    assert re.sub(r"[±\[\],]", " ", line).split() == [setting, *cells]
  assert lines[5] == ""
  assert lines[7].split() == ["boxes", "given", "searched", "given", "searched"]
  for line, (setting, found) in zip(lines[8:], results["settings"].items()):
    ways = [found["search"][way] for way in ("boxes_given", "searched")]
    numbers = [x for w in ways for x in list(w["pck"]["0.1"].values())[:2]]
    numbers += [x for w in ways for x in (w["confidence"], w["right"])]
    cells = [f"{100 * number:.1f}" for number in numbers]
    assert re.sub("±| / ", " ", line).split() == [setting, *cells]
  assert lines[11] == "" and lines[12].startswith("found at, in %")
  for line, (setting, found) in zip(lines[13:], results["settings"].items()):
    shares = [100 * found["mistakes"][kind]["mean"] for kind in mistakes.KINDS]
    assert line.split() == [setting, *(f"{share:.1f}" for share in shares)]
    assert found["mistakes"]["right"] == found["pck"]["0.1"]
    # A mirror exchanges none of the types that a setting asks for together.
    assert found["mistakes"]["other_side"]["mean"] == 0
  assert len(lines) == 16


@pytest.mark.slow
def test_the_search_is_measured_as_often_as_asked(evaluate, trained, reference):
  for found in reference[0]["settings"].values():
    assert found["search"]["episodes"] == trained[0].eval.search_episodes == 4
  found = evaluate(settings=("unseen/base",), episodes=3)["settings"]["unseen/base"]
  assert found["search"]["episodes"] == 3


def test_worst_typical_and_best_episodes_are_drawn(reference):
  results, workdir, rows = reference
  with Image.open(workdir / "eval" / "episodes.png") as picture:
    assert picture.size[1] > picture.size[0] > 300
  assert len(rows) == 9
  for setting, first in zip(results["settings"], (0, 3, 6)):
    three = rows[first : first + 3]
    titles = [row.title.removeprefix(f"{setting}, ") for row in three]
    assert [t.split(":")[0] for t in titles] == ["worst", "typical", "best"]
    shares = [int(t.split(": ")[1].removesuffix(" %")) for t in titles]
    assert shares == sorted(shares)
    errors = [
      np.linalg.norm(row.predicted - row.query_keypoints, axis=-1)[row.valid]
      for row in three
    ]
    # 0.1 of the box is at least 3.8 pixels of these crops and at most 4.
    for error, share in zip(errors, shares):
      assert 100 * (error < 3.5).mean() - 1 <= share <= 100 * (error < 4.2).mean() + 1


@pytest.mark.slow
def test_two_evaluations_agree_to_the_last_digit(evaluate, reference, tmp_path):
  assert evaluate() == reference[0]
  for name in ("results.json", "table.txt", "episodes.png", episode_record.FILE):
    again = tmp_path / "eval" / name
    assert again.read_bytes() == (reference[1] / "eval" / name).read_bytes()


def _largest_difference(results, expected):
  differences = jax.tree.map(lambda a, b: abs(a - b), *_numbers(results, expected))
  return max(jax.tree.leaves(differences))


def _numbers(*many):
  return [
    {
      name: [found["pck"], *(b["pck"] for b in found["baselines"].values())]
      for name, found in results["settings"].items()
    }
    for results in many
  ]


@pytest.mark.slow
@pytest.mark.parametrize(
  "options",
  [
    {"batch_episodes": 20},
    {"backend": "pmap"},
    {"backend": "shard_map", "batch_episodes": 12},
  ],
)
def test_batches_and_devices_change_nothing(evaluate, reference, tmp_path, options):
  # 22 episodes in batches of 8, 20 or 12: the last batch is padded in every case.
  results = evaluate(search_episodes=0, **options)  # the search runs on one device
  assert _largest_difference(results, reference[0]) <= 1e-3
  found, expected = map(episode_record.read, (tmp_path, reference[1]))
  for setting, record in expected["settings"].items():
    assert found["settings"][setting]["manifest"] == record["manifest"]


@pytest.mark.slow
def test_the_seed_chooses_the_episodes(evaluate, reference):
  results = evaluate(settings=("unseen/base",), seed=2, search_episodes=0)
  assert results["seed"] == 2
  assert "search" not in results["settings"]["unseen/base"]
  expected = reference[0]["settings"]["unseen/base"]["baselines"]["copy_support"]
  assert results["settings"]["unseen/base"]["baselines"]["copy_support"] != expected


@pytest.mark.slow
def test_the_protocol_of_the_reference_is_stamped_and_kept_apart(
  evaluate, reference, tmp_path
):
  setting = "unseen/base"
  results = evaluate(settings=(setting,), protocol="reference")
  assert (reference[0]["protocol"], results["protocol"]) == ("ours", "reference")
  assert "search" not in results["settings"][setting]
  folder = tmp_path / "eval" / "reference"
  assert json.loads((folder / "results.json").read_text()) == results
  assert (
    (folder / "table.txt")
    .read_text()
    .startswith("protocol: reference, decoding: mode\n")
  )
  assert episode_record.read(folder)["protocol"] == "reference"
  # Prediction crops as ours does: its confidence is calibrated on nothing else.
  assert {p.name for p in tmp_path.rglob("*.json")} == {
    "results.json",
    episode_record.FILE,
  }
  assert {p.parent.name for p in tmp_path.rglob("*.json")} == {"reference"}
  ours, theirs = (r["settings"][setting]["pck"] for r in (reference[0], results))
  assert ours != theirs


@pytest.mark.slow
def test_another_decoding_is_stamped_and_kept_apart(evaluate, reference, tmp_path):
  setting = "unseen/base"
  results = evaluate(settings=(setting,), decoding="argmax")
  folder = tmp_path / "eval" / "argmax"
  assert json.loads((folder / "results.json").read_text()) == results
  assert (folder / "table.txt").read_text().startswith("protocol: ours, decoding: arg")
  assert episode_record.read(folder)["decoding"] == results["decoding"] == "argmax"
  # Neither the results nor the calibration of what users get are touched.
  assert {p.parent.name for p in tmp_path.rglob("*.json")} == {"argmax"}
  mode, highest = (r["settings"][setting] for r in (reference[0], results))
  assert mode["baselines"]["copy_support"] == highest["baselines"]["copy_support"]
  assert mode["pck"] != highest["pck"] and "search" not in highest
  both = map(episode_record.read, (reference[1], folder))
  with pytest.raises(ValueError, match="decoding 'mode' and B with 'argmax'"):
    paired.compare(*both)
  old = episode_record.read(folder)
  del old["decoding"]  # as version 0.1.0 wrote it
  assert paired.compare(old, episode_record.read(folder))


@pytest.mark.slow
def test_scores_and_calibration_are_of_one_pass(evaluate, trained, monkeypatch):
  """Every episode of a setting goes through the network once; then the pictures."""
  seen = []
  make = evaluation.reader_of

  def counting(cfg, feed, variables, prior=None):
    read = make(cfg, feed, variables, prior=prior)

    def run(batch):
      if cfg.model.kernel_generator != "prototype":  # the untrained encoder
        seen.extend(i for i in batch.episode_index if i >= 0)
      return read(batch)

    return run

  monkeypatch.setattr(evaluation, "reader_of", counting)
  settings = ("validation/base", "validation/novel")
  evaluate(settings=settings, search_episodes=0)
  assert len(seen) == 2 * (trained[0].eval.episodes + 3)


def test_an_impossible_setting_costs_nothing(evaluate, tmp_path, monkeypatch):
  path = tmp_path / "eval" / "results.json"
  path.parent.mkdir()
  path.write_text("of an earlier evaluation")
  monkeypatch.setattr(evaluation, "score", None)  # nothing is scored before the error
  with pytest.raises(ValueError, match="setting 'seen/base': no species has the 4"):
    evaluate(queries=3)
  assert path.read_text() == "of an earlier evaluation"


def test_the_headline_is_the_threshold_nearest_to_a_tenth(trained):
  for thresholds, expected in (((0.05, 0.1, 0.2), 0.1), ((0.2, 0.15), 0.15)):
    cfg = dataclasses.replace(trained[0].eval, thresholds=thresholds)
    assert metrics_results.headline(cfg) == expected
