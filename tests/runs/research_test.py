"""docs/research.md: its snippets run in order, as a reader would paste them."""

import re

from helpers.paths import ROOT


def test_the_snippets_run(monkeypatch):
  monkeypatch.chdir(ROOT)  # the configuration files are looked for there
  page = (ROOT / "docs" / "research.md").read_text(encoding="utf-8")
  snippets = re.findall(r"^```python\n(.*?)^```$", page, flags=re.M | re.S)
  assert len(snippets) == page.count("```python") >= 9
  place = {}
  for number, snippet in enumerate(snippets, 1):
    exec(compile(snippet, f"<snippet {number} of research.md>", "exec"), place)
