"""The page of `fskd demo` in a real browser; `make test-browser` sets it up."""

import json
import shutil
import socket
import subprocess
import sys

import numpy as np
import pytest

from fskd_jax.cli import main

pytest.importorskip("gradio", reason="no gradio: make test-browser installs it")
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

CLICK = """(img, [x, y]) => {
  // Where a point of the picture, as parts of its sides, lies in the element.
  const r = img.getBoundingClientRect();
  const zoom = Math.min(r.width / img.naturalWidth, r.height / img.naturalHeight, 1);
  return {
    x: r.width / 2 + (x - 0.5) * zoom * img.naturalWidth,
    y: r.height / 2 + (y - 0.5) * zoom * img.naturalHeight,
    width: zoom * img.naturalWidth,
  };
}"""


@pytest.fixture(scope="module")
def address(trained):
  """Address of the page, served by the command in a process of its own."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  command = ["-m", "fskd_jax", "demo", "--workdir", trained[1], "--port", port]
  process = subprocess.Popen(
    [sys.executable, *map(str, command)], stdout=subprocess.PIPE, text=True
  )
  assert f"127.0.0.1:{port}" in process.stdout.readline()
  yield f"http://127.0.0.1:{port}"
  process.terminate()  # unlike SIGINT never ignored, as it is in background jobs
  assert process.wait(60) == 0


@pytest.fixture(scope="module")
def tab(address):
  """An empty page in the browser, and the hosts that it asked for anything."""
  with playwright.sync_playwright() as p:
    browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    tab = browser.new_page(viewport={"width": 1280, "height": 980})
    tab.set_default_timeout(60_000)
    playwright.expect.set_options(timeout=60_000)  # the detector compiles
    hosts = set()
    tab.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    response = tab.goto(address)
    assert "default-src 'self'" in response.headers["content-security-policy"]
    tab.wait_for_selector("#find")
    yield tab, hosts
    browser.close()


def _upload(tab, role, files):
  with tab.expect_file_chooser() as chooser:
    tab.click(f"#add_{role}")
  chooser.value.set_files(list(map(str, files)))


def _redrawn(tab, role, act):
  """Does something, and waits until the picture is drawn anew."""
  image = tab.locator(f"#{role} img")
  before = image.get_attribute("src")
  act(image)
  playwright.expect(image).not_to_have_attribute("src", before)
  image.evaluate("img => img.decode()")


def _click(tab, role, point, size):
  """Clicks on a point, given in pixel indices of an image of (width, height).

  Returns how many of these pixels a pixel of the screen shows.
  """

  def act(image):
    place = image.evaluate(CLICK, ((np.array(point) + 0.5) / size).tolist())
    shown.append(place.pop("width"))
    image.click(position=place)

  shown = []
  _redrawn(tab, role, act)
  return size[0] / shown[0]


def _download(tab, name, folder):
  with tab.expect_download() as download:
    tab.click(f"#{name}")
  path = folder / f"{name}.json"
  download.value.save_as(path)
  return path


def test_what_is_no_picture_is_told(tab, tmp_path):
  tab, _ = tab
  (tmp_path / "notes.png").write_text("no picture")
  _upload(tab, "query", [tmp_path / "notes.png"])
  playwright.expect(tab.get_by_text("notes.png")).to_be_visible()
  tab.click("#find")
  told = tab.get_by_text("Mark keypoints on a support picture first")
  playwright.expect(told).to_be_visible()


def test_clicks_predictions_and_files(tab, address, trained, shapes_folder, tmp_path):
  tab, hosts = tab
  expect = playwright.expect
  files = sorted((shapes_folder / "images").iterdir())
  support, queries, size = files[4], files[9:30:10], (60, 48)

  _upload(tab, "support", [support])
  expect(tab.locator("#support img")).to_be_visible()
  name = tab.locator("#name textarea, #name input")
  name.fill("north")
  pixel = _click(tab, "support", (20, 12), size)
  expect(name).to_have_value("keypoint 2")
  _click(tab, "support", (44, 30), size)
  expect(name).to_have_value("keypoint 3")
  _click(tab, "support", (3, 3), size)  # a slip
  _redrawn(tab, "support", lambda _: tab.click("#undo"))
  expect(name).to_have_value("keypoint 3")
  tab.click("#tool >> text=box")
  for corner in ((5, 2), (55, 45)):
    _click(tab, "support", corner, size)

  _upload(tab, "query", queries)
  expect(tab.locator("#query img")).to_be_visible()
  second = tab.locator("#query_list").get_by_text(queries[1].name)
  _redrawn(tab, "query", lambda _: second.click())
  for corner in ((50, 44), (6, 4)):
    _click(tab, "query", corner, size)
  expect(tab.locator("#results")).to_be_disabled()
  tab.click("#find")
  expect(tab.locator("#query_legend")).to_contain_text("north")
  expect(tab.locator("#results")).to_be_enabled()
  boxed = json.loads(_download(tab, "results", tmp_path).read_text())

  marks = json.loads(_download(tab, "marks", tmp_path).read_text())
  assert marks["categories"][0]["keypoints"] == ["north", "keypoint 2"]
  (annotation,) = marks["annotations"]
  expected = [20, 12, 2, 44, 30, 2]
  np.testing.assert_allclose(annotation["keypoints"], expected, atol=1.5 * pixel)
  np.testing.assert_allclose(annotation["bbox"], [5.5, 2.5, 50, 43], atol=3 * pixel)

  tab.click("#clear_query")
  expect(tab.locator("#results")).to_be_disabled()
  tab.click("#find")
  expect(tab.locator("#results")).to_be_enabled()
  found = json.loads(_download(tab, "results", tmp_path).read_text())
  assert [entry["file_name"] for entry in found["images"]] == [p.name for p in queries]
  pairs = zip(boxed["annotations"], found["annotations"])
  assert [old == new for old, new in pairs] == [True, False, True]
  command = [
    *("predict", "--workdir", trained[1], "--support", support, "--keypoints"),
    *(tmp_path / "marks.json", "--query", *queries, "--out", tmp_path / "out"),
  ]
  assert main.main(list(map(str, command))) == 0
  assert found == json.loads((tmp_path / "out" / "predictions.json").read_text())
  assert hosts == {address.split("/")[2]}
