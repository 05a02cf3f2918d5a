"""docs/parts.ipynb and docs/research.md: their code runs, in order, as it is."""

import json
import re

from helpers.paths import ROOT

from fskd_jax.analysis.sweep import plan
from fskd_jax.config.encoders import ENCODERS
from fskd_jax.models.encoder import BUILDERS

DOCS = ROOT / "docs"


def test_the_cells_run(monkeypatch):
  monkeypatch.chdir(DOCS)  # as Jupyter does
  notebook = json.loads((DOCS / "parts.ipynb").read_text(encoding="utf-8"))
  cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
  assert len(cells) >= 12 and not any(cell["outputs"] for cell in cells)
  place = {}
  for number, cell in enumerate(cells, 1):
    code = compile("".join(cell["source"]), f"<cell {number} of parts.ipynb>", "exec")
    exec(code, place)


def test_the_blocks_run(monkeypatch, tmp_path):
  (tmp_path / "configs").symlink_to(ROOT / "configs")
  monkeypatch.chdir(tmp_path)  # runs/ is written here
  for table in (ENCODERS, BUILDERS):
    monkeypatch.setitem(table, "mine", None)  # and taken out afterwards
  text = (DOCS / "research.md").read_text(encoding="utf-8")
  blocks = re.findall(r"```python\n(.+?)```", text, re.S)
  assert len(blocks) == 7
  place = {}
  for number, block in enumerate(blocks, 1):
    assert len(block.splitlines()) <= 30  # as the page promises: the shortest code
    exec(compile(block, f"<block {number} of research.md>", "exec"), place)
  assert place["several"].shape == (4, 5, *place["several"].shape[2:])
  assert place["slope"].shape == (5, 2) and abs(place["slope"]).max() > 0
  found = place["results"]["settings"]["unseen/novel"]
  assert found["episodes"] == 10
  saved = (tmp_path / "runs" / "mine" / "metrics.jsonl").read_text()
  assert "train/distance" in saved and "loss_main" not in saved  # the loss of the page
  assert len([*plan.jobs(place["get_sweep"]())]) == 2 * 2 * 3
