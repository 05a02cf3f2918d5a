"""Writes a run's report as one HTML page, and its model card as Markdown."""

import base64
import html
import pathlib
from collections.abc import Iterator

from fskd_jax.analysis.run_report import tables
from fskd_jax.analysis.run_report.collect import RunContent
from fskd_jax.analysis.run_report.tables import Table
from fskd_jax.files import encode_picture
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.training.writer import METRICS_FILE

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; color: #222; background: #fff; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 0.88rem; }
td, th { border-bottom: 1px solid #ddd; padding: 0.15rem 0.7rem 0.15rem 0;
  text-align: left; vertical-align: top; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; } pre { overflow-x: auto; font-size: 0.8rem; }
summary { cursor: pointer; margin: 0.5rem 0; }
"""

PICTURES = {
  "calibration.png": "Calibration",
  "episodes.png": "Worst, typical and best episodes: dots are predictions, rings truth",
}
"""Pictures of an evaluation that a report shows, with their titles."""

_NO_EVALUATION = "This run has not been evaluated: `python evaluate.py --workdir=RUN`."


def page(run: RunContent) -> str:
  """Returns the report as one HTML page without references to other files."""
  title = f"{run.cfg.name}, step {run.step:,}"
  return (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width">'
    f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>"
    f"<h1>{html.escape(title)}</h1>\n" + "\n".join(_parts(run)) + "\n</body></html>\n"
  )


def card(run: RunContent) -> str:
  """Returns a model card in Markdown: facts, data, scores, and what is not known."""
  found = [tables.facts(run), tables.machines(run), tables.sources(run)]
  scores = tables.scores(run)
  parts = [f"# {run.cfg.name}", *map(_markdown, found)]
  parts.append(_markdown(scores) if scores else _NO_EVALUATION)
  parts.append(
    "## Limits\n\nThe intervals cover the episodes of these data sets; they do not "
    "extend to other kinds of images. Check the licences of the data and of the "
    "weights before you pass this detector on."
  )
  return "\n\n".join(parts) + "\n"


def _parts(run: RunContent) -> Iterator[str]:
  yield _table(tables.facts(run))
  yield _table(tables.machines(run))
  yield _table(tables.sources(run))
  if any("train/loss" in line for line in run.lines):
    figure = draw_curves({run.cfg.name: run.workdir / METRICS_FILE})
    yield "<h2>Curves</h2>" + _image(
      encode_picture(figure), "training and validation curves"
    )
  scores = tables.scores(run)
  if scores:
    yield _table(scores)
  if run.results is None:
    yield f"<p>{html.escape(_NO_EVALUATION)}</p>"
  yield from _evaluation(run.workdir / "eval", shows_text=scores is None)
  for group in tables.groups(run):
    yield _table(group, folded=True)
  yield _table(tables.configuration(run), folded=True)


def _evaluation(folder: pathlib.Path, *, shows_text: bool) -> Iterator[str]:
  text = folder / "table.txt"
  if shows_text and text.is_file():
    yield f"<h2>Scores</h2><pre>{html.escape(text.read_text(encoding='utf-8'))}</pre>"
  for name, title in PICTURES.items():
    path = folder / name
    if path.is_file():
      yield f"<h2>{title}</h2>" + _image(path.read_bytes(), title)


def _table(table: Table, *, folded: bool = False) -> str:
  def row(cells: tuple[str, ...], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(x)}</{tag}>" for x in cells) + "</tr>"

  head = row(table.head, "th") if any(table.head) else ""
  rows = "".join(row(cells, "td") for cells in table.rows)
  title, body = html.escape(table.title), f"<table>{head}{rows}</table>"
  if folded:
    return f"<details><summary>{title}</summary>{body}</details>"
  return f"<h2>{title}</h2>{body}"


def _markdown(table: Table) -> str:
  lines = [table.head, ("---",) * len(table.head), *table.rows]
  cells = (" | ".join(x.replace("|", "\\|") for x in line) for line in lines)
  return f"## {table.title}\n\n" + "\n".join(f"| {line} |" for line in cells)


def _image(content: bytes, text: str) -> str:
  code = base64.b64encode(content).decode()
  return f'<img alt="{html.escape(text)}" src="data:image/png;base64,{code}">'
