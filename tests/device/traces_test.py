"""Traces on disk: the numbers stay the same, and a second start does not trace."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from fskd_jax.device import compilation_cache, traces
from fskd_jax.heatmaps.decoding import Readout
from fskd_jax.prediction import network  # noqa: F401  It registers the named tuples.


@pytest.fixture
def folder(monkeypatch, tmp_path):
  monkeypatch.setattr(compilation_cache, "traces", tmp_path / "traces")
  return tmp_path / "traces"


def _double(tree, x):
  return Readout(2 * tree["a"], x + 1, x, jnp.tanh(x)), None


def _never(*_):
  raise AssertionError("traced again")


ARGUMENTS = {"a": np.arange(3, dtype=np.float32)}, np.ones((2, 2), np.float32)


def test_another_start_finds_the_trace(folder):
  expected = jax.jit(_double)(*ARGUMENTS)
  found = traces.Program(_double, ("double", 1))(*ARGUMENTS)
  again = traces.Program(_never, ("double", 1))(*ARGUMENTS)
  for result in (found, again):
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, result, expected)


@pytest.mark.parametrize("change", ["key", "shape", "type", "code"])
def test_what_changed_is_traced_again(folder, change, monkeypatch):
  traces.Program(_double, ("double", 1))(*ARGUMENTS)
  tree, x = ARGUMENTS
  x = {"shape": x[:1], "type": x.astype(np.int32)}.get(change, x)
  if change == "code":
    monkeypatch.setattr(traces, "_surroundings", lambda: ("another version",))
  with pytest.raises(AssertionError, match="traced again"):
    traces.Program(_never, ("double", 2 if change == "key" else 1))(tree, x)


def test_a_damaged_trace_is_made_again(folder, caplog):
  traces.Program(_double, ("double",))(*ARGUMENTS)
  (path,) = folder.iterdir()
  whole = path.read_bytes()
  path.write_bytes(whole[:100])
  result, _ = traces.Program(_double, ("double",))(*ARGUMENTS)
  np.testing.assert_array_equal(result.keypoints, [0, 2, 4])
  assert "made again" in caplog.text and path.read_bytes() == whole


def test_the_oldest_traces_make_room(folder, monkeypatch):
  monkeypatch.setattr(traces, "MOST", 2)
  for key in range(4):
    traces.Program(_double, (key,))(*ARGUMENTS)
  assert len([*folder.iterdir()]) == 2
  traces.Program(_never, (3,))(*ARGUMENTS)


def test_without_a_place_to_write_all_goes_on(folder, caplog):
  folder.write_text("no folder")
  result, _ = traces.Program(_double, ("double",))(*ARGUMENTS)
  np.testing.assert_array_equal(result.keypoints, [0, 2, 4])
  assert "not kept" in caplog.text


def test_wrong_arguments_are_refused_by_the_function(folder):
  def refuse(x):
    raise ValueError(f"x: got shape {x.shape}")

  with pytest.raises(ValueError, match=r"got shape \(3,\)"):
    traces.Program(refuse, ("refuse",))(np.zeros(3))
  assert not folder.exists()


def test_what_cannot_be_exported_still_runs(folder, monkeypatch):
  def fail(*_):
    raise ValueError("a custom call without guarantees")

  monkeypatch.setattr(export, "export", fail)
  result, _ = traces.Program(_double, ("double",))(*ARGUMENTS)
  np.testing.assert_array_equal(result.keypoints, [0, 2, 4])
