"""The report of `fskd doctor --devices`."""

import re

import pytest

from fskd_jax.cli import main
from fskd_jax.device import processes, survey


@pytest.mark.slow
def test_devices_clocks_and_a_sum_are_told(tmp_path, capsys):
  assert main.main(["doctor", "--devices", "--folder", str(tmp_path / "new")]) == 0
  first, second, third = capsys.readouterr().out.splitlines()
  assert re.fullmatch(
    r"process 0 on \S+: 4 x cpu, memory [\d.]+ GiB, clock \+0.00 s", first
  )
  assert re.fullmatch(r"sum of 64 MB over 4 devices: [\d.]+ ms, [\d.]+ GB/s", second)
  assert third == f"{tmp_path / 'new'} is shared by all 1 processes"
  assert not [*(tmp_path / "new").iterdir()]


def test_a_folder_that_is_not_shared_is_told(tmp_path, monkeypatch):
  def answers(message):
    return [message, "0" if message == "1" else message]

  monkeypatch.setattr(processes, "gather", answers)
  with pytest.raises(ValueError, match="not shared: process 1 cannot read"):
    survey._check_shared(tmp_path)
  assert not [*tmp_path.iterdir()]


def test_processes_are_named_together(capsys):
  assert main.main(["doctor", "--devices", "--process", "0"]) == 2
  assert "need --distributed" in capsys.readouterr().err
