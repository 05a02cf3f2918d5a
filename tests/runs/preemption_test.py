"""Signals end a training at the next step, and the resumed run is the same run."""

import itertools
import os
import signal
import subprocess
import sys
import time

import jax
import pytest
from helpers import shapes
from helpers.paths import ROOT
from helpers.ports import free_port

from fskd_jax import experiment
from fskd_jax.data.feed import Feed
from fskd_jax.device import preemption
from fskd_jax.few_shot.task import FewShotValidator
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.records import Records


def _short(folder):
  # No interval divides another one.
  return shapes.config(
    folder,
    steps=13,
    log_every=5,
    checkpoint_every=3,
    validate_every=4,
    picture_every=6,
    keep_checkpoints=2,
  )


@pytest.fixture(scope="module")
def whole(shapes_folder, tmp_path_factory):
  """A short run that nothing interrupted: its configuration, workdir and end."""
  cfg, workdir = _short(shapes_folder), tmp_path_factory.mktemp("whole")
  return cfg, workdir, jax.device_get(experiment.train(cfg, workdir))


def _sending(number, original, call):
  """Sends this process a signal in the n-th call of a function, before it works."""
  calls = itertools.count(1)

  def send(*args, **kwargs):
    if next(calls) == call:
      os.kill(os.getpid(), number)
    return original(*args, **kwargs)

  return send


# Where a signal comes, the call of it, and the step that must be the last one.
MOMENTS = {
  "after the first step": (Records, "after_step", 1, 1, signal.SIGTERM),
  "within a validation": (Feed, "species", 1, 4, signal.SIGUSR1),
  "within the same one, which is made up for": (Feed, "species", 1, 4, signal.SIGTERM),
  "while drawing": (FewShotValidator, "picture", 1, 6, signal.SIGTERM),
  "while saving": (CheckpointStore, "begin_saving", 1, 9, signal.SIGTERM),
  "at a step without records": (Records, "after_step", 2, 11, signal.SIGINT),
  "at the last step": (Records, "after_step", 2, 13, signal.SIGTERM),
}


def test_a_run_stopped_anywhere_goes_on_as_if_nothing_had_been(whole, tmp_path, caplog):
  cfg, workdir, state = whole
  for owner, name, call, last, number in MOMENTS.values():
    with pytest.MonkeyPatch.context() as patch, preemption.listening():
      patch.setattr(owner, name, _sending(number, getattr(owner, name), call))
      with pytest.raises(preemption.Stopped) as ended:
        experiment.train(cfg, tmp_path)
    assert ended.value.code == (130 if number == signal.SIGINT else 143)
    told = f"stopped after step {last} because of {number.name}; the same command"
    assert told in caplog.messages[-1]
    assert CheckpointStore(tmp_path).restore_model().step == last
  resumed = jax.device_get(experiment.train(cfg, tmp_path))
  shapes.assert_identical(resumed, state)
  shapes.assert_same_run(tmp_path, workdir)


def test_one_of_two_processes_is_told_and_both_stop(shapes_folder, tmp_path):
  experiment_file = shapes.write_experiment(tmp_path / "experiment.py", shapes_folder)
  fields = {"steps": 10_000, "log_every": 1, "checkpoint_every": 10_000}
  fields |= {"validate_every": 10_000, "picture_every": 10_000, "backend": "pmap"}
  command = [
    *(sys.executable, "train.py", f"--config={experiment_file}"),
    *(f"--config.train.{name}={value}" for name, value in fields.items()),
    f"--workdir={tmp_path / 'run'}",
    *("--distributed", f"--coordinator=localhost:{free_port()}", "--processes=2"),
  ]
  flags = os.environ["XLA_FLAGS"].replace("device_count=4", "device_count=1")
  programs = [
    subprocess.Popen(
      [*command, f"--process={number}"],
      cwd=ROOT,
      env=os.environ | {"XLA_FLAGS": flags},
      stderr=subprocess.PIPE,
      text=True,
    )
    for number in range(2)
  ]
  try:
    lines = tmp_path / "run" / "metrics.jsonl"
    while not lines.exists() or not lines.read_text():
      assert [program.poll() for program in programs] == [None, None]
      time.sleep(0.2)
    programs[1].send_signal(signal.SIGUSR1)
    told = [program.communicate(timeout=100)[1] for program in programs]
  finally:
    for program in programs:
      program.kill()
  assert [program.returncode for program in programs] == [143, 143], told
  assert "because of a signal to another process; the same command goes on" in told[0]
  assert "SIGUSR1: saving at the next step" in told[1]
  saved = CheckpointStore(tmp_path / "run").restore_model()
  assert 1 <= saved.step < 10_000
  assert f"stopped after step {saved.step} " in told[0]


def test_signals_are_given_back():
  before = [signal.getsignal(number) for number in preemption.SIGNALS]
  with preemption.listening(), preemption.listening():
    assert signal.getsignal(signal.SIGTERM) not in before
  assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


# Programs of their own: what they print, and how they end.
PROGRAM = """
import hashlib, time
from fskd_jax.device import preemption
with preemption.listening():
  {body}
"""
WAIT = "print('ready', flush=True); time.sleep(60)"
# Deaf, as compilers are.
BUSY = "print('ready', flush=True); hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
DEFERRED = f"with preemption.deferred(): {BUSY}"


@pytest.mark.parametrize(
  ("body", "signals", "code"),
  [
    (WAIT, [signal.SIGTERM], 143),
    (WAIT, [signal.SIGINT], 130),
    (DEFERRED, [signal.SIGTERM] * 2, 143),
    (DEFERRED, [signal.SIGINT] * 2, 130),
  ],
)
def test_programs_end_at_once_with_nothing_to_save_or_when_told_twice(
  body, signals, code
):
  program = subprocess.Popen(
    [sys.executable, "-c", PROGRAM.format(body=body)],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert program.stdout and program.stdout.readline() == "ready\n"
  for number in signals:
    time.sleep(0.2)
    program.send_signal(number)
  begun = time.monotonic()
  _, told = program.communicate(timeout=60)
  assert time.monotonic() - begun < 5 and program.returncode == code
  assert len(told.splitlines()) == len(signals), told
