"""What is left unimported: `fskd --help` starts at once, a prediction soon."""

import subprocess
import sys

import pytest

HEAVY = ("jax", "tensorflow", "matplotlib", "scipy")
USES = {
  "the package": "import fskd_jax",
  "its names": "import fskd_jax; fskd_jax.__all__, dir(fskd_jax)",
  "its version": "import fskd_jax; fskd_jax.__version__",
  "the help": "from fskd_jax.cli.main import main; main(['--help'])",
  "the version": "from fskd_jax.cli.main import main; main(['--version'])",
  "the configurations": "from fskd_jax.cli import configs",
}
REPORT = (
  "import atexit, sys; atexit.register("
  "lambda: print('IMPORTED', *sorted({name.split('.')[0] for name in sys.modules})))\n"
)


def _imported(code: str) -> set[str]:
  """Returns the packages that a program has imported when it ends."""
  done = subprocess.run(
    [sys.executable, "-c", REPORT + code], capture_output=True, text=True, check=True
  )
  return {*done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("use", USES)
def test_nothing_heavy_is_imported(use):
  imported = _imported(USES[use])
  assert "fskd_jax" in imported
  assert not imported.intersection(HEAVY)


def test_predicting_imports_jax_but_not_what_it_rarely_needs():
  imported = _imported(
    "import fskd_jax; fskd_jax.load; import fskd_jax.prediction.folders"
  )
  assert "jax" in imported
  assert not imported.intersection({"tensorflow", "scipy", "pandas", "orbax", "cv2"})
