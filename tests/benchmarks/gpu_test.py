"""The sides of the case for GPUs, as small as they get, on a CPU."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch", reason="the opponents are PyTorch: make bench installs it")

from benchmarks.cases import evaluation, feeding, gpu
from benchmarks.cases.gpu import attention, scan
from benchmarks.harness.problem import Setup, SkippedError
from benchmarks.harness.runner import relative_difference
from configs import quickstart

SETUP = Setup(size="small", device="cpu", repeats=1, seconds=0.0)


def _small(cfg):
  cfg.data = dataclasses.replace(cfg.data, image_size=32)
  cfg.model = dataclasses.replace(cfg.model, small_widths=(8, 8, 16, 16, 16))
  return cfg


def _numbers(side, runs=2):
  found = []
  for _ in range(runs):
    side.before()
    found += side.numbers(side.run())
  return np.concatenate([np.ravel(x) for x in found])


@pytest.mark.slow
def test_steps_in_one_program_are_those_made_one_by_one():
  cfg = _small(quickstart.get_config())
  losses = [
    _numbers(make(cfg, "float32", 3)) for make in (scan.one_program, scan.one_by_one)
  ]
  assert losses[0].shape == (6,) and len(set(losses[0])) == 6
  assert relative_difference(*losses) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("part", ["forward", "gradients"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_attention_is_the_same_in_both_frameworks(part, precision):
  arguments = SETUP, attention.Size(2, 17, 3, 8), part, precision
  found = [
    side.numbers(side.run())
    for side in (
      attention.our_side(*arguments, "xla"),
      attention.torch_side(*arguments),
    )
  ]
  assert len(found[0]) == len(found[1]) == (1 if part == "forward" else 3)
  for ours, theirs in zip(*found):
    assert ours.shape == (2, 17, 3, 8)
    assert relative_difference(ours, theirs) < attention.LIMIT[precision]


def test_cudnn_is_left_out_where_it_cannot_run():
  size = attention.Size(1, 2, 1, 8)
  with pytest.raises(SkippedError, match="needs a GPU"):
    attention.our_side(SETUP, size, "forward", "bfloat16", "cudnn")
  with pytest.raises(SkippedError, match="bfloat16 alone"):
    on_gpu = SETUP._replace(device="gpu")
    attention.our_side(on_gpu, size, "forward", "float32", "cudnn")


@pytest.mark.slow
def test_a_step_is_fed_and_has_a_batch_that_stays(tmp_path, monkeypatch):
  monkeypatch.setattr(evaluation, "CACHE", tmp_path)
  problem = feeding.fed_step(
    "small", lambda: _small(evaluation.configuration(images_per_species=6)), 2
  )
  assert list(problem.sides) == ["fixed batch", "resident", "tf.data", "grain"]
  for name in ("fixed batch", "resident"):
    losses = _numbers(problem.sides[name][""]())
    assert np.isfinite(losses).all() and losses[0] != losses[1]


def test_an_executor_whose_library_is_missing_is_left_out(monkeypatch):
  monkeypatch.setitem(feeding._LIBRARIES, "tfdata", "no_such_library")
  problem = feeding.fed_step("small", quickstart.get_config, 1)
  with pytest.raises(SkippedError, match="no_such_library is not installed"):
    problem.sides["tf.data"][""]()


@pytest.mark.slow
def test_a_query_is_found_with_the_support_kept_or_again():
  kept, again = (_numbers(gpu._query(is_kept), runs=1) for is_kept in (True, False))
  assert kept.size > 10 and (kept > 0).any()
  np.testing.assert_allclose(kept, again, rtol=1e-4)
