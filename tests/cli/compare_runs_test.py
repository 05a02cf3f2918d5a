"""`fskd compare-runs`: paired differences, and what it refuses to compare."""

import copy
import json

import numpy as np
import pytest

from fskd_jax.cli import main
from fskd_jax.metrics import intervals, paired
from fskd_jax.metrics import record as episode_record

SPECIES = ["cat"] * 20 + ["dog"] * 20 + ["elk"] * 20


def _scores(pck):
  by_threshold = {"0.1": pck, "0.2": [x and min(1.0, x + 0.1) for x in pck]}
  nose = [x if i % 2 else None for i, x in enumerate(pck)]
  return {
    "pck": by_threshold,
    "auc": pck,
    "ne": [x and 1 - x for x in pck],
    "per_keypoint": {"nose": {"0.1": nose, "0.2": nose}},
  }


def _record(pck, **changed):
  setting = {
    "manifest": "0123",
    "instances": [[i, i + 1] for i in range(len(pck))],
    "species": SPECIES,
    "scores": {"detector": _scores(pck)},
  }
  head = {"data": "zoo", "shots": 1, "queries": 1, "seed": 1}
  return head | {"settings": {"unseen/base": setting | changed}}


@pytest.fixture
def pcks():
  """Hard and easy episodes; B is 0.1 better in nearly all."""
  rng = np.random.default_rng(0)
  a = rng.uniform(0, 0.8, 60).round(6)
  b = (a + 0.1 + rng.normal(0, 0.02, 60)).round(6)
  return [None, *a[1:].tolist()], [None, *b[1:].tolist()]


def _write(folder, record):
  (folder / "eval").mkdir(parents=True, exist_ok=True)
  path = folder / "eval" / episode_record.FILE
  path.write_text(json.dumps(record))
  return folder


def test_the_paired_difference_is_that_of_the_episodes(pcks):
  found = paired.compare(_record(pcks[0]), _record(pcks[1]))["unseen/base"]
  a, b = (np.array(p[1:]) for p in pcks)
  row = found["metrics"]["pck@0.1"]
  expected = intervals.paired_bootstrap(a, b, np.array(SPECIES[1:]), np.arange(59))
  assert (row["a"], row["b"]) == (pytest.approx(a.mean()), pytest.approx(b.mean()))
  assert row["difference"] == pytest.approx((b - a).mean())
  assert row["interval95"] == [expected.low, expected.high]
  assert found["episodes"] == row["episodes"] == 59 and found["species"] == 3
  cats = found["per_species"]["cat"]
  assert cats["episodes"] == 19
  assert cats["difference"] == pytest.approx((b - a)[:19].mean())
  nose = found["per_keypoint"]["nose"]
  assert nose["episodes"] == 30
  assert nose["difference"] == pytest.approx((b - a)[::2].mean())
  assert found["metrics"]["ne"]["difference"] == pytest.approx(-row["difference"])


def test_episodes_that_mix_species_are_drawn_one_by_one(pcks):
  mixed = {"species": [None, *SPECIES[1:]]}
  a, b = (_record(pck, **mixed) for pck in pcks)
  found = paired.compare(a, b)["unseen/base"]
  row = found["metrics"]["pck@0.1"]
  x, y = (np.array(p[1:]) for p in pcks)
  expected = intervals.paired_bootstrap(x, y, np.zeros(59), np.arange(59))
  assert row["interval95"] == [expected.low, expected.high]
  assert found["species"] is None and found["per_species"] == {}


def test_the_command_gives_a_verdict_in_words(pcks, tmp_path, capsys):
  a, b = (_write(tmp_path / n, _record(p)) for n, p in zip("ab", pcks))
  out = tmp_path / "found.json"
  command = ["compare-runs", str(a), str(b / "eval"), "--json", str(out)]
  assert main.main(command) == 0
  text = capsys.readouterr().out
  difference = 100 * np.mean(np.subtract(pcks[1][1:], pcks[0][1:]))
  assert text.startswith(
    f"unseen/base, PCK@0.1: B is better by {difference:.1f} points ("
  )
  assert "on the same 59 episodes of 3 species" in text
  expected = paired.compare(_record(pcks[0]), _record(pcks[1]))
  assert json.loads(out.read_text())["settings"] == expected
  assert main.main(["compare-runs", str(b), str(a)]) == 0
  assert f"A is better by {difference:.1f} points" in capsys.readouterr().out


@pytest.mark.parametrize(
  "ends, expected",
  [
    ([0.009, 0.033], "B is better by 2.1 points (0.9 to 3.3) on the same 300 episodes"),
    ([-0.01, 0.05], "no difference shown (B - A: +2.1 points, -1.0 to +5.0)"),
    (None, "nothing shown: the same 300 episodes are too few"),
  ],
)
def test_verdicts(ends, expected):
  row = {"difference": 0.021, "interval95": ends}
  assert paired.verdict(row, "300 episodes").startswith(expected)


def test_a_better_a_is_told_with_positive_points():
  row = {"difference": -0.021, "interval95": [-0.033, -0.009]}
  assert paired.verdict(row, "300 episodes") == (
    "A is better by 2.1 points (0.9 to 3.3) on the same 300 episodes"
  )


def _changed(record, **fields):
  record = copy.deepcopy(record)
  record["settings"]["unseen/base"]["manifest"] = "4567"
  return record | fields


def test_other_episodes_are_refused_by_name(pcks, tmp_path, capsys):
  record = _record(pcks[0])
  a = _write(tmp_path / "a", record)
  other_images, fewer = _changed(record), _changed(record)
  other_images["settings"]["unseen/base"]["instances"][7] = [3, 4]
  del fewer["settings"]["unseen/base"]["instances"][50:]
  wrong = [
    (_changed(record, shots=5, data="farm"), "data: 'zoo' and 'farm'; shots: 1 and 5"),
    (fewer, "number of episodes: 60 and 50"),
    (other_images, "episode 7 on: instances [7, 8] and [3, 4]"),
    (_changed(record), "the same images, but other keypoint types"),
    (record | {"settings": {"seen/base": {}}}, "no settings: not in both runs; A has"),
  ]
  for other, text in wrong:
    b = _write(tmp_path / "b", other)
    assert main.main(["compare-runs", str(a), str(b)]) == 2
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
  b = _write(tmp_path / "b", record)
  assert main.main(["compare-runs", str(a), str(b), "--setting", "seen/base"]) == 2
  assert "['seen/base']: not in both runs" in capsys.readouterr().err


def test_other_protocols_are_refused_even_on_the_same_episodes(pcks, tmp_path, capsys):
  unnamed, ours, reference = (
    _write(tmp_path / name, _record(pcks[0]) | head)
    for name, head in (
      ("a", {}),
      ("b", {"protocol": "ours"}),
      ("c", {"protocol": "reference"}),
    )
  )
  assert main.main(["compare-runs", str(unnamed), str(ours)]) == 0
  capsys.readouterr()
  for run in (unnamed, ours):
    assert main.main(["compare-runs", str(run), str(reference)]) == 2
    error = capsys.readouterr().err
    assert "A was evaluated by the protocol 'ours' and B by 'reference'" in error
    assert error.count("\n") == 1


def test_what_is_no_evaluation_is_named(tmp_path, capsys):
  assert main.main(["compare-runs", str(tmp_path), str(tmp_path)]) == 2
  assert f"there is no {episode_record.FILE} in it" in capsys.readouterr().err
  for damaged in ("{", "[]", "{}"):
    (tmp_path / episode_record.FILE).write_text(damaged)
    assert main.main(["compare-runs", str(tmp_path), str(tmp_path)]) == 2
    assert "is damaged" in capsys.readouterr().err
