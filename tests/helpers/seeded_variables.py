"""Variables drawn by NumPy: no random number generator has to be compiled."""

import jax
import numpy as np


def seeded_variables(init, *args, **options):
  """Draws what `init(key, *args, **options)` would: He-scaled kernels, live norms."""
  shapes = jax.eval_shape(lambda: init(jax.random.key(0), *args, **options))
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    noise = rng.standard_normal(leaf.shape)
    kind = path[-1].key
    if kind == "kernel":
      noise *= np.sqrt(2 / np.prod(leaf.shape[:-1]))
    elif kind in ("scale", "var"):
      noise = 1 + 0.1 * np.abs(noise)
    else:
      noise *= 0.1
    return jax.device_put(noise.astype(leaf.dtype))

  return jax.tree_util.tree_map_with_path(draw, shapes)
