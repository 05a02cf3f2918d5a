"""Describes what programs run on: devices, processor, and versions of the software."""

import collections
import importlib.metadata
import os
import pathlib
import platform
import re
from typing import Any

import jax

_PACKAGES = ("jax", "jaxlib", "flax")


def description(backend: str) -> dict[str, Any]:
  """Returns what a backend of `parallel` runs on, as JSON can hold it.

  Args:
    backend: "single" uses one device, the others those of all processes.

  Returns:
    "devices" as {kind: number}, "platform" ("cpu", "gpu", "tpu"), "processes",
    "processor" and "cores" of this process, and "versions" as {package: version}.
  """
  used = jax.local_devices()[:1] if backend == "single" else jax.devices()
  return {
    "devices": dict(collections.Counter(device.device_kind for device in used)),
    "platform": used[0].platform,
    "processes": jax.process_count(),
    "processor": processor(),
    "cores": cores(),
    "versions": {
      "python": platform.python_version(),
      **{package: importlib.metadata.version(package) for package in _PACKAGES},
    },
  }


def processor() -> str:
  """Returns the name of the processor."""
  info = pathlib.Path("/proc/cpuinfo")
  names = (
    re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
  )
  return names[0] if names else platform.processor() or platform.machine()


def cores() -> int:
  """Returns the number of cores that this process may use."""
  try:
    return len(os.sched_getaffinity(0))
  except AttributeError:  # macOS has no such call
    return os.cpu_count() or 1
