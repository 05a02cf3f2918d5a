"""Loads configurations, and models from runs and files of weights."""

import contextlib
import importlib.util
import inspect
import pathlib
import sys
from typing import TYPE_CHECKING, Any

from fskd_jax import config
from fskd_jax.buckets import copies
from fskd_jax.config import Config, library
from fskd_jax.interop import state_dicts
from fskd_jax.interop.weights import read_config, read_weights
from fskd_jax.models.build import Model

if TYPE_CHECKING:
  from fskd_jax.data.feed import Feed


def load_config(path: str) -> Config:
  """Returns the configuration of a file in configs/ by running it.

  Args:
    path: The file, after a colon the argument of its get_config() if it has one:
      configs/transpose.py:tp_h_a4.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file has no get_config() that returns a `Config`, or that
      configuration is invalid.
  """
  file, colon, variant = path.rpartition(":")
  if not colon or pathlib.Path(path).is_file():
    cfg = run_file(path, "get_config")
  else:
    cfg = run_file(file, "get_config", variant)
  if not isinstance(cfg, Config):
    raise ValueError(f"{path}: expected get_config() that returns fskd_jax's Config")
  config.validate(cfg)
  return cfg


def run_file(path: str, function: str, *arguments: str) -> Any:
  """Runs a Python file and returns what a function of it returns; None without one.

  The file may import its neighbours from the current folder, and from configs/.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: It is no Python file, or the function does not take the arguments.
  """
  if not pathlib.Path(path).is_file():
    raise FileNotFoundError(
      f"there is no configuration file {path}; `fskd configs` copies the package's own"
    )
  if "" not in sys.path:
    sys.path.insert(0, "")
  library.make_importable()
  spec = importlib.util.spec_from_file_location("experiment", path)
  if spec is None or spec.loader is None:
    raise ValueError(f"{path}: expected a Python file")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  found = getattr(module, function, None)
  if not callable(found):
    return None
  if arguments and not inspect.signature(found).parameters:
    raise ValueError(f"{path}: {function}() takes no variant, got {arguments[0]!r}")
  return found(*arguments)


def load_run(workdir: str) -> tuple[Model, int]:
  """Loads the newest checkpoint of a run, and returns the model and its step.

  The run may be in a bucket, of which `copies.local` makes a copy.

  Raises:
    FileNotFoundError: The folder is no run, or has no checkpoint.
    ValueError: No checkpoint can be read.
  """
  # Half a second, which a detector from a file is spared.
  from fskd_jax.training.checkpoint import CheckpointStore

  with contextlib.closing(CheckpointStore(copies.local(workdir))) as checkpoints:
    saved = checkpoints.restore_model()
  return Model(config.from_dict(saved.config), saved.variables), saved.step


def open_feed(cfg: Config) -> "Feed":
  """Opens the data set of a few-shot detector, on one device.

  Raises:
    ValueError: The task has no episodes, or `Feed.open` raises it.
    FileNotFoundError: `Feed.open` raises it.
  """
  if cfg.task != "few_shot":
    raise ValueError(f"{cfg.name} is of the task {cfg.task!r}, which has no episodes")
  from fskd_jax.data.feed import Feed

  return Feed.open(cfg.data)


def load_file(path: str, config_path: str | None) -> Model:
  """Loads a file of weights.

  Args:
    path: The file, .safetensors or .pth.
    config_path: A file in configs/; by default the configuration that `path` carries.

  Raises:
    FileNotFoundError: A file does not exist.
    ValueError: There is no configuration, or the file is damaged or does not fit it.
  """
  cfg = load_config(config_path) if config_path else read_config(path)
  if cfg is None:
    raise ValueError(f"{path} carries no configuration: name it with --config")
  return load_weights(path, cfg)


def load_weights(path: str, cfg: Config) -> Model:
  """Loads a file of weights of a known configuration.

  Raises:
    FileNotFoundError, ValueError: `load_file` describes them.
  """
  tensors = read_weights(path)
  try:
    return Model(cfg, state_dicts.load_state_dict(tensors, cfg))
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
