"""The modulate-then-detect baseline: the module, and the detector that has it."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import tiny_detector
from helpers.seeded_variables import seeded_variables

from fskd_jax import config
from fskd_jax.cli import main
from fskd_jax.config import Config, DataConfig, LossConfig, ModelConfig
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.interop import torch as torch_names
from fskd_jax.models.build import count_parameters
from fskd_jax.models.detector import FewShotDetector
from fskd_jax.models.mds import Modulator
from fskd_jax.training import optim
from fskd_jax.training import state as train_state
from fskd_jax.training.checkpoint import CheckpointStore

SIDE = tiny_detector.SIDE
CONFIG = ModelConfig(
  encoder="small",
  small_widths=(8, 8, 8, 8),
  strides=(8,),
  freeze_until="",
  head="mds",
  mds_widths=(8, 6, 8),
  kernel_sizes=(1,),
  query_upsampling=(2.0,),
  heatmap_upsampling="bilinear",
)
DETECTOR = FewShotDetector(CONFIG, SIDE)


@pytest.fixture(scope="module")
def inputs():
  """Two episodes, two queries, three types; sides 10, 5, 3, 2."""
  rng = np.random.default_rng(0)
  query = rng.standard_normal((2, 2, 10, 10, 4)).astype(np.float32)
  return query, rng.standard_normal((2, 3, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def modulator(inputs):
  """(widths 3, 2, 2) and its variables."""
  module = Modulator((8, 6, 8))
  return module, seeded_variables(functools.partial(module.init), *inputs)


def _convolve(x, kernel, bias):
  """One output cell after the other: 3x3, stride 2, zeros around; then ReLU."""
  padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
  side = (len(x) + 1) // 2
  y = np.zeros((side, side, kernel.shape[-1]))
  for i in range(side):
    for j in range(side):
      window = padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
      y[i, j] = (window[..., None] * kernel).sum((0, 1, 2)) + bias
  return np.maximum(y, 0)


def test_it_is_a_loop_over_keypoint_types(modulator, inputs):
  module, variables = modulator
  query, prototypes = inputs
  params = jax.device_get(variables["params"])
  expected = np.zeros((2, 2, 3, 10, 10))
  for b, m, n in np.ndindex(2, 2, 3):
    x = query[b, m] * prototypes[b, n]
    for name in ("conv1", "conv2", "conv3"):
      x = _convolve(x, params[name]["kernel"], params[name]["bias"])
    flat = x.ravel() @ params["head"]["kernel"] + params["head"]["bias"]
    expected[b, m, n] = flat.reshape(10, 10)
  assert expected.std(2).min() > 1e-3  # the types differ
  found = jax.jit(module.apply)(variables, query, prototypes)
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_only_its_own_prototype_matters_to_a_type(modulator, inputs):
  module, variables = modulator
  query, prototypes = inputs
  apply = jax.jit(functools.partial(module.apply, variables))
  changed = prototypes.copy()
  changed[1, 2] += 1
  difference = np.abs(apply(query, changed) - apply(query, prototypes))
  assert difference[1, :, 2].min(0).max() > 1e-3
  difference[1, :, 2] = 0
  assert difference.max() == 0


def test_parameter_count_of_the_publication():
  module = Modulator(ModelConfig().mds_widths)
  query, prototypes = jnp.zeros((1, 1, 12, 12, 2048)), jnp.zeros((1, 1, 2048))
  shapes = jax.eval_shape(module.init, jax.random.key(0), query, prototypes)["params"]
  assert shapes["head"]["kernel"].shape == (4096, 144)
  assert count_parameters(shapes) - count_parameters(shapes["head"]) == 16_517_120


def _init(key):
  return DETECTOR.init(key, tiny_detector.episodes(b=1), train=False)


@pytest.fixture(scope="module")
def variables():
  return seeded_variables(_init)


@pytest.fixture(scope="module")
def evaluate(variables):
  apply = functools.partial(DETECTOR.apply, train=False)
  return functools.partial(jax.jit(apply), variables)


@pytest.fixture(scope="module")
def batch():
  """Three episodes; the last type is in no support of the first."""
  batch = tiny_detector.episodes(b=3, k=2)
  batch.support.visible[:] = True
  batch.support.visible[0, :, 3] = False
  batch.support.visible[1, 0, 2] = False
  return batch


@pytest.mark.slow
def test_prototypes_made_once_detect_as_the_whole_does(variables, evaluate, batch):
  assert set(variables["params"]) == {"encoder", "modulator_8"}
  assert set(variables["params"]["modulator_8"]) == {"conv1", "conv2", "conv3", "head"}
  (expected,) = evaluate(batch).heatmaps
  assert expected.shape == (3, 2, 4, 8, 8)
  encode = jax.jit(functools.partial(DETECTOR.apply, method="encode_support"))
  detect = jax.jit(functools.partial(DETECTOR.apply, method="detect"))
  prototypes = encode(variables, *batch.support[:3])
  assert [group.taps.shape for group in prototypes] == [(3, 4, 1, 1, 8)]
  (found,) = detect(variables, batch.query.images, prototypes)
  np.testing.assert_allclose(found, expected, atol=1e-5 * float(expected.max()))


def test_what_is_invisible_does_not_matter(evaluate, batch):
  (expected,) = evaluate(batch).heatmaps
  visible = batch.support.visible[..., None]
  keypoints = np.where(visible, batch.support.keypoints, np.nan)
  changed = batch._replace(support=batch.support._replace(keypoints=keypoints))
  np.testing.assert_array_equal(evaluate(changed).heatmaps[0], expected)
  # Of a type that nobody has seen, every query gets the same map.
  np.testing.assert_array_equal(expected[0, 0, 3], expected[0, 1, 3])
  assert jnp.abs(expected[0, 0, 2] - expected[0, 1, 2]).max() > 1e-4


@pytest.mark.slow
def test_training_reaches_every_parameter_and_lowers_the_loss(variables, batch):
  batch.query.visible[:] = True
  tx = optax.sgd(0.1)
  step = jax.jit(
    functools.partial(
      few_shot_step.train_step,
      detector=DETECTOR,
      tx=tx,
      loss=LossConfig(heatmap="cross_entropy", target_sigma=0.1, mfcl_weight=0.0),
      seed=0,
      rotate_support=False,
    )
  )
  state, losses = train_state.init_state(variables, tx), []
  for _ in range(8):
    before = state.params
    state, values = step(state, batch)
    losses.append(float(values["loss"]))
    if len(losses) == 1:
      for path, leaf in jax.tree_util.tree_leaves_with_path(
        jax.tree.map(
          lambda old, new: np.abs(new - old).max(),
          *jax.device_get((before, state.params)),
        )
      ):
        assert leaf > 0, jax.tree_util.keystr(path)
  assert losses[-1] < losses[0] - 0.05


def test_bfloat16_is_close(modulator, inputs):
  module, variables = modulator
  expected = jax.jit(module.apply)(variables, *inputs)
  low = jax.jit(Modulator((8, 6, 8), jnp.bfloat16).apply)(variables, *inputs)
  assert low.dtype == jnp.float32
  error = float(jnp.abs(low - expected).max() / jnp.abs(expected).max())
  assert 0 < error < 0.03


@pytest.mark.slow
def test_export_and_import_keep_every_bit(variables, tmp_path, capsys):
  with pytest.raises(ValueError, match="modulator_8/head/kernel"):
    torch_names.state_dict(variables, CONFIG, image_size=32)
  cfg = Config(data=DataConfig(image_size=SIDE, base=("a",)), model=CONFIG)
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps)
  run, copy, path = (str(tmp_path / x) for x in ("run", "copy", "model.safetensors"))
  with contextlib.closing(CheckpointStore(run, keep=1)) as store:
    store.save(0, train_state.init_state(variables, tx), config.to_dict(cfg))
  assert main.main(["export", "--workdir", run, "--out", path]) == 0
  assert main.main(["import", "--from", path, "--workdir", copy]) == 0
  assert main.main(["compare", run, copy]) == 0
  assert "bitwise equal" in capsys.readouterr().out


@pytest.mark.parametrize(
  "options, problem",
  [({"kernel_sizes": (1, 3)}, "kernel_sizes"), ({"bias_net": True}, "bias_net")],
)
def test_a_configuration_cannot_ask_for_kernels(options, problem):
  model = dataclasses.replace(CONFIG, **options)
  with pytest.raises(ValueError, match=rf"model\.{problem} = .*'mds'"):
    config.validate(Config(data=DataConfig(image_size=32, base=("a",)), model=model))
