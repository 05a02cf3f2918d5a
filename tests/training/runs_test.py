"""Configurations are named as train.py names them: a file, and what it takes."""

import shutil

import pytest
from helpers.paths import ROOT

from fskd_jax.training import runs

TRANSPOSE = str(ROOT / "configs" / "transpose.py")


@pytest.mark.parametrize("variant", ("tp_r_a3", "tp_h_a6"))
def test_a_variant_follows_a_colon(variant):
  assert runs.load_config(f"{TRANSPOSE}:{variant}").name == variant


def test_a_folder_with_a_colon_in_its_name_is_no_variant(tmp_path):
  (tmp_path / "a:b").mkdir()
  shutil.copy(ROOT / "configs" / "quickstart.py", tmp_path / "a:b" / "mine.py")
  assert runs.load_config(str(tmp_path / "a:b" / "mine.py")).name == "quickstart"


@pytest.mark.parametrize(
  "path, kind, message",
  (
    (f"{TRANSPOSE}:tp_x", ValueError, "variant 'tp_x': choose one of"),
    (str(ROOT / "configs" / "quickstart.py") + ":x", ValueError, "takes no variant"),
    ("nothere.py:x", FileNotFoundError, "no configuration file nothere.py;"),
    ("nothere.py", FileNotFoundError, "`fskd configs` copies"),
  ),
)
def test_what_is_wrong_is_named(path, kind, message):
  with pytest.raises(kind, match=message):
    runs.load_config(path)
