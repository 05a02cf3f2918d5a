"""docs/quickstart.ipynb runs from top to bottom, made short."""

import shutil

import pytest
from helpers.paths import ROOT

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient")


def test_quickstart_runs_as_in_a_fresh_clone(tmp_path, monkeypatch):
  (tmp_path / "docs").mkdir()
  shutil.copytree(ROOT / "configs", tmp_path / "configs")
  monkeypatch.setenv("FSKD_NOTEBOOK_STEPS", "12")
  monkeypatch.setenv("FSKD_NOTEBOOK_IMAGES", "6")
  notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
  assert not any(cell.get("outputs") for cell in notebook.cells)
  client = nbclient.NotebookClient(
    notebook, timeout=600, resources={"metadata": {"path": str(tmp_path / "docs")}}
  )
  client.execute()
  pictures = [
    cell
    for cell in notebook.cells
    for output in cell.get("outputs", [])
    if "image/png" in output.get("data", {})
  ]
  assert len(pictures) == 4  # an episode, curves, a prediction, heat-maps
  text = str([cell.get("outputs") for cell in notebook.cells])
  assert "untrained" in text and "unseen/novel" in text
  # Everything it made lies beside docs/, where a clone expects it.
  made = {path.name for path in tmp_path.iterdir()}
  assert made == {"docs", "configs", "runs", "data_cache"}
