import dataclasses
import html.parser
import json
import re

import jax
import numpy as np
import pytest
from helpers import shapes
from PIL import Image

from fskd_jax.analysis.run_report import page, tables
from fskd_jax.analysis.run_report.collect import RunContent, Source, collect
from fskd_jax.cli.main import main


def _mean(value):
  return {"0.1": {"mean": value, "ci95": 0.02, "bootstrap95": [value, value]}}


def _start(step, kind="cpu", count=1, **others):
  start = {
    "step": step,
    "time": f"2026-01-{step + 1:02}T00:00:00+00:00",
    "devices": {kind: count},
    "platform": "cpu",
    "processes": 1,
    "processor": "a <fast> one",
    "cores": 2,
    "versions": {"jax": "0.9.0", "flax": "0.12.0"},
  }
  return start | others


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
    starts=[_start(0, "TPU v7", 8)],
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
  for said in ("8 x TPU v7", "a <fast> one, 2 cores", "jax 0.9.0, flax 0.12.0"):
    assert said in found.text, said
  for said in ("CC BY 4.0", "kept aside", "60 seconds", "optim.learning_rate"):
    assert said in found.text, said


def test_each_machine_has_its_steps(run):
  """Whatever the starts: their rows cover each step of the run once, in order."""
  rng = np.random.default_rng(0)
  for _ in range(50):
    last = int(rng.integers(1, 20))
    firsts = np.flatnonzero(rng.random(last + 4) < 0.3)
    starts = [_start(int(s), rng.choice(["cpu", "TPU v7"])) for s in firsts]
    found = dataclasses.replace(run, step=last, starts=starts)
    rows = tables.machines(found).rows
    spans = [tuple(map(int, row[0].split("–"))) for row in rows]
    steps = [step for first, end in spans for step in range(first, end + 1)]
    assert steps == [*range(1, last + 1)]
    for start in starts:
      kind = next(iter(start["devices"]))
      named = [r for r, (a, b) in zip(rows, spans) if a <= start["step"] + 1 <= b]
      assert (start["step"] >= last) == (not named)
      assert all(kind in row[3] for row in named)


def test_equal_machines_are_one_row_and_others_are_named(run):
  starts = [
    _start(0),
    _start(2),
    _start(5, "H100", 4, processes=2),
    _start(6, cores=9),
    _start(7, cores=9, versions={"jax": "0.10.0"}),
  ]
  table = tables.machines(dataclasses.replace(run, step=9, starts=starts))
  assert [(row[0], row[2]) for row in table.rows] == [
    ("1–5", "2"),
    ("6–6", "1"),
    ("7–7", "1"),
    ("8–9", "1"),
  ]
  assert table.rows[1][3] == "4 x H100 (cpu), 2 processes"
  assert "9 cores" in table.rows[2][4] and "jax 0.10.0" in table.rows[3][5]


@pytest.mark.parametrize("first", (None, 1))
def test_a_run_of_an_earlier_version_says_what_it_did_not_record(run, first):
  starts = [] if first is None else [_start(first)]
  old = dataclasses.replace(run, starts=starts)
  assert tables.machines(old).rows[0][:2] == (f"1–{first or 2}", "not recorded")
  assert "not recorded" in page.page(old) and "not recorded" in page.card(old)


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
  (start,) = found.starts
  assert start["step"] == 0 and start["devices"] == {"cpu": 1}
  assert f"jax {jax.__version__}" in (tmp_path / "model_card.md").read_text()
  assert found.step == cfg.train.steps and found.seconds and found.parameters > 100
  assert [source.path for source in found.sources] == [cfg.data.path]
