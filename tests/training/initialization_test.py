"""Trainings that start from parts of other runs and files."""

import copy
import json

import jax
import numpy as np
import pytest
from helpers import shapes

from fskd_jax import config
from fskd_jax.config import OptimConfig
from fskd_jax.experiment import make_task
from fskd_jax.interop import state_dicts, weights
from fskd_jax.models.build import make_model
from fskd_jax.models.detector import init_variables
from fskd_jax.training import loop, optim
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.initialization import first_variables, load_parts, rename
from fskd_jax.training.state import init_state


def _tree(value, **more):
  layer = {"kernel": np.full((2, 3), value), "bias": np.full(3, value)}
  params = {"encoder": {"conv1": layer, "conv2": layer}, "head": layer} | more
  return {"params": params, "batch_stats": {"encoder": {"bn": {"mean": value}}}}


def _values(tree):
  """Returns the one value of every array by its path."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): float(np.ravel(x)[0])
    for path, x in leaves
  }


def test_one_architecture_loads_everything():
  found, report = load_parts(_tree(0.0), _tree(1.0))
  assert set(_values(found).values()) == {1.0}
  assert len(report.loaded) == 7 and not report.missing and not report.unused


def test_patterns_choose_rename_and_leave_out():
  patterns = (("encoder/conv2/", ""), ("encoder/", "encoder/"))
  source = _tree(1.0, tail={"x": np.ones(5)})
  found, report = load_parts(
    _tree(0.0), source, [("encoder/conv2.*", ""), ("encoder/", "encoder/")]
  )
  changed = {name for name, value in _values(found).items() if value}
  assert changed == {
    *("params/encoder/conv1/kernel", "params/encoder/conv1/bias"),
    "batch_stats/encoder/bn/mean",
  }
  assert str(report) == (
    "loaded 3 of 7 arrays (encoder/bn (1), encoder/conv1 (2)); not loaded: "
    "encoder/conv2 (2), head/bias (1), head/kernel (1); not used: encoder/conv2 (2), "
    "head/bias (1), head/kernel (1), tail/x (1)"
  )
  found, _ = load_parts(_tree(0.0), source, [(r"(head)/(bias)", r"encoder/conv1/\2")])
  changed = [name for name, value in _values(found).items() if value]
  assert changed == ["params/encoder/conv1/bias"]
  assert rename("encoder/conv2/bias", patterns) == "bias"
  assert rename("head/bias", patterns) == "" and rename("head/bias", ()) == "head/bias"


@pytest.mark.parametrize(
  "source, patterns, message",
  [
    (_tree(1.0), [("decoder", "")], "no name begins with 'decoder'; .*encoder/conv1"),
    (_tree(1.0), [("head", "tail")], "nothing to load: .*expected .*head/kernel"),
    (_tree(1.0), [("head", r"\2")], r"replacement '\\\\2' of 'head': invalid group"),
    (
      _tree(1.0, head={"kernel": np.ones((2, 4)), "bias": np.ones(3)}),
      (),
      r"head/kernel \(2, 4\), expected \(2, 3\); leave them out",
    ),
    (
      _tree(1.0),
      [("head|encoder/conv1", "head")],
      "head/kernel would be loaded from encoder/conv1/kernel and head/kernel",
    ),
  ],
)
def test_what_does_not_fit_is_named(source, patterns, message):
  with pytest.raises(ValueError, match=message):
    load_parts(_tree(0.0), source, patterns)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
  """A configuration, drawn variables, and others that a run holds."""
  folder = tmp_path_factory.mktemp("start")
  cfg = shapes.config(folder)
  drawn = jax.tree.map(np.asarray, init_variables(make_model(cfg), seed=0))
  trained = jax.tree.map(lambda x: x + 1, drawn)
  tx = optim.make_optimizer(OptimConfig(), 10)
  store = CheckpointStore(folder / "run", 1)
  store.save(3, init_state(trained, tx), config.to_dict(cfg))
  store.close()
  return cfg, drawn, trained, folder


def _starting_from(cfg, path, patterns=()):
  cfg = copy.deepcopy(cfg)
  cfg.train.init_from, cfg.train.init_patterns = str(path), patterns
  config.validate(cfg)
  return cfg


def _files(cfg, trained, folder):
  tensors = state_dicts.state_dict(trained, cfg)
  metadata = {"config": json.dumps(config.to_dict(cfg))}
  weights.write_weights(folder / "ours.safetensors", tensors, metadata)
  tensors = {f"module.{name}": x for name, x in tensors.items()}
  tensors["module.fc.bias"] = np.zeros(3, np.float32)
  weights.write_weights(folder / "bare.safetensors", tensors, {})
  return folder / "run", folder / "ours.safetensors", folder / "bare.safetensors"


@pytest.mark.slow
def test_runs_and_files_of_one_architecture_give_everything(experiment, caplog):
  cfg, drawn, trained, folder = experiment
  for path in _files(cfg, trained, folder):
    with caplog.at_level("INFO", logger="fskd_jax"):
      found = first_variables(drawn, _starting_from(cfg, path))
    shapes.assert_identical(found, trained)
    assert f"{str(path)!r}: loaded " in caplog.text
    assert "not loaded: none; not used: none" in caplog.text
    caplog.clear()
  assert first_variables(drawn, cfg) is drawn


@pytest.mark.slow
def test_a_new_run_starts_there_and_a_resumed_one_does_not(experiment, tmp_path):
  cfg, _, trained, folder = experiment
  cfg = _starting_from(cfg, folder / "run")
  store = CheckpointStore(tmp_path, 1)
  state, _ = loop._first_state(make_task(cfg), cfg, store)
  assert state.step == 0
  shapes.assert_identical(jax.device_get(state.params), trained["params"])
  again = jax.tree.map(lambda x: x * 0, state)._replace(step=np.int32(5))
  store.save(5, again, config.to_dict(cfg))
  cfg.train.init_from = "gone"
  resumed, _ = loop._first_state(make_task(cfg), cfg, store)
  assert resumed.step == 5 and not any(x.any() for x in jax.tree.leaves(resumed.params))


@pytest.mark.slow
def test_another_head_takes_the_encoder_of_a_run(experiment, caplog):
  cfg, _, trained, folder = experiment
  cfg = copy.deepcopy(cfg)
  cfg.model.kernel_generator, cfg.model.heatmap_upsampling = "linear", "conv1"
  drawn = jax.tree.map(np.asarray, init_variables(make_model(cfg), seed=0))
  cfg = _starting_from(cfg, folder / "run")
  with caplog.at_level("INFO", logger="fskd_jax"):
    found = first_variables(drawn, cfg)
  for name, tree in found.items():
    shapes.assert_identical(tree["encoder"], trained[name]["encoder"])
  for name in ("kernel_generator_8", "upsampler_8_1"):
    shapes.assert_identical(found["params"][name], drawn["params"][name])
  assert (
    "not loaded: kernel_generator_8/crm (2), upsampler_8_1/conv1 (2)" in caplog.text
  )
  assert "not used: kernel_generator_8/crm (4)" in caplog.text


def test_sources_that_are_not_there_are_named(experiment):
  cfg, drawn, _, folder = experiment
  for name in ("nowhere", "nowhere.safetensors"):
    with pytest.raises(FileNotFoundError, match=f"{name}'?: there is no such run"):
      first_variables(drawn, _starting_from(cfg, folder / name))
  (folder / "empty").mkdir()
  with pytest.raises(FileNotFoundError, match="empty"):
    first_variables(drawn, _starting_from(cfg, folder / "empty"))
