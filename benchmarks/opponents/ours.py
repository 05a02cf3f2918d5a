"""Our side: configurations, seeded weights and episodes, compiled functions."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from benchmarks.harness.problem import MEMORY_LIMIT, Side, SkippedError
from configs import lightweight
from fskd_jax import episode
from fskd_jax.config import Config, ModelConfig, rates
from fskd_jax.episode import EpisodeBatch, Views
from fskd_jax.few_shot.task import FewShotTask
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.training import optim
from fskd_jax.training.state import TrainState, init_state

_MATMULS = {"float32": "highest", "tf32": "tensorfloat32", "bfloat16": "default"}


def matmul_precision(precision: str) -> contextlib.AbstractContextManager[Any]:
  """Makes float32 products exact or TF32 where a device would choose."""
  return jax.default_matmul_precision(_MATMULS[precision])


def model_config(precision: str = "float32", **changes: Any) -> ModelConfig:
  """Returns the model of configs/lightweight.py with changes."""
  dtype = "bfloat16" if precision == "bfloat16" else "float32"
  model = lightweight.get_config().model
  return dataclasses.replace(model, compute_dtype=dtype, **changes)


def random_variables(network: FewShotDetector) -> Any:
  """Draws the variables of a detector, see `drawn`."""
  return drawn(lambda: init_variables(network, seed=0))


def drawn(init: Callable[[], Any]) -> Any:
  """Draws what a function would make, by NumPy: He-scaled kernels, live norms."""
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(init)

  def draw(path: Any, leaf: Any) -> np.ndarray:
    noise = rng.standard_normal(leaf.shape, dtype=np.float32)
    if path[-1].key == "kernel":
      return noise * np.float32(np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 1)))
    if path[-1].key in ("scale", "var"):
      return 1 + np.float32(0.1) * np.abs(noise)
    return np.float32(0.1) * noise

  return jax.tree_util.tree_map_with_path(draw, shapes)


def episodes(
  side: int, *, count: int = 1, shots: int = 1, queries: int = 5, keypoints: int = 11
) -> EpisodeBatch:
  """Draws uint8 images with keypoints, a fifth of them hidden."""
  rng = np.random.default_rng(0)

  def views(t: int) -> Views:
    shape = (count, t, keypoints)
    return Views(
      images=rng.integers(0, 256, (count, t, side, side, 3), np.uint8),
      keypoints=rng.uniform(0, side - 1, (*shape, 2)).astype(np.float32),
      visible=rng.random(shape) < 0.8,
      to_original=np.tile(np.eye(2, 3, dtype=np.float32), (count, t, 1, 1)),
      box=np.tile(np.array([0, 0, side, side], np.float32), (count, t, 1)),
      image_size=np.full((count, t, 2), side, np.float32),
      instance=np.zeros((count, t), np.int32),
    )

  ids = np.tile(np.arange(keypoints, dtype=np.int32), (count, 1))
  index = np.arange(count, dtype=np.int32)
  return EpisodeBatch(views(shots), views(queries), ids, ids < 0, index)


def training_step(cfg: Config) -> tuple[Callable[..., Any], TrainState]:
  """Returns the step of a training, (state, batch) -> (state, metrics), and a state."""
  task = FewShotTask(cfg)
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps, rates(cfg))
  return task.train_step(tx), init_state(drawn(task.init_variables), tx)


def feature_maps(side: int, images: int) -> np.ndarray:
  """Draws what a ResNet-50 returns: [1 t h w c], not negative."""
  rng = np.random.default_rng(2)
  shape = (1, images, side // 32, side // 32, 2048)
  return np.maximum(rng.standard_normal(shape, dtype=np.float32), 0)


def compiled(
  function: Any, *arguments: Any, precision: str, donated: bool = False
) -> Side:
  """Compiles a function for arguments, and places these on the device.

  Args:
    function: of arrays.
    *arguments: of every run.
    precision: of float32 products.
    donated: the function returns what takes the place of its first argument, and
      then what is compared.

  Raises:
    SkippedError: as for `program`.
  """
  run_once, seconds, cost = program(
    function, *arguments, precision=precision, donated=donated
  )
  arguments = jax.device_put(arguments)

  def run() -> Any:
    return jax.block_until_ready(run_once(*arguments))

  def update() -> Any:
    nonlocal arguments
    state, values = run_once(*arguments)
    arguments = (state, *arguments[1:])
    return jax.block_until_ready(values)

  return Side(update if donated else run, arrays, seconds, cost)


def program(
  function: Any, *arguments: Any, precision: str, donated: bool = False
) -> tuple[Callable[..., Any], float, dict[str, float]]:
  """Compiles a function for arguments.

  Args:
    function: of arrays.
    *arguments: arrays of the shapes and types of every run.
    precision: of float32 products.
    donated: the first argument may be overwritten.

  Returns:
    The program, the seconds that this took, and what XLA says of it.

  Raises:
    SkippedError: it would need more than the GPU has, on a CPU `MEMORY_LIMIT`.
  """
  start = time.perf_counter()
  with matmul_precision(precision):
    jitted = jax.jit(function, donate_argnums=(0,) if donated else ())
    lowered = jitted.lower(*arguments)
    compiled = lowered.compile()
  seconds = time.perf_counter() - start
  cost = _cost(lowered, compiled)
  limit = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", MEMORY_LIMIT)
  if cost["xla_bytes"] > limit:
    raise SkippedError(f"needs {cost['xla_bytes'] / 2**30:.1f} GiB as compiled")
  return compiled, seconds, cost


def arrays(tree: Any) -> list[np.ndarray]:
  """Returns the leaves of a result as float32."""
  return [np.asarray(x, np.float32) for x in jax.tree.leaves(tree)]


def values_of(metrics: dict[str, Any], names: Sequence[str]) -> list[np.ndarray]:
  """Returns some of the metrics of a step."""
  return [np.asarray(metrics[name], np.float32) for name in names]


@contextlib.contextmanager
def given_features(maps: Any) -> Any:
  """Lets the encoder of a detector return these maps [b t h w c], folded."""

  def answer(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    is_encoder = context.module.path == ("encoder",)
    if is_encoder and context.method_name == "__call__":
      return (maps.reshape(-1, *maps.shape[2:]),)
    return call(*args, **kwargs)

  with nn.intercept_methods(answer):
    yield


def apply_head(
  network: FewShotDetector, variables: Any, maps: Any, batch: EpisodeBatch
) -> tuple[Any, ...]:
  """Does all that a detector does behind its encoder: heat-maps of every group."""
  with given_features(maps):
    return network.apply(
      variables, batch, train=False, method="detect_normalized"
    ).heatmaps


def without_encoder(params: Any) -> Any:
  """Drops the encoder's parameters."""
  return {name: x for name, x in params.items() if name != "encoder"}


def valid(batch: EpisodeBatch) -> np.ndarray:
  """Returns which query keypoints count, [b m n]."""
  return np.asarray(episode.valid_queries(batch))


def _cost(lowered: Any, compiled: Any) -> dict[str, float]:
  """Returns what XLA says of a program; loops count once."""
  flops = (lowered.cost_analysis() or {}).get("flops", 0.0)
  found = compiled.memory_analysis()
  # What takes the place of a donated argument needs no memory of its own.
  in_use = (
    found.temp_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
  )
  return {"flops": float(flops), "xla_bytes": in_use}
