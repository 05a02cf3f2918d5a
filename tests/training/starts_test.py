"""Each start of a run is recorded once, with its machine."""

import json

import jax
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax.device import machine
from fskd_jax.training import starts


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12))
def test_those_are_left_whose_steps_are_in_the_run(tmp_path_factory, firsts):
  folder = tmp_path_factory.mktemp("run")
  expected = []
  for first in firsts:
    starts.record(folder, first, "single")
    expected = [step for step in expected if step < first] + [first]
    assert [start["step"] for start in starts.read(folder)] == expected


@pytest.mark.parametrize("backend, count", (("single", 1), ("pmap", 4)))
def test_the_devices_are_those_that_are_used(tmp_path, backend, count):
  starts.record(tmp_path, 0, backend)
  (start,) = starts.read(tmp_path)
  assert start["devices"] == {"cpu": count} and start["platform"] == "cpu"
  assert start["processor"] and start["cores"] >= 1 and start["processes"] == 1
  assert start["versions"]["jax"] == jax.__version__


def test_another_device_is_named(tmp_path, monkeypatch):
  starts.record(tmp_path, 0, "pmap")
  there = machine.description("pmap") | {"devices": {"H100": 2}, "platform": "gpu"}
  monkeypatch.setattr(machine, "description", lambda backend: there)
  starts.record(tmp_path, 5, "pmap")
  found = [(x["step"], x["devices"], x["platform"]) for x in starts.read(tmp_path)]
  assert found == [(0, {"cpu": 4}, "cpu"), (5, {"H100": 2}, "gpu")]


@pytest.mark.parametrize("damaged", (b"null", b"{", b"\xff", b'{"step": "2"}', b""))
def test_a_damaged_line_costs_itself_alone(tmp_path, caplog, damaged):
  starts.record(tmp_path, 0, "single")
  file = tmp_path / starts.FILE
  file.write_bytes(file.read_bytes() + damaged + b"\n")
  assert [start["step"] for start in starts.read(tmp_path)] == [0]
  assert "starts.jsonl: 1 of 2 lines are damaged" in caplog.text
  starts.record(tmp_path, 3, "single")
  lines = map(json.loads, file.read_text().splitlines())
  assert [line["step"] for line in lines] == [0, 3]
