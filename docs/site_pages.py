"""Pages of the site that are no Markdown files in docs/ (see mkdocs.yml)."""

import json
import pathlib
import re

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = pathlib.Path(__file__).parents[1]

PAGES = {
  "index.md": "README.md",
  "changelog.md": "CHANGELOG.md",
  "contributing.md": "CONTRIBUTING.md",
}
"""Pages whose files lie at the top of the repository."""

LINK = re.compile(r"\]\(([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
  """Adds `PAGES`, notebooks, the API of the navigation, and linked files."""
  for page, name in PAGES.items():
    text = (ROOT / name).read_text(encoding="utf-8")
    files.append(File.generated(config, page, content=_as_in_docs(text)))
  for path in (ROOT / "docs").glob("*.ipynb"):
    text = _cells(path)
    files.append(File.generated(config, f"{path.stem}.md", content=text))
  for page in re.findall(r"api/[\w.]+\.md", str(config.nav)):
    module = page.removeprefix("api/").removesuffix(".md")
    files.append(File.generated(config, page, content=_reference(module)))
  for name in sorted({name for file in files for name in _outside(file)}):
    path = ROOT / name
    if not path.is_file():
      raise PluginError(f"a page links to {name}, which does not exist")
    files.append(File.generated(config, f"source/{name}", abs_src_path=str(path)))
  return files


def on_page_markdown(markdown: str, page: Page, **_) -> str:
  """Leads links out of docs/ to the copies of their files, and notebooks to pages."""
  markdown = re.sub(r"\]\(([\w-]+)\.ipynb\)", r"](\1.md)", markdown)
  return markdown.replace("](../", "](source/")


def _cells(path: pathlib.Path) -> str:
  """Returns a notebook as a page."""
  cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
  frames = {"markdown": "{}", "code": "```python\n{}\n```"}
  return "\n\n".join(
    frames[cell["cell_type"]].format("".join(cell["source"])) for cell in cells
  )


def _as_in_docs(text: str) -> str:
  """Rewrites the links of a page at the top as those of a page in docs/."""
  tops = {name: page for page, name in PAGES.items()}

  def rewritten(match: re.Match) -> str:
    target = match[1]
    if ":" in target:
      return match[0]
    inside = tops.get(target) or target.removeprefix("docs/")
    return f"]({inside if inside != target else f'../{target}'}"

  return LINK.sub(rewritten, text)


def _reference(module: str) -> str:
  """Returns the page of a module; that of the package has the public names."""
  if module == "fskd_jax":
    options = "    options:\n      show_submodules: false\n"
    return f"# Public names\n\n::: fskd_jax\n{options}"
  return f"# {module}\n\n::: fskd_jax.{module}\n"


def _outside(file: File) -> list[str]:
  """Returns the files outside docs/ that a page links to, from the root."""
  if not file.is_documentation_page():
    return []
  links = LINK.findall(file.content_string)
  return [link.removeprefix("../") for link in links if link.startswith("../")]
