"""docs/quickstart.ipynb runs from top to bottom, with a small detector."""

import pytest
from helpers.paths import ROOT

from fskd_jax.cli import main

nbformat = pytest.importorskip("nbformat", reason="notebooks need nbclient")
nbclient = pytest.importorskip("nbclient", reason="notebooks need nbclient")


def test_quickstart_runs_as_in_a_fresh_clone(trained, tmp_path, monkeypatch):
  start = str(tmp_path / "start.safetensors")
  assert main.main(["export", "--workdir", str(trained[1]), "--out", start]) == 0
  clone = tmp_path / "clone"
  (clone / "docs").mkdir(parents=True)
  monkeypatch.setenv("FSKD_NOTEBOOK_START", start)
  monkeypatch.setenv("FSKD_NOTEBOOK_MINUTES", "0.01")
  notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", as_version=4)
  assert not any(cell.get("outputs") for cell in notebook.cells)
  client = nbclient.NotebookClient(
    notebook, timeout=600, resources={"metadata": {"path": str(clone / "docs")}}
  )
  client.execute()
  pictures = [
    cell
    for cell in notebook.cells
    for output in cell.get("outputs", [])
    if "image/png" in output.get("data", {})
  ]
  assert len(pictures) == 3  # before training, heat-maps, after training
  text = str([cell.get("outputs") for cell in notebook.cells])
  assert "PCK@0.1 on images not trained on" in text and "before training" in text
  # Everything it made lies beside docs/, where a clone expects it.
  assert {path.name for path in clone.iterdir()} == {"docs", "runs"}
