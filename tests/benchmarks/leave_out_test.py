"""The trainings and the table of `benchmarks.leave_out`; nothing is trained here."""

import sys

import pytest

from benchmarks import leave_out
from fskd_jax import config

SOURCE = leave_out.SOURCES[1]


@pytest.mark.parametrize("ablate", leave_out.ABLATIONS)
def test_a_training_never_sees_the_source_that_it_is_measured_on(ablate, tmp_path):
  cfg = leave_out.config(tmp_path, SOURCE, ablate, 100)
  config.validate(cfg)
  assert cfg.data.holdout == (SOURCE,)
  assert not leave_out.config(tmp_path, leave_out.EVERYTHING, ablate, 100).data.holdout
  shares = [part.data.self_supervised.share for part in cfg.data.mixture]
  assert any(shares) == (ablate != "self_supervision")
  assert bool(cfg.model.pyramid.beside) == (ablate != "frozen_maps")


def test_each_column_comes_from_its_own_training(tmp_path, monkeypatch, capsys):
  """And a training that is there is not repeated."""
  trained = []
  values = {leave_out.EVERYTHING: 0.6, SOURCE: 0.4, "frozen": 0.2}

  def train(cfg, folder):
    trained.append(cfg.data.holdout)
    folder.mkdir(parents=True)

  def measure(model, folder, priors, shots, episodes):
    assert folder == tmp_path / folder.name and priors == [leave_out.PRIOR]
    plain = values[model]
    return [(0.1, 0.01), (plain, 0.01), (plain + 0.05, 0.01)]

  names = {f"{name}_nothing": name for name in values}
  monkeypatch.setattr(leave_out.experiment, "train", train)
  monkeypatch.setattr(
    leave_out, "load_run", lambda folder: (names[folder.rsplit("/")[-1]], 1)
  )
  monkeypatch.setattr(leave_out.measuring, "measure", measure)
  monkeypatch.setattr(leave_out.measuring, "frozen", lambda weights: "frozen")
  arguments = [
    "leave_out",
    "--root",
    str(tmp_path),
    "--workdir",
    str(tmp_path / "runs"),
  ]
  arguments += ["--without", leave_out.EVERYTHING, SOURCE]
  monkeypatch.setattr(sys, "argv", arguments)
  for _ in range(2):
    assert leave_out.main() == 0
  assert trained == [(), (SOURCE,)]
  row = next(x for x in capsys.readouterr().out.splitlines() if x.startswith(SOURCE))
  assert [float(x) for x in row[18:].replace("±", " ").split()[::2]] == [
    10.0, 20.0, 40.0, 45.0, 60.0, 65.0,
  ]  # fmt: skip
