"""`fskd demo` without what it needs."""

import importlib.util

from fskd_jax.cli import main


def test_it_says_what_to_install(monkeypatch, capsys):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  assert main.main(["demo", "--workdir", "runs/none"]) == 2
  assert "pip install -e '.[demo]'" in capsys.readouterr().err
