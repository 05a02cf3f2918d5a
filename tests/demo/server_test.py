"""The server of `fskd demo`, spoken with as a browser or a stranger would."""

import copy
import io
import os
import socket
import types

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="no gradio: make test-browser installs it")
visitor_module = pytest.importorskip("benchmarks.reliability.visitor")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
  """Address of a page whose detector is never asked, and its folder of files."""
  folder = tmp_path_factory.mktemp("served")
  os.environ["GRADIO_TEMP_DIR"] = str(folder)
  from fskd_jax.demo import server

  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
  config = types.SimpleNamespace(name="stand-in")
  detector = types.SimpleNamespace(config=config)
  blocks = server.launch(detector, None, server.Place("127.0.0.1", port, folder, 1))
  yield f"http://127.0.0.1:{port}", folder
  blocks.close(verbose=False)
  del os.environ["GRADIO_TEMP_DIR"]


@pytest.fixture
def visitor(served, request):
  return visitor_module.Visitor(served[0], request.node.name)


def _picture(name="a.png", size=(40, 30), seed=0):
  pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
  content = io.BytesIO()
  Image.fromarray(pixels).save(content, "PNG")
  return name, content.getvalue()


def test_other_web_sites_are_refused(served, visitor):
  address = served[0]
  port = address.rsplit(":", 1)[1]
  http = visitor.http
  for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST"):
    assert http.get("/", headers={"Host": host}).status_code == 200
  for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[::"):
    answer = http.get("/", headers={"Host": host})
    assert answer.status_code == 403
    assert "host" in answer.text
  files = {"files": _picture()}
  for origin in ("http://evil.example", "null", f"http://localhost:{port}"):
    answer = http.post("/gradio_api/upload", files=files, headers={"Origin": origin})
    assert answer.status_code == 403
    assert "origin" in answer.text
  answer = http.post("/gradio_api/upload", files=files, headers={"Origin": address})
  assert answer.status_code == 200
  assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_page_for_all_answers_for_addresses_and_its_own_name():
  from fskd_jax.demo.server import Guard

  guard = Guard(None, "0.0.0.0")
  for host in ("192.168.1.7:7860", "[fe80::1]:7860", socket.gethostname(), "localhost"):
    assert guard._objection({"host": host}) == ""
  assert guard._objection({"host": "evil.example:7860"})
  assert Guard(None, "127.0.0.1")._objection({"host": "192.168.1.7"})


def test_large_files_are_refused_and_leave_nothing(served, visitor):
  before = set(served[1].rglob("*"))
  answer = visitor.upload(("big.png", bytes(1_100_000)))
  assert answer.status_code == 413
  assert set(served[1].rglob("*")) == before
  assert visitor.upload(("small.png", bytes(900_000))).status_code == 200


def test_files_of_a_page_are_replaced(served, visitor):
  visitor.add("support", _picture(seed=1))
  visitor.add("query", _picture("q.png", seed=2))
  counts = []
  for x in range(12):
    shown = visitor.do("support", "select", {"index": [10 * x, 5], "value": None})
    counts.append(len(list(served[1].glob("page_*"))))
  assert max(counts) == counts[-1] <= 9
  for name in ("support", "query", "marks"):
    shown_file = shown[name].get("value") or shown[name]
    assert visitor.http.get(shown_file["url"]).status_code == 200
  assert shown["marks"]["value"]["orig_name"] == "marks.json"


def test_old_uploads_are_removed(served, tmp_path):
  from fskd_jax.demo import files

  for name in ("0f/a.png", "page_1/a.jpeg", "1e/b.png"):
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"x")
  before, files._UPLOAD_SECONDS = files._UPLOAD_SECONDS, -1
  try:
    files.remove_old_uploads(tmp_path)
  finally:
    files._UPLOAD_SECONDS = before
  assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["a.jpeg"]
  (tmp_path / "0f/a.png").write_bytes(b"x")
  files.remove_old_uploads(tmp_path)
  assert (tmp_path / "0f/a.png").exists()


def test_an_error_vanishes_with_the_next_success(served, visitor):
  said = visitor.do("find", "click")["message"]
  assert "Mark keypoints on a support picture first." in said
  shown = visitor.add("support", _picture())
  assert shown["message"] == ""
  said = visitor.do("find", "click")["message"]
  assert "Mark keypoints" in said


def test_nonsense_is_told_or_ignored(visitor):
  visitor.add("query", _picture("q.png"))
  visitor.add("support", _picture())
  for index in (["a", "b"], None, [1], [1, 2, 3], [None, None], "ab", [1e9, 5]):
    said = visitor.do("support", "select", {"index": index, "value": None})["message"]
    assert "click" in said
  good = {"index": [10, 10], "value": None}
  for least in (None, "much", 7):
    assert visitor.do("support", "select", good, least=least)["message"] == ""
  said = visitor.do("support", "select", good, name="x" * 10_000)["message"]
  assert "100 letters" in said
  names = visitor.do("support", "select", good, name="a\nb")["support_legend"]
  assert "a b" in names


def test_hints_are_there_from_the_start(visitor):
  legends = {
    c["props"]["elem_id"]: c["props"]["value"]
    for c in visitor.config["components"]
    if str(c["props"].get("elem_id")).endswith("legend")
  }
  assert "Add a picture" in legends["support_legend"]
  assert "Add pictures" in legends["query_legend"]


def test_closed_pages_leave_no_files(tmp_path):
  from fskd_jax.demo.files import PageFiles

  first = PageFiles(tmp_path)
  second = copy.deepcopy(first)
  kept = second.new("a.txt")
  kept.write_text("b")
  for _ in range(5):
    first.new("a.txt").write_text("a")
  first.remove()
  assert [p for p in tmp_path.rglob("*") if p.is_file()] == [kept]
