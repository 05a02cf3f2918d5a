import pathlib

import jax
import pytest

from fskd_jax.cli import main
from fskd_jax.device import compilation_cache


@pytest.fixture
def home(monkeypatch, tmp_path):
  """A home of its own, and no folder chosen."""
  before = jax.config.jax_compilation_cache_dir
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
  jax.config.update("jax_compilation_cache_dir", None)
  yield tmp_path
  jax.config.update("jax_compilation_cache_dir", before)


def test_commands_keep_programs_below_the_home(home):
  assert main.main(["export", "--workdir", str(home), "--out", "x"]) == 2  # no run
  folder = pathlib.Path(jax.config.jax_compilation_cache_dir)
  assert folder.parent == home / ".cache" / "fskd_jax" / "xla"
  assert folder.is_dir() and not list(folder.iterdir())
  # Once chosen, also by the user, it stays.
  compilation_cache.enable()
  assert folder == pathlib.Path(jax.config.jax_compilation_cache_dir)


def test_without_a_place_to_write_all_goes_on(home, caplog):
  (home / ".cache").write_text("no folder")
  compilation_cache.enable()
  assert jax.config.jax_compilation_cache_dir is None
  assert "not cached" in caplog.text and str(home) in caplog.text
