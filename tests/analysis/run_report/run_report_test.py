import html.parser
import json
import re

import numpy as np
import pytest
from helpers import shapes
from PIL import Image

from fskd_jax.analysis.run_report import page, tables
from fskd_jax.analysis.run_report.collect import RunContent, Source, collect
from fskd_jax.cli.main import main


def _mean(value):
  return {"0.1": {"mean": value, "ci95": 0.02, "bootstrap95": [value, value]}}


@pytest.fixture
def run(tmp_path):
  """An evaluated run whose names would break a page that does not escape them."""
  (tmp_path / "eval").mkdir()
  Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(
    tmp_path / "eval" / "episodes.png"
  )
  lines = [
    {"step": s, "train/loss": 2.0 / s, "train/seconds": 30.0 * s} for s in (1, 2)
  ]
  (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
  cfg = shapes.config(tmp_path)
  cfg.name = "<b>mine"
  entry = {
    "episodes": 40,
    "pck": _mean(0.75),
    "calibration_error": 0.031,
    "per_keypoint": {
      "tip|end": {"pck": _mean(0.9), "count": 7},
      "<i>": {"pck": _mean(0.2), "count": 8},
    },
    "per_species": {"fox": {"pck": _mean(0.75), "count": 15}},
    "baselines": {"copy_support": {"pck": _mean(0.5)}},
  }
  return RunContent(
    workdir=tmp_path,
    cfg=cfg,
    step=2,
    parameters=1234,
    sources=(
      Source("a", "data/a", "CC BY 4.0", is_held_out=False),
      Source("b", "data/b", "MIT", is_held_out=True),
    ),
    lines=lines,
    results={"device": "TPU v9", "settings": {"unseen/novel": entry}},
  )


class _Checker(html.parser.HTMLParser):
  """Collects what a page refers to, and whether its tags are closed."""

  def __init__(self):
    super().__init__()
    self.open, self.sources, self.text = [], [], ""

  def handle_starttag(self, tag, attrs):
    values = dict(attrs)
    self.sources += [values[x] for x in ("src", "href") if x in values]
    if tag not in ("meta", "img"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.text += data + "\n"


def test_the_page_is_whole_and_tells_all(run):
  found = _Checker()
  found.feed(page.page(run))
  assert not found.open
  assert len(found.sources) == 2  # curves and episodes
  assert all(x.startswith("data:image/png;base64,") for x in found.sources)
  for said in ("<b>mine", "<i>", "fox", "75.0 ± 2.0", "50.0 ± 2.0", "3.1", "TPU v9"):
    assert said in found.text, said
  for said in ("CC BY 4.0", "kept aside", "60 seconds", "optim.learning_rate"):
    assert said in found.text, said


def test_the_worst_stand_first(run):
  kinds, keypoints = tables.groups(run)
  assert [row[0] for row in kinds.rows] == ["fox"]
  assert [row[0] for row in keypoints.rows] == ["<i>", "tip|end"]


def test_a_pose_estimator_has_persons_and_its_own_baselines(run):
  run.cfg.task = "pose"
  entry = run.results["settings"]["unseen/novel"]
  del entry["calibration_error"]
  entry["persons"] = entry.pop("episodes")
  entry["baselines"] = {"mean_pose": {"pck": _mean(0.3)}}
  table = tables.scores(run)
  assert table.head[1:4] == ("persons", "detector", "mean pose")
  assert table.rows == [("unseen/novel", "40", "75.0 ± 2.0", "30.0 ± 2.0", "–")]
  assert "30.0 ± 2.0" in page.page(run)


def test_published_weights_have_their_licence(run):
  run.cfg.model.pretrained = "efficientnet_lite0"
  assert "efficientnet_lite0 (Apache-2.0)" in page.card(run)


def test_the_card_has_whole_tables(run):
  text = page.card(run)
  assert "75.0 ± 2.0" in text and "CC BY 4.0" in text
  for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
    assert len({line.count("|") for line in block.splitlines()}) == 1


@pytest.mark.slow
def test_a_run_that_was_not_evaluated_says_so(trained, tmp_path):
  cfg, workdir, _ = trained
  assert main(["report", str(workdir), "--out", str(tmp_path)]) == 0
  assert "has not been evaluated" in (tmp_path / "report.html").read_text()
  found = collect(str(workdir))
  assert found.step == cfg.train.steps and found.seconds and found.parameters > 100
  assert [source.path for source in found.sources] == [cfg.data.path]
