"""The built wheel, used where there is no clone."""

import os
import shutil
import subprocess
import sys

import pytest
from helpers.paths import ROOT

import fskd_jax

pytestmark = pytest.mark.slow

FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
OPTIONS = ("--no-deps", "--no-build-isolation")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
  """Folder that the wheel is installed into."""
  folder = tmp_path_factory.mktemp("wheel")
  source, site = folder / "source", folder / "site"
  for name in ("fskd_jax", "configs"):  # copies: building leaves files behind
    shutil.copytree(ROOT / name, source / name)
  for name in FILES:
    shutil.copy(ROOT / name, source)
  subprocess.run([*PIP, "wheel", *OPTIONS, "-w", folder, source], check=True)
  (wheel,) = folder.glob("*.whl")
  subprocess.run([*PIP, "install", "--no-deps", "-t", site, wheel], check=True)
  return site


@pytest.fixture
def python(site, tmp_path):
  """Runs Python in an empty folder with the wheel; returns what it prints."""

  def run(*arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, *arguments]
    done = subprocess.run(
      command, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  return run


def test_the_wheel_is_what_is_imported(site, python):
  home = python("-c", "import fskd_jax; print(fskd_jax.load, fskd_jax.__file__)")
  assert str(site / "fskd_jax" / "__init__.py") in home
  assert (site / "fskd_jax" / "py.typed").is_file()


def test_the_command_knows_its_version_and_its_commands(python):
  assert python("-m", "fskd_jax", "--version").strip() == fskd_jax.__version__
  assert "configs" in python("-m", "fskd_jax", "--help")


def test_configurations_are_listed_and_copied(python, tmp_path):
  listed = python("-m", "fskd_jax", "configs").splitlines()
  names = sorted(path.stem for path in (ROOT / "configs").glob("[a-z]*.py"))
  sweeps = sorted(path.stem for path in (ROOT / "configs" / "sweeps").glob("[a-z]*.py"))
  expected = [*names, *(f"sweeps/{name}" for name in sweeps)]
  assert [line.split()[0] for line in listed] == expected
  python("-m", "fskd_jax", "configs", "quickstart", "--out", "x.py")
  original = (ROOT / "configs" / "quickstart.py").read_bytes()
  assert (tmp_path / "x.py").read_bytes() == original


def test_a_copied_configuration_finds_the_one_that_it_changes(python):
  python("-m", "fskd_jax", "configs", "creatures", "--out", "mine.py")
  load = "from fskd_jax.training import runs; print(runs.load_config('mine.py').name)"
  assert python("-c", load).split()[-1] == "creatures"


def test_a_copied_sweep_finds_what_it_changes(python):
  python("-m", "fskd_jax", "configs", "sweeps/faces", "--out", "mine.py")
  load = (
    "from fskd_jax.analysis.sweep import plan\n"
    "print(*plan.load_sweep('mine.py', {}).variants)"
  )
  assert python("-c", load).split()[-2:] == ["baseline", "MDS"]
