"""Cache of programs on disk, so that a second start need not make them again."""

import hashlib
import logging
import os
import pathlib
import platform
import sys
import tempfile

_VARIABLE = "JAX_COMPILATION_CACHE_DIR"
_log = logging.getLogger(__name__)

traces: pathlib.Path | None = None
"""Folder for the traces of `traces.Program`, if `enable` found one."""


def enable() -> None:
  """Enables the cache; call it before anything is compiled.

  The folder is $JAX_COMPILATION_CACHE_DIR, or else one below ~/.cache/fskd_jax/xla, and
  then traces are kept beside it. If it cannot be written, a warning is logged and
  programs are compiled at every start.
  Programs that take less than $JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS (default 1 s)
  to compile are not kept. Of several processes, JAX lets only the first one write.
  """
  global traces
  jax = sys.modules.get("jax")  # not imported just for this: that takes seconds
  if os.environ.get(_VARIABLE) or (jax and jax.config.jax_compilation_cache_dir):
    return
  try:
    home = pathlib.Path.home() / ".cache" / "fskd_jax"
    folder = home / "xla" / _instruction_set()
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()
  except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
    _log.warning("Compiled programs are not cached: %s", error)
    return
  traces = home / "traces"
  os.environ[_VARIABLE] = str(folder)  # JAX reads it when it is imported
  if jax:
    jax.config.update("jax_compilation_cache_dir", str(folder))


def _instruction_set() -> str:
  """Returns a name for the CPU's instructions: hosts of one home may differ in them."""
  about = pathlib.Path("/proc/cpuinfo")
  lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
  flags = next((x for x in lines if x.startswith(("flags", "Features"))), "")
  return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:8]}"
