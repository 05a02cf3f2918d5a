"""What README.md, docs/ and configs/ say is so; what code cites of docs/ exists."""

import argparse
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from absl import flags
from helpers.paths import ROOT
from ml_collections import config_flags

from fskd_jax.cli import main
from fskd_jax.training.runs import load_config

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
CONFIGS = sorted((ROOT / "configs").glob("*.py"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
  "optional-dependencies"
]


def _name(path):
  return path.relative_to(ROOT).as_posix()


def _code(path):
  """Returns the code blocks of a page and the commands in the cells of its tables.

  Of a configuration it is the docstring.
  """
  text = path.read_text(encoding="utf-8")
  if path.suffix == ".py":
    return text.split('"""')[1]
  blocks = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.M | re.S)
  return "\n".join(
    blocks + re.findall(r"\| `((?:fskd|python) [^`]*)` \|$", text, flags=re.M)
  )


def commands(path):
  """Returns the commands of a page, as lists of words, without the folder of bin."""
  lines = re.sub(r"\\\n", " ", _code(path)).splitlines()
  lines = [re.sub(r"\$\(\(.*?\)\)", "8", line) for line in lines]  # shell arithmetic
  found = [shlex.split(line, comments=True) for line in lines if _is_command(line)]
  return [[words[0].removeprefix(".venv/bin/"), *words[1:]] for words in found]


def _is_command(line):
  starts = r"\s*(\.venv/bin/)?(fskd|make|pip|python) "
  return re.match(starts, line.split("  # ")[0] + " ") is not None


def _of(program, *start):
  """Returns (page, arguments) of all commands that start so."""
  words = (program, *start)
  return [
    pytest.param(command[len(words) :], id=f"{_name(path)}: {' '.join(command)[:60]}")
    for path in (*PAGES, *CONFIGS)
    for command in commands(path)
    if tuple(command[: len(words)]) == words
  ]


class _Parsed(BaseException):
  """Ends a command when its arguments have been parsed."""


@pytest.mark.slow
@pytest.mark.parametrize("arguments", _of("fskd"))
def test_commands_of_fskd_parse(arguments, monkeypatch):
  parse = argparse.ArgumentParser.parse_args

  def parse_and_stop(self, args=None, namespace=None):
    parse(self, args, namespace)
    raise _Parsed

  monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
  with pytest.raises(_Parsed):
    main.main(arguments)


def _check_program(program, arguments):
  """Checks names of flags, and names and types of the fields they change."""
  source = (ROOT / program).read_text()
  source += (ROOT / "fskd_jax" / "cli" / "launch.py").read_text()
  known = set(re.findall(r'\.DEFINE_\w+\(\s*"(\w+)"', source)) | {"config"}
  assert all(word.startswith("--") for word in arguments)
  values = dict(word.removeprefix("--").partition("=")[::2] for word in arguments)
  assert {name.split(".")[0] for name in values} <= known
  changes = [word for word in arguments if word.startswith("--config.")]
  parsed = flags.FlagValues()
  cfg = load_config(str(ROOT / "configs" / "quickstart.py"))
  command = [program, *changes]
  config_flags.DEFINE_config_dataclass(
    "config", cfg, flag_values=parsed, sys_argv=command
  )
  parsed(command)
  return values


@pytest.mark.parametrize("arguments", _of("python", "train.py"))
def test_commands_of_train_parse(arguments):
  values = _check_program("train.py", arguments)
  assert values["workdir"]
  assert (ROOT / values["config"].partition(":")[0]).is_file()


@pytest.mark.parametrize("arguments", _of("python", "evaluate.py"))
def test_commands_of_evaluate_parse(arguments):
  values = _check_program("evaluate.py", arguments)
  assert values["workdir"] and "config" not in values


@pytest.mark.parametrize("arguments", _of("make"))
def test_targets_of_make_exist(arguments):
  targets = [word for word in arguments if "=" not in word]
  subprocess.run(["make", "--dry-run", *targets], cwd=ROOT, check=True)


@pytest.mark.slow
def test_modules_that_are_run_exist():
  programs = {arguments.values[0][0] for arguments in _of("python", "-m")}
  assert programs
  imports = [f"import {program}" for program in sorted(programs)]
  subprocess.run([sys.executable, "-c", "\n".join(imports)], cwd=ROOT, check=True)


def _text_files():
  folders = [ROOT / "fskd_jax", ROOT / "configs", ROOT / "docs"]
  files = [path for folder in folders for path in sorted(folder.rglob("*"))]
  return [*PAGES[:1], *(p for p in files if p.suffix in (".py", ".md", ".ipynb"))]


def test_what_is_installed_by_name_can_be_installed():
  """The package is on no index: its extras come from the clone alone."""
  seen = set()
  for path in _text_files():
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"fskd[-_]jax\[", text), _name(path)
    seen.update(re.findall(r"-e '\.\[([\w,]+)\]'", text))
  assert seen and {extra for names in seen for extra in names.split(",")} <= set(EXTRAS)


def _prose(page):
  """Returns a page without its blocks of code."""
  text = page.read_text(encoding="utf-8")
  return re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)


def _anchors(page):
  """Returns the anchors of a page's headings, as GitHub makes them."""
  heads = re.findall(r"^#+ (.*)$", _prose(page), flags=re.M)
  return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page):
  text = _prose(page)
  links = re.findall(r"\]\(([^)\s]+)\)", text)
  for link in links:
    if "://" in link:
      continue
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    assert target.exists(), f"{_name(page)}: {link}"
    if anchor:
      assert anchor in _anchors(target), f"{_name(page)}: {link}"


def test_readme_leads_to_every_page():
  text = (ROOT / "README.md").read_text(encoding="utf-8")
  pages = [*PAGES, *(ROOT / "docs").glob("*.ipynb")]
  missing = [_name(page) for page in pages if f"]({_name(page)}" not in text]
  assert missing == ["README.md"]


def _modules():
  folders = (ROOT / name for name in ("fskd_jax", "configs", "benchmarks", "tests"))
  return [*ROOT.glob("*.py"), *(path for f in folders for path in f.rglob("*.py"))]


@pytest.mark.parametrize("page", ("algorithm.md", "transpose.md", "data.md"))
def test_sections_that_code_cites_exist(page):
  """Those of other pages are covered, too; these must be cited at all."""
  pages = {path.name: _anchors(path) for path in PAGES}
  cited = set()
  for path in _modules():
    text = path.read_text(encoding="utf-8")
    for name, anchor in re.findall(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?", text):
      assert name in pages, f"{_name(path)}: docs/{name}"
      known = not anchor or anchor in pages[name]
      assert known, f"{_name(path)}: docs/{name}#{anchor}"
      cited.add((name, bool(anchor)))
  assert (page, True) in cited


def test_nothing_cites_papers_that_are_not_here():
  """Working papers stay outside the repository; docs/ holds what they say."""
  outside = re.compile(
    r"spec/\w+\.md|\b[Ss]pec\s+sections?\s+\d|\bdesign\.md\b"
    r"|shared/(?:spec|design|data/README)"
  )
  for path in [*_modules(), *_text_files()]:
    found = outside.search(path.read_text(encoding="utf-8"))
    assert not found, f"{_name(path)}: {found[0]}"


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_modules_that_pages_name_exist(page):
  """`data/feed.py`, from the root or the package, or with `Feed.open` behind it."""
  text = page.read_text(encoding="utf-8")
  for path, names in re.findall(r"`([\w/]+/\w+\.py)`(?: `([\w.]+)`)?", text):
    places = [base / path for base in (ROOT, ROOT / "fskd_jax")]
    found = [place for place in places if place.is_file()]
    assert found, f"{_name(page)}: {path}"
    source = found[0].read_text(encoding="utf-8")
    for name in names.split(".") if names and not names.endswith(".py") else ():
      defined = rf"^\s*(def|class) {name}\b"
      assert re.search(defined, source, flags=re.M), f"{_name(page)}: {path} {name}"
