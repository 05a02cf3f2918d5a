"""Finds the configuration files that come with the package.

A checkout has them in configs/, beside the package; a wheel has the same files in
fskd_jax/configs/.
"""

import importlib
import importlib.machinery
import importlib.util
import pathlib
import sys

_PACKAGE = pathlib.Path(__file__).parents[1]


def folder() -> pathlib.Path:
  """Returns the folder of the configuration files."""
  inside = _PACKAGE / "configs"
  return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def make_importable() -> None:
  """Lets `from configs import NAME` find the files of `folder`, after all others.

  Other folders named configs on Python's path come first, so a user's own file hides
  the package's file of the same name.
  """
  try:
    configs = importlib.import_module("configs")
  except ModuleNotFoundError:
    spec = importlib.machinery.ModuleSpec("configs", None, is_package=True)
    configs = sys.modules["configs"] = importlib.util.module_from_spec(spec)
  found = list(getattr(configs, "__path__", []))
  if str(folder()) not in found:
    configs.__path__ = [*found, str(folder())]
