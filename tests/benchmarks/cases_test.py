import dataclasses
import importlib

import numpy as np
import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.harness import floor, memory, runner
from benchmarks.harness.problem import Problem, Setup, Side, SkippedError
from benchmarks.opponents import ours, torch_mds, torch_twin

SETUP = Setup(size="small", device="cpu", repeats=3, seconds=0.0)
PEAK = {"float32": {"flops": 1e11, "bytes": 1e10}}


@pytest.mark.slow
def test_the_formula_counts_the_encoder_as_pytorch_does():
  with torch.device("meta"), FlopCounterMode(display=False) as counter:
    torch_twin.Encoder([32], "layer3")(torch.empty(2, 3, 128, 128))
  assert floor.encoder(128, 2).flops == counter.get_total_flops()


def test_the_formula_counts_the_baseline_as_pytorch_does():
  with torch.device("meta"), FlopCounterMode(display=False) as counter:
    modulator = torch_mds.Modulator(2048, 4, (512, 512, 1024))
    modulator(torch.empty(1, 3, 2048, 4, 4), torch.empty(1, 5, 2048))
  convolutions = floor.mds(128, 5, queries=3).flops - 3 * 5 * 2048 * 16
  assert convolutions == counter.get_total_flops()


def test_the_head_costs_the_least_of_both_ways():
  few, many = (floor.head(384, n, queries=5).flops / n for n in (1, 1000))
  layer = 35 * 2 * 2048.0**2  # of the CRM, on every tap of a keypoint
  detection = 5 * 144 / 2048
  assert few / layer == pytest.approx(2 + detection, rel=0.01)
  # The second layer is applied to the queries, once for each of three sizes.
  on_queries = 3 * 5 * 144 / (1000 * 35)
  assert many / layer == pytest.approx(1 + detection + on_queries, rel=0.01)


@pytest.mark.slow
def test_a_case_from_weights_to_an_entry(monkeypatch):
  case = importlib.import_module("benchmarks.cases.inference")
  monkeypatch.setattr(memory, "in_process", lambda *_: {"peak_bytes": 1})
  head = next(p for p in case.problems(SETUP) if p.variables["part"] == "head")
  assert head.sides["PyTorch"].keys() == {"nchw", "channels_last"}
  layout = {"channels_last": head.sides["PyTorch"]["channels_last"]}
  sides = {"ours": head.sides["ours"], "PyTorch": layout}  # fewer, to be fast
  head = dataclasses.replace(head, sides=sides)
  entry = runner.measure(head, SETUP, "inference", PEAK)
  assert entry["check"]["errors"]["ours and PyTorch"] < 1e-4
  assert entry["sides"]["ours"]["peak_bytes"] == 1
  assert entry["sides"]["ours"]["flops"] > 1e8
  assert entry["sides"]["PyTorch"]["variant"] == "channels_last"


@pytest.mark.slow
def test_episodes_one_at_a_time_score_the_same(tmp_path, monkeypatch):
  case = importlib.import_module("benchmarks.cases.evaluation")
  monkeypatch.setattr(case, "CACHE", tmp_path)
  cfg = case.configuration(images_per_species=6)
  whole, one_by_one = case._whole(cfg, 5), case._one_by_one(cfg, 5)
  found, expected = (x.numbers(x.run()) for x in (whole, one_by_one))
  assert len(found) == len(cfg.eval.thresholds) and found[0].shape == (5,)
  assert np.ptp(found[-1]) > 0
  np.testing.assert_array_equal(found, expected)


def test_what_needs_too_much_memory_is_not_run(monkeypatch):
  monkeypatch.setattr(ours, "MEMORY_LIMIT", 2**20)
  with pytest.raises(SkippedError, match="GiB as compiled"):
    ours.compiled(
      lambda x: x[:, None] + x[None], np.zeros(2000, "f"), precision="float32"
    )


def test_a_donated_argument_is_updated():
  side = ours.compiled(
    lambda state, x: (state + x, state * x),
    np.float32(1),
    np.float32(2),
    precision="float32",
    donated=True,
  )
  assert [float(side.run()) for _ in range(3)] == [2.0, 6.0, 10.0]


def test_peak_memory_is_what_a_run_takes_at_once():
  def run():
    for _ in range(3):
      np.ones(2**23, np.float64)  # 64 MiB, given back before the next

  found = memory.measure(Side(run, lambda _: []))
  assert found["peak_bytes"] == pytest.approx(2**26, rel=0.3)
  assert found["process_bytes"] > found["peak_bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("size", ["small", "full"])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("name", ["training", "inference", "mds", "transpose"])
def test_problems_have_names_of_their_own(name, device, size):
  case = importlib.import_module(f"benchmarks.cases.{name}")
  setup = Setup(size=size, device=device, repeats=1, seconds=0.0)
  problems: list[Problem] = list(case.problems(setup))
  names = [problem.name for problem in problems]
  assert len(set(names)) == len(names) > 0
  for problem in problems:
    assert dataclasses.is_dataclass(problem) and len(problem.sides) > 1
    compiled = [side for side in problem.sides if "compiled" in side]
    assert bool(compiled) <= (device == "gpu")
