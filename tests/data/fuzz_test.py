"""Every reader of labels and weights, given files that are mutated at random."""

import importlib.util
import pathlib
import tempfile
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.reliability import fuzz
from benchmarks.reliability.mutation import mutated
from fskd_jax.data.labels import formats

# Bytes of HDF5 reach a C library that may end the process: they are tried by
# `python -m benchmarks.reliability.fuzz`, in processes of their own.
KINDS = {name: kind for name, kind in fuzz.kinds().items() if kind.by_content}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
@settings(
  max_examples=40, deadline=None, derandomize=True, database=None,
  suppress_health_check=[*HealthCheck],
)  # fmt: skip
@given(rng=st.randoms(use_true_random=False))
def test_a_mutated_file_is_read_or_refused_in_one_line_that_names_it(name, rng):
  with tempfile.TemporaryDirectory() as folder:
    assert fuzz.failure(KINDS[name], pathlib.Path(folder), rng) is None


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_sound_before_it_is_mutated(name, tmp_path):
  kind = KINDS[name]
  for file, data in kind.files.items():
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(data)
  kind.read(tmp_path)
  damaged = kind.files[kind.damaged]
  suffix = pathlib.Path(kind.damaged).suffix
  changed = [mutated(damaged, suffix, Random(seed)) != damaged for seed in range(30)]
  assert sum(changed) > 20


def test_every_format_is_tried():
  extra = set() if importlib.util.find_spec("sleap_io") else {"slp"}
  for name in {*formats.FORMATS} - extra:
    assert any(kind.split(" ")[0] == name for kind in KINDS), name


def _raise(error):
  raise error


def test_what_does_not_hold_is_told(tmp_path, monkeypatch):
  for read, reason in (
    (lambda folder: _raise(TypeError("x")), "traceback: TypeError: x"),
    (lambda folder: _raise(ValueError("no")), "names no file: no"),
    (lambda folder: _raise(ValueError(f"{folder}\n")), "not one line"),
    (lambda folder: _raise(ValueError(f"{folder}: MemoryError")), "more than 1 GiB"),
    (lambda folder: None, None),
    (lambda folder: _raise(OSError(f"{folder}: no")), None),
  ):
    kind = fuzz.Kind({"a.json": b"{}"}, "a.json", read)
    found = fuzz.failure(kind, tmp_path, Random(0))
    assert found is None if reason is None else reason in found
  monkeypatch.setattr(fuzz, "SECONDS", 1)

  def forever(folder):
    while True:
      try:
        while True:
          pass
      except Exception:
        pass

  kind = fuzz.Kind({"a.json": b"{}"}, "a.json", forever)
  assert "more than 1 s" in fuzz.failure(kind, tmp_path, Random(0))
