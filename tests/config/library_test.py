"""Configuration files that come with the package, from wherever they are imported."""

import importlib
import sys

import pytest
from helpers.paths import ROOT

from fskd_jax.config import library


@pytest.fixture
def shipped(tmp_path, monkeypatch):
  """A package with the configurations `mine` and `other`, and no `configs` imported."""
  folder = tmp_path / "package" / "configs"
  folder.mkdir(parents=True)
  for name in ("mine", "other"):
    (folder / f"{name}.py").write_text("HOME = 'package'")
  monkeypatch.setattr(library, "_PACKAGE", folder.parent)
  for name in ("configs", "configs.mine", "configs.other"):
    monkeypatch.setitem(sys.modules, name, None)  # removed again after the test
    del sys.modules[name]
  return folder


def _home(name):
  importlib.invalidate_caches()
  return importlib.import_module(f"configs.{name}").HOME


def test_a_checkout_has_them_beside_the_package():
  assert library.folder() == ROOT / "configs"


def test_they_are_found_where_nothing_else_is(shipped, tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "path", [str(tmp_path)])
  with pytest.raises(ModuleNotFoundError):
    _home("mine")
  library.make_importable()
  library.make_importable()
  assert _home("mine") == _home("other") == "package"


@pytest.mark.parametrize("own", ["configs/mine.py", "configs.py"])
def test_own_files_go_first(shipped, tmp_path, monkeypatch, own):
  path = tmp_path / "user" / own
  path.parent.mkdir(parents=True)
  path.write_text("HOME = 'user'")
  monkeypatch.setattr(sys, "path", [str(tmp_path / "user")])
  library.make_importable()
  assert _home("other") == "package"
  if path.stem == "mine":
    assert _home("mine") == "user"
  else:
    assert sys.modules["configs"].HOME == "user"
