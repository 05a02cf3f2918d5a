import itertools

import numpy as np
import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")

from benchmarks.harness import runner
from benchmarks.harness.problem import Problem, Setup, Side, SkippedError, Work

SETUP = Setup(size="small", device="cpu", repeats=4, seconds=100.0)
PEAK = {"float32": {"flops": 10.0, "bytes": 10.0}}


def _side(value, calls=None, name=""):
  def run():
    if calls is not None:
      calls.append(name)
    return value

  return Side(run, lambda result: [np.float32(result)])


def _problem(first, second, **options):
  sides = {
    "ours": {"": lambda: _side(first)},
    "PyTorch": {"nchw": lambda: _side(second)},
  }
  return Problem(name="p", variables={}, sides=sides, **options)


def test_rounds_alternate_the_order_of_a_pair():
  calls = []
  sides = {name: _side(0, calls, name) for name in "ab"}
  samples = runner.time_rounds(sides, repeats=4, seconds=100)
  assert "".join(calls) == "abbaabba"
  assert [len(samples[name]) for name in "ab"] == [4, 4]


def test_time_ends_the_rounds_but_not_before_three():
  # A clock that goes on by one second whenever somebody looks.
  times = itertools.count()
  samples = runner.time_rounds(
    {"a": _side(0)}, repeats=99, seconds=30, clock=lambda: float(next(times))
  )
  assert samples["a"] == [1.0] * len(samples["a"]) and 3 < len(samples["a"]) < 20
  samples = runner.time_rounds({"a": _side(0)}, repeats=99, seconds=0)
  assert len(samples["a"]) == runner.LEAST_ROUNDS


def test_a_ratio_is_of_one_round():
  # The machine gets slower from round to round; within each, ours takes half.
  samples = {"ours": [1.0, 2.0, 4.0], "PyTorch": [2.0, 4.0, 8.0]}
  found = runner.ratios(samples, "ours")["PyTorch"]
  assert found == {
    "min": 0.5, "q1": 0.5, "median": 0.5, "q3": 0.5, "max": 0.5, "count": 3
  }  # fmt: skip
  assert runner.ratios(samples, "skipped") == {}
  spread = runner.summary([5.0, 1.0, 2.0, 3.0, 4.0])
  assert [spread[k] for k in ("min", "q1", "median", "q3", "max")] == [1, 2, 3, 4, 5]


@pytest.mark.slow
@pytest.mark.parametrize("second", [np.ones(3) * 1.01, np.full(3, np.nan), np.ones(4)])
def test_sides_that_differ_are_an_error(second):
  with pytest.raises(runner.CheckError):
    runner.measure(_problem(np.ones(3), second), SETUP, "case", PEAK)


def test_only_listed_pairs_are_compared():
  problem = _problem(np.ones(3), np.zeros(3), checks=())
  assert runner.measure(problem, SETUP, "case", PEAK)["check"] is None


def test_an_entry_has_what_tables_and_plots_need():
  problem = _problem(np.ones(3), np.ones(3) + 1e-5, work=Work(20.0, 5.0), items=6)
  entry = runner.measure(problem, SETUP, "case", PEAK)
  error = entry["check"]["errors"]["ours and PyTorch"]
  assert 5e-6 < error < 2e-5
  assert entry["sides"]["PyTorch"]["variant"] == "nchw"
  assert entry["sides"]["ours"]["seconds"]["count"] == SETUP.repeats
  assert entry["floor"]["seconds"] == 2.0 and entry["floor"]["bound"] == "arithmetic"
  assert entry["floor"]["times"].keys() == {"ours", "PyTorch"}
  median = entry["sides"]["ours"]["seconds"]["median"]
  assert entry["sides"]["ours"]["items_per_second"] == pytest.approx(6 / median)


def test_the_fastest_variant_is_measured_and_a_skipped_side_is_named():
  import time

  slow = Side(lambda: time.sleep(0.02), lambda _: [np.zeros(1)])

  def skipped():
    raise SkippedError("9 GiB")

  sides = {
    "ours": {"": lambda: _side(0.0)},
    "PyTorch": {"slow": lambda: slow, "fast": lambda: _side(0.0)},
    "large": {"": skipped},
  }
  problem = Problem(name="p", variables={}, sides=sides, checks=())
  entry = runner.measure(problem, SETUP, "case", PEAK)
  assert entry["sides"]["PyTorch"]["variant"] == "fast"
  assert entry["sides"]["PyTorch"]["variant_seconds"]["slow"] > 0.02
  assert entry["sides"]["large"] == {"skipped": "9 GiB"}
  assert entry["ratios"].keys() == {"PyTorch"}
