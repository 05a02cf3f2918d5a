"""The command that counts what held: cheap classes, and broken code."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

from benchmarks.reliability import __main__ as main
from benchmarks.reliability import trial, worker


def _count(out, *words):
  command = [sys.executable, "-m", "benchmarks.reliability", "--out", str(out)]
  environment = os.environ | {"PYTHONPATH": str(ROOT)}
  done = subprocess.run(
    [*command, *map(str, words)], cwd=ROOT, env=environment, capture_output=True
  )
  return done, json.loads(out.read_text())


@pytest.mark.slow
def test_cheap_classes_hold(tmp_path):
  words = ("--class", "numbers", "--class", "weights")
  done, classes = _count(tmp_path / "found.json", *words)
  assert list(classes) == ["numbers", "weights"]
  for counts in classes.values():
    assert counts["failures"] == {} and counts["note"] == ""
    assert counts["held"] == counts["tried"] >= 15
  assert done.returncode == 0
  (row,) = (r for r in done.stdout.decode().splitlines() if r.startswith("| wrong"))
  tried = str(classes["numbers"]["tried"])  # at least 60: five for each of 12 fields
  assert row.split(" | ")[2:] == [tried, tried, "0 |"] and int(tried) >= 60


def test_what_does_not_hold_is_counted(tmp_path):
  tree = tmp_path / "tree"
  for part in ("fskd_jax", "configs"):
    shutil.copytree(ROOT / part, tree / part)
  with (tree / "fskd_jax" / "config" / "__init__.py").open("a") as file:
    file.write("\n\ndef validate(cfg):\n  pass\n")
  done, classes = _count(tmp_path / "found.json", "--class", "numbers", "--tree", tree)
  counts = classes["numbers"]
  zeros = sum(name.endswith(" = 0") for name in counts["failures"])
  assert done.returncode == 1 and zeros == 0
  assert len(counts["failures"]) == counts["tried"] - counts["held"] == 60
  assert set(counts["failures"].values()) == {"taken without a word"}


def _raise(error):
  raise error


@pytest.mark.parametrize(
  "call, expected",
  [
    (lambda: None, None),
    (lambda: trial.check(False, "why"), "why"),
    (lambda: _raise(KeyError("x")), "KeyError in reliability_test.py"),
    (lambda: trial.check_explained(trial.Ended(0, "fine")), "exit 0"),
    (lambda: trial.check_explained(trial.Ended(-9, "x"), "x"), "ended by signal 9"),
    (lambda: trial.check_explained(trial.Ended(2, "a\nb"), "a"), "names none of"),
    (lambda: trial.check_explained(trial.Ended(2, "x\nB: y"), "b"), None),
    (
      lambda: trial.check_explained(
        trial.Ended(1, "Traceback (most recent call last)\nb"), "b"
      ),
      "traceback",
    ),
  ],
)
def test_trials_say_why_they_did_not_hold(call, expected):
  said = worker._tried(call)
  assert said is None if expected is None else said.startswith(expected)


def test_counts_stand_side_by_side():
  one = {"commit": "a", "tried": 3, "held": 1}
  text = main.table([{"names": one, "disk": one}, {"names": one | {"held": 3}}])
  assert text.splitlines()[2:] == [
    "| full disk | a | 3 | 1 | 2 |  | | |  |",
    "| names of workdirs | a | 3 | 1 | 2 | a | 3 | 3 | 0 |",
  ]


def test_what_hangs_is_ended():
  with pytest.raises(trial.Failure, match="still running after 1 s"):
    with trial.limited(1):
      while True:
        pass
