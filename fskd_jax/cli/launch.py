"""Flags, processes and error messages shared by train.py and evaluate.py."""

import contextlib
import gc
import logging
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Iterator

import jax
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from fskd_jax.config import Config
from fskd_jax.device import compilation_cache, parallel, preemption, watch

_DISTRIBUTED = flags.DEFINE_bool(
  "distributed",
  False,
  "One of several processes that all run this command: TPU pods, SLURM, or named by "
  "the three flags below.",
)
_COORDINATOR = flags.DEFINE_string("coordinator", None, "host:port of process 0.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
_PACKAGE = pathlib.Path(__file__).parents[1]


def run(main: Callable[[], None], *, later_flags: bool = False) -> None:
  """Parses the flags, joins the other processes if flags say so, and runs a program.

  An error raised by this package ends the program with one line and exit status 2,
  other errors with a traceback. Signals: see `preemption`.

  Args:
    main: The program.
    later_flags: Whether `override` will parse flags that are not defined yet.
  """

  def explained(_: list[str]) -> None:
    try:
      _start()
      with preemption.listening():
        _main(main)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
      if not _is_ours(error):
        raise
      print(f"{type(error).__name__}: {error}", file=sys.stderr)
      sys.exit(2)

  def parse(argv: list[str]) -> list[str]:
    with _ending_on_wrong_flags():
      return _parse(argv, partly=later_flags)

  app.run(explained, flags_parser=parse)


def _main(main: Callable[[], None]) -> None:
  """Runs the program, and tells the other processes how it ended."""
  try:
    main()
  except BaseException as error:
    if isinstance(error, jax.errors.JaxRuntimeError):
      watch.settle()
    is_agreed = isinstance(error, preemption.Stopped) and preemption.is_agreed()
    watch.leave("" if is_agreed else f"{type(error).__name__}: {error}")
    if isinstance(error, preemption.Stopped) and not is_agreed and _DISTRIBUTED.value:
      # JAX would wait for the others, who do not know of the signal, and abort.
      os._exit(int(error.code or 0))
    raise
  watch.leave()


def override(cfg: Config) -> Config:
  """Returns a configuration changed by the flags `--config.FIELD=VALUE`."""
  with _ending_on_wrong_flags():
    overridden = config_flags.DEFINE_config_dataclass("config", cfg)
    _parse(sys.argv)
  return overridden.value


def _parse(argv: list[str], partly: bool = False) -> list[str]:
  """Parses all flags, or only those defined so far; returns the rest."""
  rest = flags.FLAGS(argv, known_only=partly)
  if len(rest) > 1 and not partly:
    raise flags.Error(f"unexpected arguments: {rest[1:]}")
  named = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  if named != (None, None, None) and not _DISTRIBUTED.value:
    raise flags.Error("--coordinator, --processes and --process need --distributed")
  if not partly:
    _ = flags.FLAGS.config.name  # raises if the file could not be loaded
  return rest


@contextlib.contextmanager
def _ending_on_wrong_flags() -> Iterator[None]:
  try:
    yield
  except (flags.Error, KeyError, OSError) as error:
    # A misspelt field is a KeyError, a missing configuration file an OSError.
    text = error.args[0] if isinstance(error, KeyError) else error
    print(f"FATAL Flags parsing error: {text}", file=sys.stderr)
    print(
      "Flags: --helpshort. Fields of --config and defaults: fskd_jax/config/schema.py.",
      file=sys.stderr,
    )
    sys.exit(2)


def _is_ours(error: BaseException) -> bool:
  """Returns whether a line of this package raised the error."""
  frame, _ = list(traceback.walk_tb(error.__traceback__))[-1]
  return pathlib.Path(frame.f_code.co_filename).is_relative_to(_PACKAGE)


def _start() -> None:
  gc.set_threshold(10_000, 20, 20)  # as in `cli.main`
  absl_logging.set_verbosity(absl_logging.ERROR)  # orbax logs every operation
  # TensorFlow would print details of errors that the package reports in one line.
  os.environ.update(TF_CPP_MIN_LOG_LEVEL="2", TF_ENABLE_ONEDNN_OPTS="0")
  if _DISTRIBUTED.value:
    given = getattr(flags.FLAGS, "config", None)
    limits = given.train if isinstance(given, Config) else None
    named = (_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
    parallel.start_processes(*named, limits)
  package = logging.getLogger("fskd_jax")
  package.setLevel(logging.INFO if parallel.is_main_process() else logging.WARNING)
  package.addHandler(logging.StreamHandler())
  package.propagate = False
  compilation_cache.enable()
