"""Traces of programs on disk, so that a second start does not trace again."""

import functools
import hashlib
import importlib.metadata
import logging
import os
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import jax
from jax import export

from fskd_jax.device import compilation_cache

MOST = 64
"""Traces that are kept; the oldest goes first."""

_SETTINGS = ("enable_x64", "default_matmul_precision", "numpy_dtype_promotion")
_log = logging.getLogger(__name__)


class Program:
  """A function that is compiled, as by `jax.jit`; it cannot be differentiated.

  Tracing takes longer than all else at the start of a prediction. What it gives for
  arguments of these shapes is kept on disk, if `compilation_cache` has a folder.
  """

  def __init__(self, function: Callable[..., Any], key: tuple[Any, ...]):
    """Compiles nothing yet.

    Args:
      function: A function of arrays, also in dictionaries, tuples, and the named
        tuples that are registered with `jax.export`; it returns such, too.
      key: What the function is, and all that it is made from, beside the code of this
        package. Keys are the same if they print alike.
    """
    self._jitted, self._key = jax.jit(function), key
    self._kept: dict[Any, Callable[..., Any]] = {}

  def __call__(self, *args: Any) -> Any:
    """Calls the function."""
    folder = compilation_cache.traces
    if folder is None:
      return self._jitted(*args)
    leaves, structure = jax.tree.flatten(args)
    shapes = structure, tuple((x.shape, x.dtype) for x in leaves)
    if shapes not in self._kept:
      self._kept[shapes] = self._load(folder, args, str(shapes))
    return self._kept[shapes](*args)

  def _load(
    self, folder: pathlib.Path, args: tuple[Any, ...], shapes: str
  ) -> Callable[..., Any]:
    text = repr((*_surroundings(), self._key, shapes))
    path = folder / hashlib.sha256(text.encode()).hexdigest()
    try:
      return jax.jit(export.deserialize(bytearray(path.read_bytes())).call)
    except FileNotFoundError:
      pass
    except Exception as error:
      _log.warning("%s: this trace cannot be read, and is made again: %s", path, error)
    try:
      exported = export.export(self._jitted)(*args)
      _write(path, exported.serialize())
    except Exception as error:  # wrong arguments, of which the call itself tells, or
      _log.debug("%s: this cannot be kept: %s", self._key[0], error)  # a custom kernel
      return self._jitted
    return jax.jit(exported.call)


@functools.cache
def _surroundings() -> tuple[Any, ...]:
  """Returns what a trace depends on, beside function and arguments."""
  package = pathlib.Path(__file__).parents[1]
  sources = [(path, path.stat()) for path in sorted(package.rglob("*.py"))]
  return (
    [(str(path), about.st_size, about.st_mtime_ns) for path, about in sources],
    [importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax")],
    jax.default_backend(),
    [getattr(jax.config, f"jax_{name}") for name in _SETTINGS],
  )


def _write(path: pathlib.Path, content: bytes | bytearray) -> None:
  """Writes a trace, and makes room; who cannot write goes on without."""
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
      file.write(content)
    os.replace(file.name, path)
    others = sorted(path.parent.iterdir(), key=lambda x: x.stat().st_mtime)
    for other in others[:-MOST]:
      other.unlink(missing_ok=True)
  except OSError as error:
    _log.warning("Traces are not kept: %s", error)
