"""The encoders' case has a problem for each encoder, part and size."""

import importlib

import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")
pytest.importorskip(
  "efficientnet_lite_pytorch",
  reason="the opponent: pip install --no-deps efficientnet_lite_pytorch",
)
pytest.importorskip("transformers", reason="the opponent: pip install transformers")

from benchmarks.harness.problem import Setup
from benchmarks.opponents import ours


@pytest.mark.parametrize("size", ["small", "full"])
def test_problems_have_names_of_their_own(size):
  case = importlib.import_module("benchmarks.cases.encoders")
  setup = Setup(size=size, device="cpu", repeats=1, seconds=0.0)
  names = [problem.name for problem in case.problems(setup)]
  assert len(set(names)) == len(names) == (4 if size == "small" else 52)


@pytest.mark.slow
def test_both_sides_start_with_the_same_numbers():
  case = importlib.import_module("benchmarks.cases.encoders")
  config = case._config("efficientnet_lite0", "float32")
  first, again = (case._variables(config, 32) for _ in range(2))
  assert [x.sum() for x in ours.arrays(first)] == [x.sum() for x in ours.arrays(again)]
