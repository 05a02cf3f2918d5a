"""Four virtual CPU devices, strict broadcasting, and where the shared material is."""

import os
import pathlib

os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = pathlib.Path(
  os.environ.get("FSKD_SHARED", pathlib.Path(__file__).parents[2] / "shared")
)


def _require(path: pathlib.Path) -> pathlib.Path:
  if not path.exists():
    pytest.skip(f"{path} is not on this machine; set FSKD_SHARED to its parent")
  return path


@pytest.fixture(scope="session")
def golden():
  """Outputs of the authors' own PyTorch code (shared/golden)."""
  return np.load(_require(SHARED / "golden" / "golden_fskd.npz"))


@pytest.fixture(scope="session")
def photographs():
  """Folder of real photographs with keypoints (shared/data)."""
  return _require(SHARED / "data")
