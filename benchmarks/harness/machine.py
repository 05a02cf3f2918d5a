"""The machine and the software: names, versions, and the peak that was measured."""

import importlib.metadata
import os
import pathlib
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import torch

from benchmarks.harness.problem import Setup
from benchmarks.opponents import ours
from fskd_jax.device.machine import cores, processor

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "torch", "numpy", "tensorflow-cpu")
_REPEATS = 7


def device_kind() -> str:
  """Returns "gpu" or "cpu".

  Raises:
    RuntimeError: JAX runs on a device that PyTorch does not see.
  """
  backend = jax.default_backend()
  if backend != "cpu" and not (backend == "gpu" and torch.cuda.is_available()):
    raise RuntimeError(
      f"JAX runs on {backend!r} and PyTorch cannot: install one for it"
    )
  return backend


def description() -> dict[str, Any]:
  """Returns the device, its name for files, threads, memory and versions."""
  if device_kind() == "gpu":
    name = jax.devices()[0].device_kind
    slug = _slug(name)
  else:
    name = f"{processor()}, {cores()} cores"
    slug = _slug(f"cpu {processor()} {cores()} cores")
  return {
    "name": name,
    "slug": slug,
    "threads": {"jax": cores(), "torch": torch.get_num_threads()},
    "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    "versions": {"python": platform.python_version(), **_versions()},
    "torch_cuda": torch.version.cuda,
  }


def commit() -> str:
  """Returns the commit of the working tree, with "+" if files are changed."""
  root = pathlib.Path(__file__).parents[2]

  def git(*arguments: str) -> str:
    found = subprocess.run(
      ["git", *arguments], cwd=root, capture_output=True, text=True
    )
    return found.stdout.strip()

  if shutil.which("git") is None:
    return ""
  return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--short") else "")


def peak(setup: Setup) -> dict[str, dict[str, Any]]:
  """Measures square matrix products and copies in both frameworks, by precision.

  Returns:
    By precision "flops" and "bytes" per second, the better of the two frameworks,
    and each framework's own.
  """
  side = 16384 if setup.device == "gpu" else 2048 if setup.is_full else 1024
  copied = 2**30 if setup.device == "gpu" else 2**28 if setup.is_full else 2**26
  found = {}
  copies = {"jax": _jax_copy(copied), "torch": _torch_copy(copied, setup)}
  for precision in setup.precisions:
    products = {
      "jax": _jax_product(side, precision),
      "torch": _torch_product(side, precision, setup),
    }
    found[precision] = {
      "flops": max(products.values()),
      "bytes": max(copies.values()),
      "flops_of": products,
      "bytes_of": copies,
    }
  return found


def _jax_product(side: int, precision: str) -> float:
  with ours.matmul_precision(precision):
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    x = jax.random.normal(jax.random.key(0), (side, side), dtype)  # GPUs hurry with 1s
    product = jax.jit(jnp.matmul).lower(x, x).compile()
  return 2.0 * side**3 / _least(lambda: jax.block_until_ready(product(x, x)))


def _torch_product(side: int, precision: str, setup: Setup) -> float:
  from benchmarks.opponents import pytorch

  device = "cuda" if setup.device == "gpu" else "cpu"
  dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
  x = torch.randn((side, side), dtype=dtype, device=device)
  pytorch.allow_tf32(precision == "tf32")
  return 2.0 * side**3 / _least(lambda: pytorch.finish(x @ x))


def _jax_copy(size: int) -> float:
  x = jnp.ones(size // 4, jnp.float32)
  copy = jax.jit(lambda x: x + 1).lower(x).compile()
  return 2.0 * size / _least(lambda: jax.block_until_ready(copy(x)))


def _torch_copy(size: int, setup: Setup) -> float:
  from benchmarks.opponents import pytorch

  x = torch.ones(size // 4, device="cuda" if setup.device == "gpu" else "cpu")
  y = torch.empty_like(x)
  return 2.0 * size / _least(lambda: pytorch.finish(torch.add(x, 1, out=y)))


def _least(run: Callable[[], Any]) -> float:
  run()
  seconds = []
  for _ in range(_REPEATS):
    start = time.perf_counter()
    run()
    seconds.append(time.perf_counter() - start)
  return min(seconds)


def _slug(name: str) -> str:
  name = re.sub(r"\((r|tm)\)|\bprocessor\b|@.*?hz", "", name.lower())
  return re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def _versions() -> dict[str, str]:
  versions = {}
  for package in _PACKAGES:
    try:
      versions[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      continue
  return versions
