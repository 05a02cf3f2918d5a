import errno
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from helpers import shapes

import fskd_jax
from fskd_jax import experiment
from fskd_jax.buckets import lease
from fskd_jax.cli import main
from fskd_jax.training import workdir
from fskd_jax.training.checkpoint import CheckpointStore

ADDRESSES = (
  "gs://bucket/run",
  "s3://bucket/run",
  "hdfs://host:9000/run",
  "file:///tmp/run",
  "HTTPS://example.org/run",
  "abfs+x.y-z://run",
  pathlib.Path("gs://bucket/run"),  # gs:/bucket/run
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("keep", [None, 1])
def test_addresses_are_refused_and_nothing_is_made(
  tmp_path, monkeypatch, address, keep
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match="is an address, not a path of this machine"):
    CheckpointStore(address, keep)
  assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
  "path", ["run", "/a/gs://b", "a b:/c", "C:/run", "10:30/run", "~/x", "gs", ""]
)
def test_paths_are_paths(path):
  assert workdir.local_path(path) == pathlib.Path(path)


def _holder(folder):
  """Starts a process that holds the workdir; returns it when it does."""
  code = (
    "import pathlib, sys, time\n"
    "from fskd_jax.training import workdir\n"
    "with workdir.held_for_writing(pathlib.Path(sys.argv[1])):\n"
    "  print('held', flush=True); time.sleep(600)"
  )
  process = subprocess.Popen(
    [sys.executable, "-c", code, folder], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout.readline() == "held\n"
  return process


def test_a_second_training_is_told_who_trains_until_that_one_is_killed(tmp_path):
  folder, year = tmp_path / "run", time.strftime("%Y")
  process = _holder(folder)
  try:
    with pytest.raises(ValueError) as error:
      CheckpointStore(folder, 1)
    assert f"another training is running in {folder} " in str(error.value)
    name = f"(process {process.pid} on {socket.gethostname()} since {year}-"
    assert name in str(error.value) and "\n" not in str(error.value)
  finally:
    process.send_signal(signal.SIGKILL)
    process.wait()
  left = folder / lease.NAME
  assert str(process.pid) in left.read_text()
  with workdir.held_for_writing(folder):
    assert f"process {os.getpid()} on" in left.read_text()
  assert not left.exists()


def test_one_process_is_no_exception_and_an_error_frees_the_workdir(tmp_path):
  with pytest.raises(KeyError):
    with workdir.held_for_writing(tmp_path):
      with pytest.raises(ValueError, match=f"process {os.getpid()} on"):
        CheckpointStore(tmp_path, 1)
      with workdir.held_for_writing(tmp_path / "another"):
        raise KeyError
  CheckpointStore(tmp_path, 1).close()
  CheckpointStore(tmp_path, 1).close()


def test_readers_are_free(tmp_path):
  with workdir.held_for_writing(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(FileNotFoundError, match="there is no checkpoint in"):
      CheckpointStore(tmp_path).restore_model()


def test_a_training_that_was_taken_over_saves_nothing_more(tmp_path):
  store = CheckpointStore(tmp_path, 1)
  left = json.loads((tmp_path / lease.NAME).read_text())
  other = left | {"id": "other", "holder": "process 7 on elsewhere"}
  (tmp_path / lease.NAME).write_text(json.dumps(other))
  with pytest.raises(ValueError, match="taken over by process 7 on elsewhere"):
    store.save(1, None, {})
  store.close()
  assert json.loads((tmp_path / lease.NAME).read_text()) == other


def _read_only(*_, **__):
  raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_workdir_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
  file = tmp_path / "file"
  file.touch()
  for wrong in (file, file / "run", pathlib.Path("/proc/run")):
    text = re.escape(f"cannot write to the workdir {wrong}: ")
    with pytest.raises(OSError, match=text):
      CheckpointStore(wrong, 1)
  CheckpointStore(tmp_path / "old", 1).close()
  for name, call in (("new", "mkdir"), ("old", "open")):
    with monkeypatch.context() as patch:
      patch.setattr(pathlib.Path, call, _read_only)
      with pytest.raises(OSError, match=f"workdir .*{name}: Read-only file system"):
        CheckpointStore(tmp_path / name, 1)


def test_only_process_0_holds_the_lock(tmp_path, monkeypatch):
  with workdir.held_for_writing(tmp_path):
    monkeypatch.setattr(workdir.jax, "process_index", lambda: 1)
    with workdir.held_for_writing(tmp_path):
      pass


def test_training_and_commands_refuse_addresses(tmp_path, monkeypatch, capsys):
  monkeypatch.chdir(tmp_path)
  text = "hdfs:/+bucket/run is an address"
  with pytest.raises(ValueError, match=text):
    experiment.train(shapes.config(tmp_path / "data"), "hdfs://bucket/run")
  with pytest.raises(ValueError, match=text):
    fskd_jax.load("hdfs://bucket/run")
  assert (
    main.main(["export", "--workdir=hdfs://bucket/run", "--out=x.safetensors"]) == 2
  )
  error = capsys.readouterr().err
  assert "is an address" in error and error.count("\n") == 1
  assert not any(tmp_path.iterdir())
