"""docs/research.ipynb: its cells run in order, in a process that has them all."""

import json

from helpers.paths import ROOT


def test_the_cells_run(monkeypatch):
  monkeypatch.chdir(ROOT / "docs")  # as Jupyter does
  notebook = json.loads((ROOT / "docs" / "research.ipynb").read_text(encoding="utf-8"))
  cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
  assert len(cells) >= 12 and not any(cell["outputs"] for cell in cells)
  place = {}
  for number, cell in enumerate(cells, 1):
    code = compile(
      "".join(cell["source"]), f"<cell {number} of research.ipynb>", "exec"
    )
    exec(code, place)
