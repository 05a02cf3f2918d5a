import pathlib

import fskd_jax
from fskd_jax.config import Config
from fskd_jax.data import fingerprint


def test_the_code_is_that_of_the_whole_package(monkeypatch):
  read, read_bytes = [], pathlib.Path.read_bytes

  def recorded(path):
    read.append(path)
    return read_bytes(path)

  monkeypatch.setattr(pathlib.Path, "read_bytes", recorded)
  fingerprint.of_program(Config())
  assert sorted(read) == sorted(pathlib.Path(fskd_jax.__path__[0]).rglob("*.py"))
