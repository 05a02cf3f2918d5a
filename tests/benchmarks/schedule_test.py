"""What is measured within a number of minutes, and what a second call goes on with."""

import importlib
import itertools

import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")

from benchmarks.harness import results, schedule, tables
from benchmarks.harness.problem import Problem, Setup


class _Work:
  """Measures problems, each in its seconds by a clock of its own."""

  def __init__(self, seconds, failing=()):
    self.now, self.done = 0.0, []
    self._seconds, self.failing = seconds, set(failing)

  def __call__(self, problem):
    self.done.append(problem.name)
    self.now += self._seconds[problem.name]
    if problem.name in self.failing:
      raise ValueError("too large")
    return {"problem": problem.name, "variables": problem.variables, "sides": {}}

  def run(self, problems, seconds=1e9, known=(), only=""):
    """Returns the entries after all, by name."""
    self.done = []
    deadline = schedule.Deadline(seconds, clock=lambda: self.now)
    steps = list(schedule.measured(problems, known, self, deadline, only))
    return {x["problem"]: x for x in (steps[-1][1] if steps else known)}


def _problems(*names):
  """Stand-ins, whose names start with their part."""
  return [Problem(name=x, variables={"part": x[0]}, sides={}) for x in names]


def test_all_are_measured_in_order_without_a_limit():
  work = _Work({"a1": 100, "b1": 10, "a2": 90})
  found = work.run(_problems("a1", "b1", "a2"))
  assert list(found) == work.done == ["a1", "b1", "a2"]
  assert [x["wall_seconds"] for x in found.values()] == [100, 10, 90]


def test_what_would_take_too_long_is_left_out_and_what_fits_is_not():
  work = _Work({"a1": 100, "b1": 10, "a2": 90, "b2": 10, "c1": 1})
  found = work.run(_problems("a1", "b1", "a2", "b2", "c1"), seconds=205)
  # a2 counts as a1 did, and c1, a part never seen, as the longest of all.
  assert work.done == ["a1", "b1", "b2"] and work.now == 120
  assert list(found) == ["a1", "b1", "a2", "b2", "c1"]
  assert "takes about 100 s" in found["a2"]["left_out"]
  assert "95 s were left" in found["a2"]["left_out"]
  assert "left_out" in found["c1"] and "left_out" not in found["b2"]


def test_no_time_is_no_problem_begun():
  work = _Work({"a": 1})
  assert "left_out" in work.run(_problems("a"), seconds=-1)["a"]
  assert work.done == []


def test_a_second_call_measures_only_what_is_missing():
  problems = _problems("a1", "b1", "a2", "a3")
  work = _Work({"a1": 100, "b1": 10, "a2": 90, "a3": 70})
  first = work.run(problems, seconds=205)
  assert work.done == ["a1", "b1"]
  second = work.run(problems, 150, [*first.values()])
  assert work.done == ["a2"]  # a3 may take as long as the longest of its kind
  third = work.run(problems, 150, [*second.values()])
  assert work.done == ["a3"] and list(third) == ["a1", "b1", "a2", "a3"]
  assert {x: third[x] for x in ("a1", "b1")} == {x: first[x] for x in ("a1", "b1")}
  assert not any("left_out" in x for x in third.values())
  assert work.run(problems, 150, [*third.values()]) == third and work.done == []


def test_a_failure_stops_no_other_and_is_tried_again_last():
  problems = _problems("a", "b", "c")
  work = _Work(dict.fromkeys("abc", 1), failing="a")
  found = work.run(problems)
  assert work.done == ["a", "b", "c"]
  assert found["a"]["error"] == "ValueError: too large"
  assert [name for name, x in found.items() if schedule.has_failed(x)] == ["a"]
  del found["c"]
  work.failing = {}
  again = work.run(problems, known=[*found.values()])
  assert work.done == ["c", "a"] and list(again) == ["a", "b", "c"]
  assert not any(map(schedule.has_failed, again.values()))


def test_what_ends_the_program_is_known_to_the_next_call_and_tried_last():
  problems = _problems("a", "b")
  work = _Work({"a": 1, "b": 1})
  written = []

  def ended(problem):
    raise SystemExit(f"no way back from {problem.name}")

  with pytest.raises(SystemExit):
    for _, entries in schedule.measured(problems, [], ended, schedule.Deadline()):
      written = entries
  assert [x["error"] for x in written] == [schedule.BEGUN]
  found = work.run(problems, known=written)
  assert work.done == ["b", "a"]
  assert not any(map(schedule.has_failed, found.values()))


def test_what_ends_the_program_leaves_what_was_measured_before():
  def ended(problem):
    raise SystemExit

  side = {
    "ours": {"seconds": {"median": 1.0}},
    "PyTorch": {"failed": "OutOfMemoryError"},
  }
  known = [{"problem": "a", "variables": {"part": "a"}, "sides": side}]
  steps = schedule.measured(_problems("a"), known, ended, schedule.Deadline())
  _, written = next(steps)
  with pytest.raises(SystemExit):
    next(steps)
  assert written == [known[0] | {"error": schedule.BEGUN}]
  assert schedule.has_failed(written[0])


def test_a_failed_side_is_a_failure_and_stays_while_there_is_no_time():
  side = {"sides": {"PyTorch": {"failed": "OutOfMemoryError"}}, "wall_seconds": 50}
  known = [{"problem": "a", "variables": {"part": "a"}} | side]
  work = _Work({"a": 1})
  assert schedule.has_failed(known[0])
  assert work.run(_problems("a"), 49, known) == {"a": known[0]} and work.done == []
  assert not schedule.has_failed(work.run(_problems("a"), 51, known)["a"])


def test_named_problems_alone_are_measured_and_the_others_stay():
  problems = _problems("a1", "a2", "b1")
  work = _Work(dict.fromkeys(("a1", "a2", "b1"), 1))
  known = work.run(problems[:1])
  found = work.run(problems, known=[*known.values()], only="a")
  assert work.done == ["a2"] and list(found) == ["a1", "a2"]


def test_tables_say_what_failed_and_what_is_missing(tmp_path):
  work = _Work({"a": 100, "b": 1}, failing="b")
  found = work.run(_problems("a", "c", "b"), seconds=100)
  found["b"] = {"problem": "b", "variables": {}, "error": "ValueError: too large"}
  found["a"]["sides"] = {"PyTorch": {"failed": "no compiler"}}
  device = {
    "name": "A GPU", "slug": "a-gpu", "threads": {"torch": 1}, "versions": {},
  }  # fmt: skip
  path = results.path_of(device, "full", tmp_path)
  assert results.entries(path, "gpu") == []
  content = results.add_case(path, "gpu", "full", device, {}, [*found.values()])
  assert results.entries(path, "gpu") == [*found.values()]
  text = tables.markdown(content)
  assert "| a | PyTorch | failed: no compiler |" in text
  assert "| b |  | failed: ValueError: too large |" in text
  assert "| c |  | not measured yet: takes about 100 s, of 1.67 minutes 0 s" in text


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("size", ["small", "full"])
def test_the_case_for_gpus_has_its_most_important_problems_first(size, device):
  case = importlib.import_module("benchmarks.cases.gpu")
  setup = Setup(size=size, device=device, repeats=1, seconds=0.0)
  problems = list(case.problems(setup))
  names = [x.name for x in problems]
  assert len(set(names)) == len(names)
  parts = [x.variables["part"] for x in problems]
  first = ["step", "fed", "query", "scan", "attention"]
  assert [x for x, _ in itertools.groupby(parts)][:5] == first
  steps = [x for x in problems if x.variables["part"] == "step"]
  assert {x.variables["precision"] for x in steps} == set(setup.precisions)
  for step in steps:
    layouts = {"PyTorch, nchw", "PyTorch, channels_last", "PyTorch compiled"}
    assert layouts | {"ours"} <= step.sides.keys()
