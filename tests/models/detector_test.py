"""The whole detector, with the small encoder."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables
from jax.test_util import check_grads

from fskd_jax import episode
from fskd_jax.config import ModelConfig
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.models import chunks
from fskd_jax.models.build import count_parameters
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps

SIDE = 32
CONFIG = {
  "encoder": "small",
  "small_widths": (8, 8, 8, 8),
  "strides": (8, 16),
  "query_upsampling": (1.0, 2.0),
  "heatmap_scale": (2.0,),
  "freeze_until": "",
  "kernel_sizes": (1, 3),
  "plain_scale": 1.0,
}


def _views(b, t, n, seed):
  rng = np.random.default_rng(seed)
  return Views(
    images=rng.integers(0, 256, (b, t, SIDE, SIDE, 3), dtype=np.uint8),
    keypoints=rng.uniform(0, SIDE - 1, (b, t, n, 2)).astype(np.float32),
    visible=np.ones((b, t, n), bool),
    to_original=np.zeros((b, t, 2, 3), np.float32),
    box=np.zeros((b, t, 4), np.float32),
    image_size=np.zeros((b, t, 2), np.float32),
    instance=np.zeros((b, t), np.int64),
  )


@pytest.fixture(scope="module")
def batch():
  """Two episodes, two shots, one query, three types; the last is seen nowhere."""
  support = _views(2, 2, 3, seed=0)
  support.visible[:, :, 2] = False
  support.visible[0, 0, 0] = False
  return EpisodeBatch(
    support=support,
    query=_views(2, 1, 3, seed=1),
    keypoint_ids=np.tile(np.arange(3, dtype=np.int32), (2, 1)),
    is_auxiliary=np.zeros((2, 3), bool),
    episode_index=np.arange(2, dtype=np.int32),
  )


def _detector(**options):
  detector = FewShotDetector(ModelConfig(**CONFIG | options), SIDE)
  return detector, seeded_variables(functools.partial(_init, detector))


def _init(detector, key):
  support, query = _views(1, 1, 1, seed=0), _views(1, 1, 1, seed=0)
  blank = EpisodeBatch(support, query, None, None, None)
  return detector.init(key, blank, train=False)


@pytest.fixture(scope="module")
def detector():
  return _detector()


@pytest.fixture(scope="module")
def evaluate(detector):
  module, variables = detector
  apply = jax.jit(functools.partial(module.apply, train=False))
  return functools.partial(apply, variables)


def _close(found, expected):
  largest = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
  assert largest > 1e-4
  jax.tree.map(
    lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5 * largest), found, expected
  )


@pytest.mark.slow
def test_parameter_paths_and_order_of_groups(detector, evaluate, batch):
  _, variables = detector
  assert set(variables["params"]) == {
    "encoder", "kernel_generator_8", "kernel_generator_16",
    "upsampler_8_1", "upsampler_8_3", "upsampler_16_1", "upsampler_16_3",
  }  # fmt: skip
  output = evaluate(batch)
  assert [maps.shape for maps in output.heatmaps] == [(2, 1, 3, 8, 8)] * 4
  assert all(maps.dtype == jnp.float32 for maps in output.heatmaps)
  assert output.features.shape == (2, 3, 2, 2, 8)
  assert fuse_heatmaps(output.heatmaps).shape == (2, 1, 3, 8, 8)


@pytest.mark.slow
def test_kernels_made_once_detect_as_the_whole_does(detector, evaluate, batch):
  module, variables = detector
  encode = jax.jit(functools.partial(module.apply, method="encode_support"))
  detect = jax.jit(functools.partial(module.apply, method="detect"))
  kernels = encode(variables, *batch.support.annotations())
  assert [group.taps.shape[2] for group in kernels] == [1, 3, 1, 3]
  assert all(group.layer is None for group in kernels)
  _close(detect(variables, batch.query.images, kernels), evaluate(batch).heatmaps)


@pytest.mark.slow
def test_types_in_chunks_are_detected_alike(monkeypatch, detector, evaluate, batch):
  module, variables = detector
  expected = evaluate(batch).heatmaps
  monkeypatch.setattr(chunks, "MAX_NUMBERS", 300)  # two of three types at stride 16
  run = jax.jit(functools.partial(module.apply, train=False))
  _close(run(variables, batch).heatmaps, expected)
  encode = jax.jit(functools.partial(module.apply, method="encode_support"))
  detect = jax.jit(functools.partial(module.apply, method="detect"))
  kernels = encode(variables, *batch.support.annotations())
  _close(detect(variables, batch.query.images, kernels), expected)


def test_what_is_invisible_does_not_matter(evaluate, batch):
  keypoints = np.where(
    batch.support.visible[..., None], batch.support.keypoints, np.nan
  )
  changed = batch._replace(support=batch.support._replace(keypoints=keypoints))
  np.testing.assert_array_equal(
    evaluate(changed).heatmaps[0], evaluate(batch).heatmaps[0]
  )
  visible = batch.support.visible.copy()
  visible[0, 1, 1] = False
  changed = batch._replace(support=batch.support._replace(visible=visible))
  difference = jnp.abs(evaluate(changed).heatmaps[0] - evaluate(batch).heatmaps[0])
  assert difference[0, :, 1].max() > 1e-5
  assert difference.at[0, :, 1].set(0.0).max() == 0


def test_permuted_types_permute_heatmaps(evaluate, batch):
  order = np.array([2, 0, 1])

  def permute(views):
    return views._replace(
      keypoints=views.keypoints[:, :, order], visible=views.visible[:, :, order]
    )

  permuted = batch._replace(support=permute(batch.support))
  expected = [maps[:, :, order] for maps in evaluate(batch).heatmaps]
  _close(list(evaluate(permuted).heatmaps), expected)


def test_episodes_do_not_mix(evaluate, batch):
  other = batch._replace(support=jax.tree.map(np.copy, batch.support))
  other.support.images[1] = 0
  np.testing.assert_array_equal(
    evaluate(other).heatmaps[3][0], evaluate(batch).heatmaps[3][0]
  )


@pytest.mark.slow
def test_rotated_support_is_every_rotation_in_turn(detector, evaluate, batch):
  module, variables = detector
  rotate = jax.jit(functools.partial(module.apply, train=False, rotate_support=True))
  found = rotate(variables, batch)
  assert found.features.shape == (2, 3, 2, 2, 8)
  every = episode.rotate_support(episode.all_views(batch), 3)
  for rotation in range(3):
    views = jax.tree.map(lambda x, r=rotation: x[r::3], every)
    support = jax.tree.map(lambda x: x[:, :2], views)
    query = jax.tree.map(lambda x: x[:, 2:], views)
    expected = evaluate(batch._replace(support=support, query=query)).heatmaps
    _close([maps[rotation::3] for maps in found.heatmaps], list(expected))


@pytest.mark.slow
def test_no_nan_comes_through_masks(batch):
  module, variables = _detector(
    similarity="cosine", strides=(8,), query_upsampling=(1.0,), residual_crm=True
  )

  @jax.jit
  def loss(params):
    output, _ = module.apply(
      variables | {"params": params}, batch, train=True, mutable=["batch_stats"]
    )
    seen = jnp.asarray(batch.support.visible.any(1))[:, None, :, None, None]
    # Squares: the sum of what batch norm gives is the same for all parameters.
    return sum(jnp.square(jnp.where(seen, m, 0.0)).sum() for m in output.heatmaps)

  gradient = jax.tree.leaves(jax.device_get(jax.grad(loss)(variables["params"])))
  assert all(np.isfinite(x).all() and (x != 0).any() for x in gradient)
  check_grads(
    loss, (variables["params"],), order=1, modes=["rev"], atol=1e-2, rtol=2e-2, eps=1e-4
  )


@pytest.mark.slow
def test_statistics_change_only_when_they_run(detector, batch):
  def updated(module, variables):
    @jax.jit
    def apply(variables):
      return module.apply(variables, batch, train=True, mutable=["batch_stats"])[1]

    before = jax.tree.leaves(variables["batch_stats"])
    after = jax.tree.leaves(apply(variables)["batch_stats"])
    return [not np.array_equal(x, y) for x, y in zip(before, after)]

  assert all(updated(*detector))
  assert not any(updated(*_detector(batch_norm="frozen")))


@pytest.mark.slow
def test_temperature_is_a_factor_and_bfloat16_close(detector, evaluate, batch):
  _, variables = detector
  module, low = _detector(compute_dtype="bfloat16", temperature=20.0)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(low))
  found = jax.jit(functools.partial(module.apply, train=False))(variables, batch)
  assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(found))
  for x, y in zip(found.heatmaps, evaluate(batch).heatmaps):
    np.testing.assert_allclose(x, 20 * y, atol=2 * float(jnp.abs(y).max()))


@pytest.mark.slow
@pytest.mark.parametrize(
  "options, parameters",
  [
    ({"kernel_sizes": (1,)}, 27_438_144),
    ({"kernel_sizes": (3,)}, 27_458_624),
    ({"kernel_sizes": (5,)}, 27_491_392),
    ({}, 27_511_872),
    ({"shared_crm": False}, 44_297_280),
    ({"bias_net": True}, 27_511_872 + 3 * 557_569),
    ({"heatmap_upsampling": "conv2"}, 27_511_872 + 3 * 52),
    ({"strides": (8, 16, 32), "kernel_sizes": (1,)}, 30_062_656),
    ({"strides": (8, 16, 32)}, 30_191_680),
    ({"strides": (8, 16, 32), "shared_crm": False}, 52_226_112),
  ],
)
def test_parameter_counts(options, parameters):
  """Counts of docs/algorithm.md#size."""
  config = ModelConfig(**{"heatmap_upsampling": "none"} | options)
  detector = FewShotDetector(config, SIDE)
  shapes = jax.eval_shape(lambda: _init(detector, jax.random.key(0)))
  assert count_parameters(shapes["params"]) == parameters


def test_wrong_shapes_are_named(detector, batch):
  module, variables = detector
  apply = functools.partial(module.apply, variables, train=False)
  support, query = batch.support, batch.query
  with pytest.raises(ValueError, match=r"query images: got shape \(2, 1, 32, 3\)"):
    apply(batch._replace(query=query._replace(images=query.images[..., 0, :])))
  with pytest.raises(ValueError, match="support keypoints"):
    apply(batch._replace(support=support._replace(keypoints=support.visible)))
  with pytest.raises(ValueError, match="support visible"):
    apply(batch._replace(support=support._replace(visible=support.visible[..., :2])))
  with pytest.raises(ValueError, match="same numbers of episodes"):
    apply(batch._replace(query=jax.tree.map(lambda x: x[:1], query)))
  with pytest.raises(ValueError, match="support images"):
    module.apply(variables, support.images[0], *support[1:3], method="encode_support")
  with pytest.raises(ValueError, match="kernels: got set"):
    module.apply(variables, query.images, (), method="detect")
  with pytest.raises(ValueError, match=r"got factors \(1.0, 2.0, 3.0\)"):
    _detector(heatmap_scale=(1.0, 2.0, 3.0))
