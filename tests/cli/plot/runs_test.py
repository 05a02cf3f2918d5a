"""`fskd plot` of runs and of few-shot detectors: curves, scores, episode, heatmaps."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import report
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.pictures import network
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.pictures.scores import MAX_BARS, draw_scores


def _plot(*args):
  return main.main(["plot", *map(str, args)])


def _write(path, count):
  lines = [
    {"step": 20, "train/loss": 3.0, "train/seconds": 60.0},
    {"step": 40, "train/loss": None, "train/seconds": 120.0},
    {"step": 50, "train/loss": 2.0, "train/seconds": 180.0},
    {"step": 45, "val/base/pck@0.1": 0.4},
  ]
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text("".join(json.dumps(line) + "\n" for line in lines[:count]))
  return path


def test_curves_by_step_and_by_minutes(tmp_path):
  file = _write(tmp_path / "a" / "metrics.jsonl", 4)
  figure = draw_curves({"a": file, "b": file})
  loss, loss_by_time, score, score_by_time = figure.axes
  np.testing.assert_array_equal(loss.lines[0].get_xdata(), [20, 40, 50])
  np.testing.assert_allclose(loss_by_time.lines[0].get_xdata(), [1, 2, 3])
  np.testing.assert_array_equal(score.lines[0].get_xydata(), [[45, 0.4]])
  # Half way between the steps 40 and 50.
  np.testing.assert_allclose(score_by_time.lines[0].get_xydata(), [[2.5, 0.4]])
  (legend,) = figure.legends
  names = [text.get_text() for text in legend.get_texts()]
  assert names == ["a, base/pck@0.1", "b, base/pck@0.1"]
  _write(file, 3)
  draw_curves({"a": file})  # no validation


@pytest.mark.slow
@pytest.mark.parametrize("name", ["$x_$", "_a", "a$b", os.fsdecode(b"a\xe9")])
def test_a_run_of_any_name_has_a_label(tmp_path, name):
  file = _write(tmp_path / "metrics.jsonl", 4)
  figure = draw_curves({name: file, "other": file})
  figure.savefig(io.BytesIO())
  (legend,) = figure.legends
  first = legend.get_texts()[0].get_text().strip().replace("\\$", "$")
  assert first == f"{name.encode(errors='backslashreplace').decode()}, base/pck@0.1"


def test_curves_of_several_folders(tmp_path, capsys):
  for name in ("a/run", "b/run"):
    _write(tmp_path / name / "metrics.jsonl", 4)
  out = tmp_path / "out.png"
  runs = [tmp_path / "a/run", tmp_path / "b/run"]
  assert _plot("curves", *runs, "--out", out) == 0
  assert Image.open(out).format == "PNG"
  assert _plot("curves", tmp_path / "a", "--out", out) == 2
  assert "is no run: there is no" in capsys.readouterr().err
  (runs[0] / "metrics.jsonl").write_text("")
  assert _plot("curves", runs[0], "--out", out) == 2
  assert "has no training loss yet" in capsys.readouterr().err


def _results(count):
  def score(mean):
    return {"pck": {"0.1": {"mean": mean, "ci95": 0.05}}, "count": 7}

  means = np.linspace(0.01, 0.99, count)[::-1]
  found = score(0.5) | {
    "per_keypoint": {f"type {i}": score(mean) for i, mean in enumerate(means)},
    "per_species": {"cat": score(0.5) | {"pck": {"0.1": {"mean": 0.5, "ci95": None}}}},
  }
  about = {"config": "c", "step": 1, "shots": 1}
  return about | {"settings": {"unseen/base": found, "empty": {"oks": 1.0}}}


def test_scores_from_the_lowest_to_the_highest():
  by_type, by_species = draw_scores(_results(5)).axes
  widths = [bar.get_width() for bar in by_type.patches]
  np.testing.assert_allclose(widths, [1, 25.5, 50, 74.5, 99])
  assert by_type.get_yticklabels()[0].get_text() == "type 4  (7)"
  segments = by_type.collections[0].get_segments()
  np.testing.assert_allclose(segments[2][:, 0], [45, 55])
  np.testing.assert_allclose(segments[4][:, 0], [94, 100])  # ends where PCK ends
  assert len(by_species.patches) == 1
  many, _ = draw_scores(_results(MAX_BARS + 3)).axes
  assert len(many.patches) == MAX_BARS + 1
  assert "(3 between)" in [label.get_text() for label in many.get_yticklabels()]


def test_scores_of_a_run_that_was_not_evaluated(tmp_path, capsys):
  assert _plot("scores", "--workdir", tmp_path, "--out", tmp_path / "x.png") == 2
  assert "evaluate.py writes it" in capsys.readouterr().err


@pytest.fixture
def shown(monkeypatch):
  """What was given to be drawn."""
  given = []
  for name in ("draw_episode", "draw_heatmaps"):
    draw = getattr(network, name)
    monkeypatch.setattr(network, name, lambda *a, d=draw: given.append(a) or d(*a))
  return given


@pytest.mark.slow
def test_an_episode_is_what_the_sampler_gives(trained, tmp_path, shown, capsys):
  cfg, workdir, _ = trained
  out, setting = tmp_path / "out.png", "unseen/base"
  source = ["--workdir", workdir, "--index", 3, "--out", out]
  assert _plot("episode", *source, "--setting", setting) == 0
  assert _plot("episode", *source) == 0
  (fixed, _), (training, _) = shown
  feed = Feed.open(cfg.data)
  sampler = evaluation_sampler(feed, setting, cfg.eval)
  picture = report.picture("", 3, sampler, feed, lambda b: b.query)
  np.testing.assert_array_equal(fixed.images[1:], picture.query_images)
  np.testing.assert_array_equal(fixed.keypoints[:1], picture.support_keypoints)
  assert not fixed.is_auxiliary.any() and training.is_auxiliary.any()
  side = cfg.data.image_size
  for maps, first in ((fixed.pooling, 0), (fixed.targets, 1)):
    places = np.stack(
      np.unravel_index(maps[0].reshape(len(maps[0]), -1).argmax(1), maps[0].shape[1:]),
      -1,
    )[:, ::-1]
    centers = (places + 0.5) * side / maps.shape[-1] - 0.5
    visible = fixed.visible[first]
    away = np.abs(centers - fixed.keypoints[first])[visible]
    assert away.max() <= side / maps.shape[-1] / 2 + 1e-3
  assert _plot("episode", *source, "--setting", "base") == 2
  assert "--setting base: expected train, or a setting" in capsys.readouterr().err


@pytest.mark.slow
def test_heatmaps_are_those_of_the_prediction(
  trained, shapes_folder, tmp_path, shown, capsys
):
  _, workdir, _ = trained
  content = json.loads((shapes_folder / "annotations.json").read_text())
  pond = [a for a in content["annotations"] if a["category_id"] == 4]
  support, query = pond[0], pond[1]
  names = content["categories"][0]["keypoints"]
  points = np.reshape(support["keypoints"], (-1, 3))
  marked = {n: [x, y] if v else None for n, (x, y, v) in zip(names, points.tolist())}
  marks = tmp_path / "marks.json"
  marks.write_text(json.dumps({"keypoints": marked, "box": support["bbox"]}))
  files = [shapes_folder / "images" / f"{a['image_id']:03d}.png" for a in pond[:2]]
  wanted = [name for name, point in marked.items() if point][:2]
  arguments = [
    "heatmaps", "--workdir", workdir, "--support", files[0], "--keypoints", marks,
    "--query", files[1], "--box", *query["bbox"], "--out", tmp_path / "out.png",
  ]  # fmt: skip
  assert _plot(*arguments, "--names", *wanted) == 0
  ((rows, crop, kernels, _),) = shown
  assert [row.title for row in rows] == wanted and kernels == ["kernel 1 x 1, stride 8"]
  for row in rows:
    assert row.place == tuple(marked[row.title]) and 0 <= row.confidence <= 1
    cell = np.array(np.unravel_index(row.heatmap.argmax(), row.heatmap.shape))[::-1]
    stride = len(crop) / len(row.heatmap)
    assert np.abs((cell + 0.5) * stride - 0.5 - row.found).max() < 2 * stride
  assert _plot(*arguments, "--names", "tail") == 2
  assert "--names: the support does not show tail" in capsys.readouterr().err
