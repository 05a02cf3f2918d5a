"""Components of the page, and their actions on a `state.Page`."""

import functools
import html
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import gradio as gr  # pyright: ignore[reportMissingImports]: an extra
from PIL import Image

from fskd_jax.demo import drawing, pictures, state
from fskd_jax.demo.examples import Example
from fskd_jax.demo.files import PageFiles, remove_old_uploads
from fskd_jax.demo.state import Page, Role
from fskd_jax.files import write_json, write_picture
from fskd_jax.prediction.detector import KeypointDetector

KEYPOINT, BOX = "keypoint", "box (two corners)"
"""Marks that a click on a support picture can place."""

_LEAST = 0.5
"""Initial value of the least confidence."""

THEME = gr.themes.Soft(
  primary_hue="blue",
  spacing_size="sm",
  text_size="sm",
  font=["system-ui", "sans-serif"],
  font_mono=["ui-monospace", "monospace"],
)

CSS = """
.fskd-types, .fskd-table {padding: 0 4px}
.fskd-types {display: flex; flex-wrap: wrap; gap: 2px 14px; min-height: 24px}
.fskd-dot {display: inline-block; width: 11px; height: 11px; border-radius: 50%;
  border: 1px solid #0006; vertical-align: -1px}
.fskd-error {color: #b91c1c; font-weight: 600; margin: 4px 0}
.dark .fskd-error {color: #fca5a5}
.fskd-hint {opacity: .7; margin: 4px 0}
.fskd-table {display: grid; gap: 2px 24px;
  grid-template-columns: repeat(auto-fill, minmax(230px, 1fr));
  max-height: 190px; overflow-y: auto}
.fskd-found {display: grid; align-items: center;
  grid-template-columns: 16px 1fr 40px 70px}
.fskd-found span:nth-of-type(3) {text-align: right; font-variant-numeric: tabular-nums}
.fskd-found i {height: 8px; border-radius: 4px; margin-left: 8px; min-width: 1px}
.fskd-picture img {cursor: crosshair}
"""


class DemoPage:
  """A page for one detector; every visitor has a `state.Page` of their own."""

  def __init__(
    self,
    detector: KeypointDetector,
    example: Callable[[int], Example] | None,
    folder: pathlib.Path,
  ):
    """Prepares a page.

    Args:
      detector: The detector that finds the keypoints.
      example: A function from a number to an example, or None.
      folder: The folder for the files that the page shows or offers.
    """
    self._detector, self._example, self._folder = detector, example, folder
    self._numbers = itertools.count()

  def build(self) -> gr.Blocks:
    """Lays out the page and connects its components."""
    name = self._detector.config.name
    with gr.Blocks(
      title=f"fskd demo: {name}", analytics_enabled=False, fill_width=True
    ) as blocks:
      gr.Markdown(
        f"## fskd demo · {name}\nMark any keypoints on one or more pictures; the "
        "detector finds them in others."
      )
      self._page = gr.State(Page())
      self._files = gr.State(
        PageFiles(self._folder), delete_callback=lambda files: files.remove()
      )
      with gr.Row(equal_height=False):
        with gr.Column(min_width=400):
          self._lay_out_support()
        with gr.Column(min_width=400):
          self._lay_out_query()
      self._connect()
    return blocks

  def _lay_out_support(self) -> None:
    gr.Markdown("### 1 · Support: click to mark keypoints")
    with gr.Row():
      self._add_support = _upload("Add pictures", "add_support")
      self._take_example = gr.Button(
        "Take an example", visible=self._example is not None, elem_id="example"
      )
    self._support_list = _picture_list("support_list")
    self._support = _picture("support")
    self._support_legend = gr.HTML(
      drawing.support_legend(Page()), elem_id="support_legend"
    )
    with gr.Row():
      self._name = gr.Textbox(
        "keypoint 1", label="Name of the next keypoint", elem_id="name"
      )
      self._tool = gr.Radio(
        [KEYPOINT, BOX], value=KEYPOINT, label="A click places a", elem_id="tool"
      )
    with gr.Row():
      self._skip = _button("Not visible here: next name", "skip")
      self._undo = _button("Undo", "undo")
    with gr.Row():
      self._clear_support = _button("Clear marks", "clear_support")
      self._remove_support = _button("Remove picture", "remove_support")
      self._marks = _download("Save marks (JSON)", "marks")

  def _lay_out_query(self) -> None:
    gr.Markdown("### 2 · Query: find the keypoints (two clicks draw a box)")
    with gr.Row():
      self._add_query = _upload("Add pictures", "add_query")
      self._find = gr.Button("Find keypoints", variant="primary", elem_id="find")
    self._message = gr.HTML(elem_id="message")
    self._query_list = _picture_list("query_list")
    self._query = _picture("query")
    self._query_legend = gr.HTML(
      drawing.query_legend(Page(), _LEAST), elem_id="query_legend"
    )
    self._least = gr.Slider(
      0,
      1,
      _LEAST,
      step=0.01,
      label="Least confidence: keypoints below it are rings",
      elem_id="least",
    )
    self._least.preprocess = _confidence
    with gr.Row():
      self._clear_query = _button("Clear box", "clear_query")
      self._remove_query = _button("Remove picture", "remove_query")
      self._results = _download("Download predictions (JSON)", "results")

  def _connect(self) -> None:
    add, choose = _with_role(self._add, "support"), _with_role(state.show, "support")
    self._on(self._add_support.upload, add, self._add_support)
    self._on(self._support_list.input, choose, self._support_list)
    add, choose = _with_role(self._add, "query"), _with_role(state.show, "query")
    self._on(self._add_query.upload, add, self._add_query)
    self._on(self._query_list.input, choose, self._query_list)
    self._on(self._take_example.click, self._add_example)
    self._on(self._undo.click, state.undo)
    self._on(self._clear_support.click, _with_role(state.clear, "support"))
    self._on(self._clear_query.click, _with_role(state.clear, "query"))
    self._on(self._remove_support.click, _with_role(state.remove, "support"))
    self._on(self._remove_query.click, _with_role(state.remove, "query"))
    self._on(
      self._find.click, functools.partial(state.predict, detector=self._detector)
    )
    self._on(self._least.release, lambda page: page)
    self._skip.click(state.next_name, [self._page, self._name], self._name)

    def mark(
      page: Page,
      files: PageFiles,
      least: float,
      name: str,
      tool: str,
      event: gr.SelectData,
    ) -> list[Any]:
      def change(page: Page) -> Page:
        picture = page.support.current
        if picture is None:
          return page
        point = drawing.to_image(event.index, picture)
        if tool == BOX:
          return state.place_corner(page, "support", point)
        return state.place_keypoint(page, str(name), point)

      return self._changed(page, files, least, change)

    def corner(
      page: Page, files: PageFiles, least: float, event: gr.SelectData
    ) -> list[Any]:
      def change(page: Page) -> Page:
        picture = page.query.current
        if picture is None:
          return page
        return state.place_corner(page, "query", drawing.to_image(event.index, picture))

      return self._changed(page, files, least, change)

    self._listen(self._support.select, mark, [self._name, self._tool])
    self._listen(self._query.select, corner, [])

  def _on(
    self, event: Callable, change: Callable[..., Page], *inputs: Any, **options: str
  ) -> None:
    """Makes an event change the page by `change(page, *values of the inputs)`."""

    def handle(page: Page, files: PageFiles, least: float, *values: Any) -> list[Any]:
      return self._changed(page, files, least, lambda page: change(page, *values))

    self._listen(event, handle, inputs, **options)

  def _listen(
    self,
    event: Callable,
    handle: Callable,
    inputs: Iterable[Any],
    show_progress: str = "hidden",
  ) -> None:
    event(
      handle,
      [self._page, self._files, self._least, *inputs],
      [
        self._page,
        self._support_list,
        self._support,
        self._support_legend,
        self._name,
        self._marks,
        self._query_list,
        self._query,
        self._query_legend,
        self._results,
        self._message,
      ],
      # Quick clicks all count, in their order.
      trigger_mode="multiple",
      concurrency_id="page",
      concurrency_limit=1,
      show_progress=show_progress,
      show_progress_on=self._query,
      api_visibility="private",
    )

  def _changed(
    self,
    page: Page,
    files: PageFiles,
    least: float,
    change: Callable[[Page], Page],
  ) -> list[Any]:
    """Returns the components' values after a change, in the order of `_listen`."""
    remove_old_uploads(self._folder)
    try:
      after = state.bounded(change(page))
    except (ValueError, OSError) as error:
      return [page, *[gr.skip()] * 9, drawing.message(str(error))]
    support = [gr.skip()] * 5
    if after.support is not page.support or after.corner != page.corner:
      support = [
        _choices(after, "support"),
        _drawn(drawing.draw_support(after), files, "support.jpeg"),
        drawing.support_legend(after),
        state.next_name(after),
        _offer(_write_marks(after, files) if state.names(after) else None),
      ]
    results = None
    if after.prediction is not None:
      folder = files.new("predictions.json").parent
      results = state.write_prediction(after, least, folder)
    return [
      after,
      *support,
      _choices(after, "query"),
      _drawn(drawing.draw_query(after, least), files, "query.jpeg"),
      drawing.query_legend(after, least),
      _offer(results),
      drawing.message(""),
    ]

  def _add(self, page: Page, role: Role, files: Sequence[str]) -> Page:
    """Adds the files that are pictures; a note names the others."""

    def read() -> Iterator[pictures.Picture]:
      for path in map(pathlib.Path, files):
        try:
          yield pictures.read(path)
        except ValueError as error:
          gr.Warning(html.escape(str(error)))

    return state.add(page, role, read())

  def _add_example(self, page: Page) -> Page:
    """Replaces the page by the next example, with its support already marked."""
    if self._example is None:
      return page
    support, queries = self._example(next(self._numbers))
    fresh = state.add(state.add(Page(), "support", [support]), "query", queries)
    return fresh._replace(before=page)


def _confidence(value: Any) -> float:
  """Returns the value of the slider, whose field is None if the user empties it."""
  is_sensible = isinstance(value, (int, float)) and 0 <= value <= 1
  return value if is_sensible else _LEAST


def _write_marks(page: Page, files: PageFiles) -> pathlib.Path:
  path = files.new("marks.json")
  write_json(path, state.marks(page), indent=None)
  return path


def _drawn(
  image: Image.Image | None, files: PageFiles, name: str
) -> pathlib.Path | None:
  """Saves a drawing to a file that the page may load."""
  if image is None:
    return None
  path = files.new(name)
  write_picture(path, image, quality=90)
  return path


def _offer(path: pathlib.Path | None) -> Any:
  return gr.DownloadButton(value=path, interactive=path is not None)


def _with_role(change: Callable[..., Page], role: Role) -> Callable[..., Page]:
  return lambda page, *values: change(page, role, *values)


def _choices(page: Page, role: Role) -> Any:
  pictures, shown = page.support if role == "support" else page.query
  choices = [(f"{i + 1} · {p.name}", i) for i, p in enumerate(pictures)]
  return gr.Radio(
    choices=choices, value=shown if pictures else None, visible=len(pictures) > 1
  )


def _upload(label: str, name: str) -> gr.UploadButton:
  return gr.UploadButton(
    label, file_count="multiple", file_types=["image"], elem_id=name
  )


def _picture_list(name: str) -> gr.Radio:
  return gr.Radio([], show_label=False, container=False, visible=False, elem_id=name)


def _picture(name: str) -> gr.Image:
  return gr.Image(
    show_label=False,
    format="jpeg",
    interactive=False,
    buttons=[],
    height=430,
    elem_id=name,
    elem_classes="fskd-picture",
  )


def _button(label: str, name: str) -> gr.Button:
  return gr.Button(label, size="sm", elem_id=name)


def _download(label: str, name: str) -> gr.DownloadButton:
  return gr.DownloadButton(label, size="sm", interactive=False, elem_id=name)
