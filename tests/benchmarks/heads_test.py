"""Training on kept maps: the same detector as on images."""

import functools

import jax
import numpy as np
import pytest
from helpers import tiny_detector

from benchmarks import heads
from fskd_jax.config import ModelConfig, PyramidConfig
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.models.encoder import normalize_for
from fskd_jax.models.pyramid import PyramidEncoder

pytestmark = pytest.mark.slow

SIDE = 32
MODEL = ModelConfig(
  encoder="small",
  small_widths=(4, 4, 4, 6),
  strides=(8,),
  freeze_until="",
  batch_norm="frozen",
  pyramid=PyramidConfig(width=8, inputs=(8, 16)),
  kernel_sizes=(1,),
)


def test_kept_maps_give_the_heatmaps_of_the_images():
  whole = FewShotDetector(MODEL, SIDE)
  variables = init_variables(whole, seed=0)
  rng = np.random.default_rng(0)
  batch = tiny_detector.episodes(b=2)
  images = lambda views: rng.integers(0, 256, (*views.visible.shape[:2], SIDE, SIDE, 3))
  support, query = (
    views._replace(images=images(views).astype(np.float32))
    for views in (batch.support, batch.query)
  )
  batch = batch._replace(support=support, query=query)
  apply = jax.jit(functools.partial(whole.apply, train=False))
  expected = apply(variables, batch).heatmaps
  backbone = jax.jit(
    functools.partial(
      whole.apply, method=lambda self, x: self.encoder.backbone(x, train=False)
    )
  )
  shapes = []

  def flat(views):
    pixels = normalize_for(MODEL, views.images.reshape(-1, SIDE, SIDE, 3))
    maps = backbone(variables, pixels)
    shapes.append(tuple(x.shape[1:] for x in maps))
    rows = np.concatenate([x.reshape(len(x), -1) for x in maps], axis=1)
    return views._replace(images=rows.reshape(*views.images.shape[:2], -1))

  kept = batch._replace(support=flat(support), query=flat(query))
  encoder = PyramidEncoder(heads.KeptMaps(shapes[0]), MODEL.pyramid, (8, 16), (8,))
  detector = heads.Detector(MODEL, SIDE, own_encoder=encoder)
  params = dict(variables["params"])
  params["encoder"] = {k: v for k, v in params["encoder"].items() if k != "backbone"}
  apply = jax.jit(functools.partial(detector.apply, train=False))
  found = apply({"params": params}, kept).heatmaps
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected
  )
