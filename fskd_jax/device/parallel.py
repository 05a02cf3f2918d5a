"""Runs steps on one device or on all; the only module that uses pmap and shard_map.

All three backends take and return the same values: a state without a device axis and,
in each process, host arrays [B ...] with B a multiple of its devices. `pmap` maps over
local devices with host-local arrays, `shard_map` works on global arrays over a mesh of
all devices, `single` uses one device.
"""

import contextlib
import functools
import socket
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fskd_jax.config import TrainConfig
from fskd_jax.config.fields import choices
from fskd_jax.device import watch
from fskd_jax.device.store import with_pixels
from fskd_jax.episode import EpisodeBatch

AXIS = "data"
BACKENDS = choices(TrainConfig, "backend")


def start_processes(
  coordinator: str | None = None,
  processes: int | None = None,
  index: int | None = None,
  limits: TrainConfig | None = None,
) -> None:
  """Connects the processes of a run; call it before anything touches a device.

  On TPU pods and under SLURM the first three arguments are detected. Where they are
  given, process 0 also needs the port after the coordinator's.

  Args:
    coordinator: The address "host:port" of process 0.
    processes: The number of processes.
    index: The number of this process, from 0.
    limits: The time limits of `watch.start`; those of `TrainConfig` by default.

  Raises:
    OSError: A process has not started in time, or process 0 cannot listen.
  """
  limits = limits or TrainConfig()
  jax.config.update("jax_enable_preemption_service", True)
  is_known = None not in (coordinator, processes, index)
  if coordinator is not None and processes is not None and index is not None:
    host, _, port = coordinator.rpartition(":")
    watch.start(host, int(port) + 1, processes, index, limits)
  jax.distributed.initialize(
    coordinator,
    processes,
    index,
    initialization_timeout=round(limits.join_seconds),
    # The watch is to speak first: JAX aborts without saying who is lost.
    heartbeat_timeout_seconds=round(limits.silent_seconds) + 60,
    shutdown_timeout_seconds=60,
  )
  if not is_known and jax.process_count() > 1:
    with contextlib.closing(socket.socket()) as free:
      free.bind(("", 0))
      mine = np.array([free.getsockname()[1]], np.int32)
    port = int(multihost_utils.broadcast_one_to_all(mine)[0])
    address = np.zeros(256, np.uint8)
    name = socket.gethostname().encode()[:256]
    address[: len(name)] = np.frombuffer(name, np.uint8)
    host = bytes(np.asarray(multihost_utils.broadcast_one_to_all(address)))
    host = host.rstrip(b"\0").decode()
    watch.start(host, port, jax.process_count(), jax.process_index(), limits)


def is_main_process() -> bool:
  """Returns whether this process is the one that writes files and shows progress."""
  return jax.process_index() == 0


def divisible_batch(size: int) -> int:
  """Rounds a number of episodes up to a multiple of all devices."""
  return -(-size // jax.device_count()) * jax.device_count()


def replicate(tree: Any, backend: str) -> Any:
  """Copies host or device arrays to every device, so that steps do not have to.

  `tree` outlives a step that uses the copies up.

  Raises:
    ValueError: The backend is unknown, or "single" on several processes.
  """
  _check(backend)
  # By way of the host: of an array that is on one of the devices already JAX would
  # make that part of the copy, and a step would delete it (also with may_alias=False).
  tree = jax.device_get(tree)
  if backend == "single":
    return jax.device_put(tree, jax.local_devices()[0])
  devices = jax.devices() if backend == "shard_map" else jax.local_devices()
  everywhere = NamedSharding(Mesh(np.array(devices), (AXIS,)), P())
  return jax.device_put(tree, everywhere)


def parallelize_training(
  step: Callable[..., Any], backend: str, size: tuple[int, int]
) -> Callable[..., Any]:
  """Returns a function that runs a training step on the devices of a backend.

  Args:
    step: `(state, batch, *, axis_name) -> (state, metrics)` for one device.
    backend: One of `BACKENDS`.
    size: (height, width) of the crops that a store is cut into.

  Returns:
    A function `(state, batch, store) -> (state, metrics)`. `batch` holds the episodes
    of this process, with pixels if `store` is None, otherwise with image numbers;
    `state` and `store` come from `replicate`; `state` is donated.

  Raises:
    ValueError: The backend is unknown, or "single" on several processes; from the
      function: the episodes do not divide among the devices.
  """
  _check(backend)
  step = _on_pixels(step, size)
  if backend == "single":
    return jax.jit(step, donate_argnums=0)
  step = functools.partial(step, axis_name=AXIS)
  if backend == "pmap":
    run = jax.pmap(step, AXIS, in_axes=(None, 0, None), out_axes=None, donate_argnums=0)
  else:
    mapped = jax.shard_map(
      step, mesh=_mesh(), in_specs=(P(), P(AXIS), P()), out_specs=P()
    )
    run = jax.jit(mapped, donate_argnums=0)
  return lambda state, batch, store: run(state, _split(batch, backend), store)


def parallelize_evaluation(
  step: Callable[..., Any], backend: str, size: tuple[int, int]
) -> Callable[..., Any]:
  """Returns a function that runs an evaluation step on the devices of a backend.

  Args:
    step: `(variables, batch) -> tree of [b ..]` for one device.
    backend: One of `BACKENDS`.
    size: (height, width) of the crops that a store is cut into.

  Returns:
    A function `(variables, batch, store) -> tree of NumPy [B ..]`. Every process passes
    the same batch, works on its part, and gets the predictions of all processes in
    order.

  Raises:
    ValueError: As for `parallelize_training`.
  """
  _check(backend)
  step = _on_pixels(step, size)
  if backend == "single":
    run = jax.jit(step)
    return lambda *args: jax.tree.map(np.asarray, run(*args))
  if backend == "pmap":
    mapped = jax.pmap(step, AXIS, in_axes=(None, 0, None))

    def run_pmap(variables, batch, store):
      found = mapped(variables, _split(_process_part(batch), backend), store)
      found = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), found)
      found = multihost_utils.process_allgather(found, tiled=True)
      return jax.tree.map(np.asarray, found)

    return run_pmap
  mesh = _mesh()
  mapped = jax.shard_map(
    step, mesh=mesh, in_specs=(P(), P(AXIS), P()), out_specs=P(AXIS)
  )
  run = jax.jit(mapped, out_shardings=NamedSharding(mesh, P()))

  def run_shard_map(variables, batch, store):
    found = run(variables, _split(_process_part(batch), backend), store)
    return jax.tree.map(np.asarray, found)

  return run_shard_map


def _on_pixels(step: Callable[..., Any], size: tuple[int, int]) -> Callable[..., Any]:
  """Puts `with_pixels` before a step, so that no step has to know of stores."""

  def run(variables, batch, store, **options):
    return step(variables, with_pixels(batch, store, size), **options)

  return run


def _check(backend: str) -> None:
  if backend not in BACKENDS:
    raise ValueError(f"train.backend must be one of {BACKENDS}, got {backend!r}")
  if backend == "single" and jax.process_count() > 1:
    raise ValueError(
      f"train.backend = 'single' runs in one process, not in {jax.process_count()}"
    )


def _mesh() -> Mesh:
  return Mesh(np.array(jax.devices()), (AXIS,))


def _split(batch: EpisodeBatch, backend: str) -> EpisodeBatch:
  """Divides this process's episodes among its devices, in order."""
  size, devices = len(batch.episode_index), jax.local_device_count()
  if size % devices:
    raise ValueError(f"{size} episodes do not divide among {devices} devices")
  if backend == "pmap":
    return jax.tree.map(
      lambda x: x.reshape(devices, size // devices, *x.shape[1:]), batch
    )
  rows = NamedSharding(_mesh(), P(AXIS))
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(rows, np.asarray(x)), batch
  )


def _process_part(batch: EpisodeBatch) -> EpisodeBatch:
  processes, index = jax.process_count(), jax.process_index()
  size = len(batch.episode_index)
  if size % processes:
    raise ValueError(f"{size} episodes do not divide among {processes} processes")
  part = slice(index * size // processes, (index + 1) * size // processes)
  return jax.tree.map(lambda x: x[part], batch)
