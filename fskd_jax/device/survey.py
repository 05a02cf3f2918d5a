"""A survey of the machines of a run: what its processes have, share and exchange."""

import json
import os
import pathlib
import socket
import time
import uuid
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fskd_jax.device import processes
from fskd_jax.files import write_text
from fskd_jax.messages import join_first

_REPEATS = 5


def survey(folder: pathlib.Path | None = None, megabytes: int = 64) -> list[str]:
  """Returns a report in lines; all processes call it alike.

  Args:
    folder: A folder that all processes should share, such as the workdir; created if
      it does not exist. None leaves that part out.
    megabytes: The size of the array that is added up over all devices.

  Raises:
    ValueError: A process does not see what process 0 wrote into the folder.
  """
  processes.gather("")  # everybody is here, so that clocks are read at about one time
  found = [json.loads(text) for text in processes.gather(json.dumps(_facts()))]
  first = found[0]["time"]
  lines = [
    f"process {number} on {facts['host']}: {facts['devices']}, "
    f"memory {facts['memory'] / 2**30:.1f} GiB, clock {facts['time'] - first:+.2f} s"
    for number, facts in enumerate(found)
  ]
  seconds = seconds_of_sum(megabytes)
  lines.append(
    f"sum of {megabytes} MB over {jax.device_count()} devices: {1e3 * seconds:.1f} ms, "
    f"{megabytes / 1e3 / seconds:.2f} GB/s"
  )
  if folder:
    _check_shared(folder)
    lines.append(f"{folder} is shared by all {jax.process_count()} processes")
  return lines


def _facts() -> dict[str, Any]:
  devices = jax.local_devices()
  statistics = devices[0].memory_stats() or {}
  system = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
  return {
    "host": socket.gethostname(),
    "devices": f"{len(devices)} x {devices[0].device_kind}",
    "memory": statistics.get("bytes_limit", system),  # of a device, or of the host
    "time": time.time(),
  }


def seconds_of_sum(megabytes: int) -> float:
  """Returns the least time of an all-reduce, which every gradient takes.

  All processes call it alike.

  Args:
    megabytes: The size of the array that is added up over all devices.
  """
  mesh = Mesh(np.array(jax.devices()), ("d",))
  rows = NamedSharding(mesh, P("d"))
  shape = (jax.device_count(), megabytes * 250_000)
  make = jax.jit(lambda: jnp.ones(shape, jnp.float32), out_shardings=rows)
  add = jax.jit(lambda x: x.sum(0), out_shardings=NamedSharding(mesh, P()))
  values, times = make(), []
  for _ in range(1 + _REPEATS):  # the first compiles
    begun = time.perf_counter()
    jax.block_until_ready(add(values))
    times.append(time.perf_counter() - begun)
  return min(times[1:])


def _check_shared(folder: pathlib.Path) -> None:
  # One token for all: that of process 0.
  token = processes.gather(uuid.uuid4().hex)[0]
  path = folder / f"shared_{token}.txt"
  if jax.process_index() == 0:
    write_text(path, token)
  processes.gather("written")
  seen = processes.gather(str(int(path.is_file() and path.read_text() == token)))
  if jax.process_index() == 0:
    path.unlink()
  blind = [f"process {n}" for n, is_seen in enumerate(seen) if is_seen != "1"]
  if blind:
    raise ValueError(
      f"{folder} is not shared: {join_first(blind)} cannot read what process 0 wrote"
    )
