"""Four virtual CPU devices, strict broadcasting, and what several tests share."""

import functools
import gc
import importlib.metadata
import inspect
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator

if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
  # Every worker and every program would compile all that it imports, 10 s for a worker.
  # As was asked, nothing is written beside the sources.
  code = pathlib.Path(__file__).parents[1] / "build" / "bytecode"
  sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(code)
  sys.dont_write_bytecode = False
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# There is a worker per core: further threads of BLAS and PyTorch would wait for each
# other at every step. Half the time of the comparisons with PyTorch.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Most of the time goes into compiling small programs that run once. `optimized_test`
# repeats some tests with all optimisations.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1" and (
  importlib.metadata.version("jax") < "0.11"
):
  # The older emitters compile a training step in a third of the time. JAX 0.11 lost it:
  # a flag that it does not know ends the program. Code in a single part, because the
  # parts that other threads would compile cost 40 % more time, and all cores are busy.
  os.environ["XLA_FLAGS"] += (
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
  )
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  # Whole runs compile the same steps again and again, some in processes of their own;
  # the next `make test` finds what did not change.
  programs = pathlib.Path(__file__).parents[1] / "build" / "xla"
  os.environ["JAX_COMPILATION_CACHE_DIR"] = str(programs)
  # Small ones, too: hundreds of them cost more than the large ones.
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
  if sum(path.stat().st_size for path in programs.glob("*")) > 2**30:
    shutil.rmtree(programs)

# Neither JAX nor what imports it: the process that hands out the tests needs neither,
# and no worker starts before it has read this.
import hypothesis
import numpy as np
import pytest
from helpers import bucket_servers

# Tests trace programs, few of whose many objects are garbage: each search for it would
# go through all that JAX and TensorFlow keep.
gc.set_threshold(20_000, 20, 20)

# The same few examples every time; `pytest --hypothesis-profile=search` draws others.
hypothesis.settings.register_profile(
  "repeatable",
  derandomize=True,
  max_examples=40,
  deadline=None,
  database=None,
  # A busy machine is no fault of a test.
  suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
  "search", max_examples=300, deadline=None, database=None
)
hypothesis.settings.load_profile("repeatable")

LONG = (
  "multiprocess_test",
  "scripts_test",
  "parity_test",
  "optimized_test",
  "training_test",
  "preemption_test",
  "research_test",
  "notebook_test",
  "evaluation_test",
  "own_labels_test",
  "pose_test",
  "grain_pipeline_test",
  "transfer_test",
  "main_test",
)
"""Long files, the longest first, so that no worker is left with one at the end."""

NEEDS_TORCH = re.compile(r"importorskip\(\s*\"torch\"")

NEEDS_TORCH_AT_ALL = re.compile(rf"^\S.*{NEEDS_TORCH.pattern}", flags=re.M)
"""The whole file, that is: the call is not indented."""

SHARED = pathlib.Path(
  os.environ.get("FSKD_SHARED", pathlib.Path(__file__).parents[2] / "shared")
)


def pytest_collection_modifyitems(items):
  """Brings the long files to the front; `make test` keeps this order. Adds markers.

  Broadcasts must be written out from here on.
  """
  import jax

  jax.config.update("jax_numpy_rank_promotion", "raise")
  last = len(LONG)
  rank = {name: number for number, name in enumerate(LONG)}
  items.sort(key=lambda item: rank.get(item.path.stem, last))
  for item in items:
    for name in _markers(item):
      item.add_marker(name)


def pytest_collection_finish():
  """Spares the collector what all imports left: seconds each time it is asked."""
  gc.freeze()


def pytest_runtest_teardown(item, nextitem):
  """Spares it what a file leaves, too: compiled programs, mostly."""
  if nextitem is None or nextitem.path != item.path:
    gc.collect()
    gc.freeze()


def _markers(item: pytest.Function) -> Iterator[str]:
  """Yields the markers of pyproject.toml that follow from what a test is and uses."""
  if item.path.parent.name == "runs":
    yield "runs"
  if item.path.stem == "browser_test":
    yield "browser"
  if "trained" in item.fixturenames:
    yield "slow"
  if {"golden", "golden_transpose", "photographs", "field"}.intersection(
    item.fixturenames
  ):
    yield "shared"
  if _needs_torch(item.function, item.module):
    yield "torch"


@functools.cache
def _needs_torch(function, module) -> bool:
  """Whether a test asks for PyTorch, or its whole file does: once for all its cases."""
  text = _source(module)
  return bool(
    "torch" in text
    and (
      NEEDS_TORCH_AT_ALL.search(text) or NEEDS_TORCH.search(inspect.getsource(function))
    )
  )


_source = functools.cache(inspect.getsource)


def _require(path: pathlib.Path) -> pathlib.Path:
  if not path.exists():
    pytest.skip(f"no {path}: it is not in the repository; FSKD_SHARED names its folder")
  return path


@pytest.fixture(autouse=True)
def nothing_kept_of_what_is_patched(request):
  """Programs and tables that `keeping` keeps know nothing of patched constants."""
  from fskd_jax.config import keeping

  is_patching = "monkeypatch" in request.fixturenames
  if is_patching:
    keeping.forget()
  yield
  if is_patching:
    keeping.forget()


@pytest.fixture(scope="session")
def golden():
  """Outputs of the authors' own PyTorch code (shared/golden)."""
  return np.load(_require(SHARED / "golden" / "golden_fskd.npz"))


@pytest.fixture(scope="session")
def golden_transpose():
  """Outputs of the original TransPose, by family "r" and "h" (shared/golden)."""
  folder = _require(SHARED / "golden")
  return {name: np.load(folder / f"golden_transpose_{name}_a4.npz") for name in "rh"}


@pytest.fixture(scope="session")
def photographs():
  """Folder of real photographs with keypoints (shared/data)."""
  return _require(SHARED / "data")


@pytest.fixture(scope="session")
def field():
  """Folder of labels as other people's tools wrote them, made small (shared/field)."""
  return _require(SHARED / "field")


@pytest.fixture(scope="session")
def shapes_folder(tmp_path_factory):
  """A small COCO folder, see `shapes`."""
  from helpers import shapes

  return shapes.write_folder(tmp_path_factory.mktemp("shapes") / "data")


@pytest.fixture(scope="session")
def trained(shapes_folder, tmp_path_factory):
  """A run that nothing interrupted: (configuration, workdir, final state)."""
  import jax
  from helpers import shapes

  from fskd_jax import experiment

  cfg, workdir = shapes.config(shapes_folder), tmp_path_factory.mktemp("trained")
  return cfg, workdir, jax.device_get(experiment.train(cfg, workdir))


@pytest.fixture(scope="session")
def bucket_ports():
  """Ports of servers of S3 and of Google's storage, by scheme."""
  for library in ("moto", "gcp_storage_emulator", "s3fs", "gcsfs"):
    pytest.importorskip(library, reason=f"no {library}: the extra [buckets] has it")
  with bucket_servers.amazon() as s3, bucket_servers.google("store") as gs:
    yield {"s3": s3, "gs": gs}


@pytest.fixture
def store(request, bucket_ports, tmp_path, monkeypatch):
  """(scheme, proxy) of an empty bucket "store", on S3 unless parametrized."""
  import fsspec

  scheme = getattr(request, "param", "s3")
  proxy = bucket_servers.Faults(bucket_ports[scheme])
  monkeypatch.setenv("FSKD_BUCKETS", str(tmp_path / "copies"))
  monkeypatch.setenv("AWS_ACCESS_KEY_ID", "anybody")
  monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
  monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
  monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
  fsspec.get_filesystem_class(scheme).clear_instance_cache()
  files = fsspec.filesystem(scheme, use_listings_cache=False)
  if scheme == "s3" and not files.exists("store"):
    files.mkdir("store")
  for key in files.find("store"):
    files.rm_file(key)
  yield scheme, proxy
  proxy.shutdown()
  proxy.server_close()
  fsspec.get_filesystem_class(scheme).clear_instance_cache()
