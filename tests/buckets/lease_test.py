"""The lease of a workdir: one holder, others on their word, the dead by their end."""

import json
import logging
import subprocess
import sys
import threading

import pytest

from fskd_jax.buckets import lease
from fskd_jax.buckets.lease import Folder, Lease


def _elsewhere(monkeypatch, host="elsewhere"):
  monkeypatch.setattr(lease, "_machine", lambda: host)


def _written(folder):
  return json.loads((folder / lease.NAME).read_text())


def test_another_host_is_believed_for_three_periods(tmp_path, monkeypatch, caplog):
  holder = Lease(Folder(tmp_path), "run")
  holder.take()
  _elsewhere(monkeypatch)
  other = Lease(Folder(tmp_path), "run")
  now = _written(tmp_path)["time"]
  monkeypatch.setattr(lease.time, "time", lambda: now + 3 * lease.PERIOD - 1)
  with pytest.raises(ValueError, match=r"running in run \(process .* seen 89 s ago\)"):
    other.take()
  holder.renew()
  monkeypatch.setattr(lease.time, "time", lambda: now + 6 * lease.PERIOD - 2)
  with pytest.raises(ValueError, match="seen 89 s ago"):
    other.take()
  monkeypatch.setattr(lease.time, "time", lambda: now + 6 * lease.PERIOD)
  with caplog.at_level(logging.WARNING):
    other.take()
  assert "run: taken over from process" in caplog.text
  for late in (holder.check, holder.renew):
    with pytest.raises(ValueError, match="run has been taken over by process"):
      late()
  holder.release()  # is not its own any more
  other.check()
  other.release()
  assert not [*tmp_path.iterdir()]


def test_a_process_of_this_machine_counts_until_it_ends(tmp_path, monkeypatch):
  code = (
    "import pathlib, sys; from fskd_jax.buckets.lease import *\n"
    "Lease(Folder(pathlib.Path(sys.argv[1])), 'run').take(); print(flush=True)\n"
    "sys.stdin.read()"
  )
  command, pipe = [sys.executable, "-c", code, tmp_path], subprocess.PIPE
  with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
    assert process.stdout.readline()
    monkeypatch.setattr(lease.time, "time", lambda: 1e12)  # it may have been stopped
    with pytest.raises(ValueError, match=f"process {process.pid} on "):
      Lease(Folder(tmp_path), "run").take()
    process.kill()
  Lease(Folder(tmp_path), "run").take()


@pytest.mark.parametrize("content", [b"", b'{"holder": "pro', b"[]", b'{"id": 1}'])
def test_a_lease_that_was_cut_off_holds_nobody(tmp_path, monkeypatch, content):
  monkeypatch.setattr(lease.time, "sleep", lambda _: None)
  (tmp_path / lease.NAME).write_bytes(content)
  taken = Lease(Folder(tmp_path), "run")
  taken.take()
  assert _written(tmp_path)["id"] and [*tmp_path.iterdir()] == [tmp_path / lease.NAME]
  taken.check()


def test_of_many_who_take_over_at_once_one_does(tmp_path, monkeypatch):
  _elsewhere(monkeypatch)
  dead = Lease(Folder(tmp_path), "run")
  dead.take()
  monkeypatch.setattr(lease, "_is_over", lambda other: other["id"] == dead._me["id"])
  heirs = [Lease(Folder(tmp_path), "run") for _ in range(8)]
  start, taken = threading.Barrier(8), []

  def take(heir):
    start.wait()
    try:
      heir.take()
      heir.check()
      taken.append(heir)
    except ValueError:
      pass

  threads = [threading.Thread(target=take, args=(heir,)) for heir in heirs]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert len(taken) == 1
  taken[0].check()


def test_it_is_renewed_while_it_is_held(tmp_path, monkeypatch):
  monkeypatch.setattr(lease, "PERIOD", 0.01)
  renewed = threading.Event()
  held = Lease(Folder(tmp_path), "run")
  write = held._store.write
  monkeypatch.setattr(held._store, "write", lambda c: (write(c), renewed.set()))
  with held.held():
    begun = _written(tmp_path)["time"]
    renewed.clear()
    assert renewed.wait(60)
    assert _written(tmp_path)["time"] > begun
  assert not (tmp_path / lease.NAME).exists()


def test_a_lease_that_is_gone_ends_the_writing(tmp_path):
  """As of a disk that was unmounted: a folder of the same name is there, empty."""
  mine = lease.Lease(lease.Folder(tmp_path), "run")
  with mine.held():
    (tmp_path / lease.NAME).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="is gone from run: either the disk"):
      mine.check()
    with pytest.raises(FileNotFoundError, match="is gone from run"):
      mine.renew()
  assert not (tmp_path / lease.NAME).exists()
