"""The page of `fskd demo` in a real browser, wide and narrow."""

import json
import shutil

import numpy as np
import pytest
from helpers.demo_page import png, served

from fskd_jax.data.labels import formats
from fskd_jax.demo import learning

playwright = pytest.importorskip(
  "playwright.sync_api", reason="no Playwright: make test-browser installs it"
)
CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
  pytest.skip("no chromium (apt-get install chromium)", allow_module_level=True)

FLAGS = (
  "--no-sandbox --disable-gpu --disable-quic --no-first-run "
  "--disable-background-networking --disable-component-update --disable-sync"
).split()
WIDTHS = (1280, 800), (390, 844)
SIZE = (60, 40)


@pytest.fixture(scope="module")
def browser():
  with playwright.sync_playwright() as started:
    browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield browser
    browser.close()


@pytest.fixture(scope="module", params=WIDTHS, ids=str)
def tab(request, browser):
  """An empty page; it fails if the browser asks another host or reports an error."""
  with served() as address:
    width, height = request.param
    context = browser.new_context(
      viewport={"width": width, "height": height}, accept_downloads=True
    )
    tab, wrong = context.new_page(), []
    tab.set_default_timeout(10_000)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on(
      "request",
      lambda asked: (
        asked.url.startswith((address, "blob:", "data:")) or wrong.append(asked.url)
      ),
    )
    tab.goto(address)
    tab.wait_for_selector("#format option", state="attached")
    yield tab
    context.close()
    assert not wrong


def _add(tab, *names):
  files = [
    {"name": name, "mimeType": "image/png", "buffer": png(SIZE, len(name) + i)}
    for i, name in enumerate(names)
  ]
  tab.set_input_files("#files", files)
  playwright.expect(tab.locator("#strip button")).to_have_count(len(names))


def _at(tab, x, y):
  """Where a point of the image, fitted to the canvas, is on it."""
  box = tab.locator("#canvas").bounding_box()
  scale = 0.98 * min(box["width"] / SIZE[0], box["height"] / SIZE[1])
  left = (box["width"] - SIZE[0] * scale) / 2
  top = (box["height"] - SIZE[1] * scale) / 2
  return {"x": left + (x + 0.5) * scale, "y": top + (y + 0.5) * scale}


def _click(tab, x, y):
  tab.click("#canvas", position=_at(tab, x, y))


def _drag(tab, start, end):
  tab.locator("#canvas").scroll_into_view_if_needed()
  corner = tab.locator("#canvas").bounding_box()
  for place, act in ((start, tab.mouse.down), (end, tab.mouse.up)):
    at = _at(tab, *place)
    tab.mouse.move(corner["x"] + at["x"], corner["y"] + at["y"], steps=3)
    act()


def _labels(tab, tmp_path):
  """Saves the labels as COCO, and returns keypoints and boxes by picture."""
  tab.select_option("#format", "coco")
  with tab.expect_download() as download:
    tab.click("#download")
  path = tmp_path / "labels.json"
  download.value.save_as(path)
  return {
    image.name: ({n: (*p[:2], p.confidence) for n, p in found.keypoints.items()}, found)
    for image in formats.read(path).images
    for found in image.objects
  }


def _near(found, x, y, atol=0.35):
  np.testing.assert_allclose(found[:2], (x, y), atol=atol)


def _list(tab):
  rows = tab.locator("#points li")
  return [row.replace("\n", "") for row in rows.all_inner_texts()]


def test_a_folder_is_labelled(tab, tmp_path):
  expect = playwright.expect
  expect(tab.get_by_text("Drop pictures here")).to_be_visible()
  for name in ("find", "find-all", "download"):
    expect(tab.locator(f"#{name}")).to_be_disabled()
  _add(tab, "a.png", "b.png", "c.png")
  tab.locator("#canvas[aria-label^=a]").wait_for()
  tab.wait_for_timeout(150)  # the picture decodes

  _click(tab, 10, 8)
  _click(tab, 50, 30)
  _click(tab, 30, 30)
  _click(tab, 3, 35)  # a slip
  tab.keyboard.press("Control+z")
  expect(tab.locator("#points li")).to_have_count(3)
  tab.locator("#points .choose").first.dblclick()
  tab.keyboard.type("nose")
  tab.keyboard.press("Enter")
  assert _list(tab)[0].startswith("nose")
  _drag(tab, (30, 30), (30, 20))
  tab.keyboard.press("2")
  tab.keyboard.press("Shift+ArrowLeft")
  tab.keyboard.press("h")
  tab.keyboard.press("b")
  _drag(tab, (2, 2), (57, 37))
  tab.keyboard.press("s")
  for place in ((10, 8), (30, 20)):
    _click(tab, *place)
  tab.keyboard.press("Escape")

  tab.keyboard.press("Shift+Enter")
  expect(tab.locator("#strip span").nth(2)).to_have_text("30 %")
  tab.keyboard.press("ArrowRight")
  expect(tab.locator("#hint")).to_contain_text("Least sure: point 3, 30 %")
  _drag(tab, (11, 9), (20, 9))
  tab.keyboard.press("a")
  expect(tab.locator("#strip span").nth(1)).to_have_text("✓")

  found = _labels(tab, tmp_path)
  points, marked = found["a.png"]
  _near(points["nose"], 10, 8)
  _near(points["point 2"], 49, 30)
  _near(points["point 3"], 30, 20)
  assert marked.keypoints["point 2"].occluded
  np.testing.assert_allclose(marked.box, (2.5, 2.5, 55, 35), atol=0.5)
  points, _ = found["b.png"]
  _near(points["nose"], 20, 9)
  _near(points["point 3"], 31, 21)
  assert {p[2] for p in points.values()} == {None}
  points, _ = found["c.png"]
  assert [p[2] for p in points.values()] == [0.9, 0.45, 0.3]
  category = json.loads((tmp_path / "labels.json").read_text())["categories"][0]
  assert category["skeleton"] == [[1, 3]]


def test_marks_outlive_a_reload_and_copies_are_corrected(tab, tmp_path):
  expect = playwright.expect
  tab.reload()
  expect(tab.locator("#strip button")).to_have_count(3)
  assert [row.partition("p")[0] for row in _list(tab)][0].startswith("nose")
  tab.locator("#strip button").nth(2).click()
  tab.click("#clear")
  tab.keyboard.press("c")
  expect(tab.locator("#hint")).to_contain_text("Copied")
  tab.keyboard.press("a")
  points, _ = _labels(tab, tmp_path)["c.png"]
  _near(points["nose"], 20, 9)
  tab.keyboard.press("Control+z")
  tab.keyboard.press("Control+z")
  expect(tab.locator("#points .state").first).not_to_have_text("✓")


def test_zoomed_clicks_mean_the_pixel_below(tab, tmp_path):
  tab.locator("#strip button").nth(2).click()
  tab.wait_for_timeout(150)
  tab.keyboard.press("1")
  tab.click("#fit")
  for _ in range(3):
    tab.click("#zoom-in")
  box = tab.locator("#canvas").bounding_box()
  tab.click("#canvas", position={"x": box["width"] / 2, "y": box["height"] / 2})
  points, _ = _labels(tab, tmp_path)["c.png"]
  _near(points["nose"], 29.5, 19.5, atol=0.2)


def test_suggested_pictures_are_shown_first(tab, monkeypatch):
  def suggest(finder, marked, among, is_whole, job):
    assert [picture.key for picture in among] == keys[3:] and not is_whole
    return {"next": keys[3:]}

  monkeypatch.setattr(learning, "suggest", suggest)
  monkeypatch.setattr(learning, "adapt", lambda *_: {"told": "adapted"})
  buffer = png(SIZE, 9)
  new = {"name": "new.png", "mimeType": "image/png", "buffer": buffer}
  tab.set_input_files("#files", [new])
  playwright.expect(tab.locator("#strip button")).to_have_count(4)
  images = tab.locator("#strip img").all()
  keys = [image.get_attribute("src").rpartition("/")[2] for image in images]
  tab.locator("#strip button").first.click()
  tab.click("#suggest")
  playwright.expect(tab.locator("#strip span").nth(3)).to_contain_text("★1")
  playwright.expect(tab.locator("#shown")).to_have_text("4 of 4: new.png")
  playwright.expect(tab.locator("#told")).to_contain_text("star")
  tab.click("#adapt")
  playwright.expect(tab.locator("#told")).to_have_text("adapted")


def test_errors_are_told_and_vanish(tab):
  error = tab.locator("#error")
  notes = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
  tab.set_input_files("#files", [notes])
  playwright.expect(error).to_contain_text("notes.png")
  tab.click("#find-all")
  playwright.expect(error).to_have_text("")


@pytest.mark.parametrize("event", ("drop", "paste"))
def test_pictures_are_dropped_and_pasted(tab, event):
  before = tab.locator("#strip button").count()
  carried = tab.evaluate_handle(
    """(bytes) => {
      const carried = new DataTransfer();
      const name = `${bytes.length}.png`, type = "image/png";
      carried.items.add(new File([new Uint8Array(bytes)], name, {type}));
      return carried;
    }""",
    [*png((40 + len(event), 30))],
  )
  name = "dataTransfer" if event == "drop" else "clipboardData"
  tab.evaluate(
    """([event, name, carried]) => {
      const type = event === "drop" ? DragEvent : ClipboardEvent;
      const made = new type(event, {[name]: carried, bubbles: true, cancelable: true});
      document.body.dispatchEvent(made);
    }""",
    [event, name, carried],
  )
  playwright.expect(tab.locator("#strip button")).to_have_count(before + 1)


def test_nothing_is_cut_off(tab):
  wide = tab.evaluate("() => document.documentElement.scrollWidth - innerWidth")
  assert wide <= 0
  small = tab.evaluate(
    """() => [...document.querySelectorAll("button, select, input")]
      .filter((x) => x.offsetParent && x.type !== "checkbox" && x.id !== "files")
      .filter((x) => x.offsetHeight < 24).map((x) => x.id)"""
  )
  assert small == []


@pytest.mark.slow
def test_labels_are_kept_in_a_file(browser, tmp_path):
  folder, labels = tmp_path / "frames", tmp_path / "labels.json"
  folder.mkdir()
  for name in ("a.png", "b.png"):
    (folder / name).write_bytes(png(SIZE))
  for attempt in range(2):
    with served(folder, labels) as address:
      tab = browser.new_page(viewport={"width": 1280, "height": 800})
      tab.goto(address)
      playwright.expect(tab.locator("#strip button")).to_have_count(2)
      if attempt:
        assert _list(tab)[0].startswith("point 1✓")
        break
      tab.wait_for_timeout(150)
      _click(tab, 30, 20)
      playwright.expect(tab.locator("#saved")).to_contain_text("labels.json is saved")
      tab.close()
  (image,) = formats.read(labels).images
  _near(image.objects[0].keypoints["point 1"], 30, 20)


@pytest.mark.slow
def test_a_second_tab_chooses_what_the_file_holds(browser, tmp_path):
  folder, labels = tmp_path / "frames", tmp_path / "labels.json"
  folder.mkdir()
  (folder / "a.png").write_bytes(png(SIZE))

  def place(path):
    return formats.read(path).images[0].objects[0].keypoints["point 1"]

  with served(folder, labels) as address:
    tabs = [browser.new_page(viewport={"width": 1280, "height": 800}) for _ in "ab"]
    for tab in tabs:
      tab.goto(address)
      playwright.expect(tab.locator("#strip button")).to_have_count(1)
      tab.wait_for_timeout(150)
    first, second = tabs
    _click(first, 30, 20)
    playwright.expect(first.locator("#saved")).to_contain_text("labels.json is saved")
    _click(second, 10, 10)
    playwright.expect(second.locator("#changed")).to_contain_text(
      "has changed labels.json"
    )
    _near(place(labels), 30, 20)
    second.click("#keep-mine")
    playwright.expect(second.locator("#saved")).to_contain_text("labels.json is saved")
    playwright.expect(second.locator("#conflict")).to_be_hidden()
    _near(place(labels), 10, 10)
    _near(place(tmp_path / "labels_other_1.json"), 30, 20)
    _drag(first, (30, 20), (50, 30))
    playwright.expect(first.locator("#changed")).to_contain_text(
      "has changed labels.json"
    )
    first.click("#take-theirs")
    playwright.expect(first.locator("#conflict")).to_be_hidden()
    playwright.expect(first.locator("#saved")).to_contain_text("labels.json is saved")
    _near(place(labels), 10, 10)
    first.click("#undo")  # its own marks are not lost
    playwright.expect(first.locator("#saved")).to_contain_text("saving")
    playwright.expect(first.locator("#saved")).to_contain_text("labels.json is saved")
    _near(place(labels), 50, 30)
