"""The processes of a run are watched: who is lost is named, and the others end."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers.paths import ROOT
from helpers.ports import free_port

from fskd_jax.device import watch
from fskd_jax.device.roll import Roll

COUNT = 3


def _complete():
  roll = Roll(COUNT, silent=10, lag=20)
  for number in range(COUNT):
    roll.said(f"line {number}", {"process": number, "host": f"h{number}"}, now=0)
  return roll


def _at(roll, now, counts):
  for number, count in enumerate(counts):
    if count is not None:
      roll.said(f"line {number}", {"count": count}, now)
  return roll.lost(now)


def test_who_has_not_come_is_missing():
  roll = Roll(COUNT, 10, 20)
  assert roll.missing() == "process 0 of 3, process 1 of 3, process 2 of 3"
  for content in ({"process": 7}, {"process": "1"}, {"count": 5}, [], None, "x"):
    roll.said("stranger", content, now=0)
  roll.said("a", {"process": 1, "host": "h"}, now=0)
  roll.said("b", {"process": 0, "host": "h"}, now=0)
  assert roll.missing() == "process 2 of 3"
  roll.ended("a")
  assert roll.missing() == "process 1 of 3, process 2 of 3"
  assert not _complete().missing()


def test_a_silent_process_is_lost_after_the_limit_alone():
  roll = _complete()
  assert not _at(roll, 10, (1, None, 1))
  assert _at(roll, 10.5, (1, None, 1)).startswith(
    "process 1 of 3 on h1 has been silent"
  )


def test_a_process_is_lost_that_others_wait_for():
  roll = _complete()
  assert not _at(roll, 1, (0, 0, 0))
  assert not _at(roll, 500, (0, 0, 0))  # all of them prepare something
  assert not _at(roll, 501, (1, 1, 0))
  assert not _at(roll, 511, (1, 1, 0))
  assert not _at(roll, 521, (1, 1, 0))
  assert _at(roll, 521.5, (1, 1, 0)) == (
    "process 2 of 3 on h2 hangs: others wait for it since 20 s"
  )
  assert not _at(roll, 522, (2, 2, 1))  # it goes on, a place behind
  assert not _at(roll, 532, (2, 2, 1))


def test_a_process_that_dies_is_lost_and_one_that_leaves_is_not():
  roll = _complete()
  roll.said("line 1", {"left": True}, 1)
  roll.ended("line 1")
  assert not _at(roll, 2, (1, None, 1)) and not _at(roll, 12, (1, None, 1))
  roll.ended("line 2")
  assert roll.lost(12) == "process 2 of 3 on h2 died"


def test_a_failure_is_lost_after_a_while_in_which_the_others_may_fail_alike():
  roll = _complete()
  roll.said("line 1", {"left": True, "failure": "OSError: disk full"}, 1)
  roll.ended("line 1")
  assert not _at(roll, 20, (1, None, 1))
  assert (
    _at(roll, 21.5, (1, None, 1)) == "process 1 of 3 on h1 ended: OSError: disk full"
  )


PROGRAM = """
import sys, time
from fskd_jax.config import TrainConfig
from fskd_jax.device import watch
port, index = map(int, sys.argv[1:])
limits = TrainConfig(join_seconds={join}, silent_seconds=3)
print("starting", flush=True)
try:
  watch.start("localhost", port, 3, index, limits)
except OSError as error:
  sys.exit(str(error))
print("joined", flush=True)
time.sleep(60)
"""

FAILING = """
def collective():
  sys.stdin.readline()
  raise jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed")
launch._main(collective)
"""


def _program(number, port, join=60, body=PROGRAM):
  program = subprocess.Popen(
    [sys.executable, "-c", body.format(join=join), str(port), str(number)],
    cwd=ROOT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert program.stdout and program.stdout.readline() == "starting\n"
  return program


def _ends(programs):
  try:
    told = [program.communicate(timeout=60)[1].strip() for program in programs]
  finally:
    for program in programs:
      program.kill()
  return {program.returncode for program in programs}, told


def test_a_process_that_never_starts_is_named_everywhere():
  port = free_port()
  codes, told = _ends([_program(2, port), _program(0, port, join=3)])
  line = "process 1 of 3 not started or not reached in 3 s; start all 3 processes"
  assert codes == {1} and told == [line, line]
  codes, (told,) = _ends([_program(1, port, join=2)])
  assert codes == {1} and "process 0 cannot be reached at localhost:" in told


@pytest.mark.slow
@pytest.mark.parametrize(
  ("victim", "number", "said"),
  [
    (1, signal.SIGKILL, "process 1 of 3 on {host} died"),
    (2, signal.SIGSTOP, "process 2 of 3 on {host} has been silent for"),
    (0, signal.SIGKILL, "process 0 at localhost:"),
    (0, signal.SIGSTOP, "process 0 at localhost:"),
  ],
)
def test_a_lost_process_ends_the_others_with_its_name(victim, number, said):
  port = free_port()
  programs = [_program(number, port) for number in range(3)]
  lost = programs.pop(victim)
  try:
    for program in (lost, *programs):
      assert program.stdout and program.stdout.readline() == "joined\n"
    begun = time.monotonic()
    lost.send_signal(number)
    codes, told = _ends(programs)
  finally:
    lost.kill()
  assert codes == {watch.LOST} and time.monotonic() - begun < 30
  said = said.format(host=os.uname().nodename)
  assert all(said in line and "start all again" in line for line in told), told
  assert all(len(line.splitlines()) == 1 for line in told), told


@pytest.mark.slow
def test_an_error_of_jax_does_not_speak_before_the_watch():
  port = free_port()
  body = "import jax\nfrom fskd_jax.cli import launch\n" + PROGRAM
  body = body.replace("time.sleep(60)\n", FAILING)
  programs = [_program(number, port, body=body) for number in range(3)]
  for program in programs:
    assert program.stdout and program.stdout.readline() == "joined\n"
  lost = programs.pop()
  for program in programs:
    assert program.stdin
    program.stdin.write("\n")
    program.stdin.flush()
  time.sleep(1)
  lost.kill()
  codes, told = _ends(programs)
  line = f"process 2 of 3 on {os.uname().nodename} died"
  assert codes == {watch.LOST} and all(line in text for text in told), told
