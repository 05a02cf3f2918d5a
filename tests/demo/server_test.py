"""The server of `fskd demo`, spoken with as a browser or a stranger would."""

import http.client
import json
import socket
import urllib.parse

import pytest
from helpers.demo_page import marked, png, point, served

from fskd_jax.data.labels import formats
from fskd_jax.demo.guard import Guard


@pytest.fixture(scope="module")
def address():
  with served() as address:
    yield urllib.parse.urlsplit(address).netloc


def _ask(address, method, path, content=None, **headers):
  """Returns the status, the headers and the content of an answer."""
  if content is not None and not isinstance(content, bytes):
    content = json.dumps(content).encode()
  connection = http.client.HTTPConnection(address, timeout=20)
  headers = {name.replace("_", "-"): value for name, value in headers.items()}
  connection.request(method, path, content, headers)
  answer = connection.getresponse()
  body = answer.read()
  connection.close()
  return answer.status, answer.headers, body


def _post(address, path, content):
  status, _, body = _ask(address, "POST", path, content)
  return status, json.loads(body)


def test_other_web_sites_are_refused(address):
  port = address.rpartition(":")[2]
  for host in (f"127.0.0.1:{port}", f"localhost:{port}", "LOCALHOST"):
    status, headers, _ = _ask(address, "GET", "/", Host=host)
    assert status == 200 and "default-src 'self'" in headers["Content-Security-Policy"]
  for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "[::"):
    status, _, body = _ask(address, "GET", "/", Host=host)
    assert status == 403 and b"host" in body
  for origin in ("http://evil.example", "null", f"http://localhost:{port}"):
    status, _, body = _ask(address, "POST", "/add?name=a.png", png(), Origin=origin)
    assert status == 403 and b"origin" in body
  own = f"http://{address}"
  assert _ask(address, "POST", "/add?name=a.png", png(), Origin=own)[0] == 200


def test_a_page_for_all_answers_for_addresses_and_its_own_name():
  guard = Guard("0.0.0.0")
  for host in ("192.168.1.7:7860", "[fe80::1]:7860", socket.gethostname(), "localhost"):
    assert guard.objection(host, None) == ""
  assert guard.objection("evil.example:7860", None)
  assert Guard("127.0.0.1").objection("192.168.1.7", None)


def test_only_pictures_and_the_page_are_served(address):
  for path in (
    "/",
    "/page.css",
    "/main.js",
    "/view.js",
    "/store.js",
    "/panel.js",
    "/keys.js",
    "/server.js",
  ):
    assert _ask(address, "GET", path)[0] == 200
  for path in (
    *("/etc/passwd", "/../server.py", "/pictures/../../etc/passwd", "/pictures/"),
    *("/page/main.js", "/pictures//etc/passwd", "/thumbnails/0", "/start"),
  ):
    assert _ask(address, "GET", path)[0] == 404


def test_large_files_are_refused(address):
  status, said = _post(address, "/add?name=big.png", bytes(1_100_000))
  assert status == 413 and "--max-upload" in said["error"]
  status, said = _post(address, "/add?name=notes.png", b"no picture")
  assert status == 400 and "notes.png" in said["error"]


def test_points_are_found_and_saved(address):
  first, second = (
    _post(address, f"/add?name={name}.png", png(seed=i))[1]["key"]
    for i, name in enumerate("ab")
  )
  content = marked(["nose", "ear"], {first: ({"nose": point(3, 4)}, None)})
  status, said = _post(address, "/find", {"marks": content, "find": [second]})
  assert status == 200
  points = said[second]["points"]
  assert [*points] == ["nose"]  # nobody marked an ear
  assert points["nose"] == point(4, 5, 0.9) | {"spread": [4, 0, 4]}
  kinds = {"coco": ".json", "deeplabcut-project": ".zip", "cvat": ".xml"}
  for kind, suffix in kinds.items():
    asked = {"marks": content, "format": kind}
    status, headers, _ = _ask(address, "POST", "/download", asked)
    assert status == 200 and f'{suffix}"' in headers["Content-Disposition"]


def test_nonsense_is_told(address):
  for path, content, status in (
    ("/start", b"no JSON", 400),
    ("/start", [], 400),
    ("/start", {"keys": [1]}, 400),
    ("/example", {"number": "x"}, 400),
    ("/find", {}, 400),
    ("/find", {"find": ["0"] * 9, "marks": {}}, 400),
    ("/download", {"format": "word"}, 400),
    ("/save", {"marks": {}}, 400),
    ("/delete", {}, 404),
  ):
    found, said = _post(address, path, content)
    assert found == status and said["error"], path
  assert "Mark keypoints" in _marked_nothing(address)


def _marked_nothing(address):
  key = _post(address, "/add?name=a.png", png())[1]["key"]
  content = {"marks": marked([], {}), "find": [key]}
  return _post(address, "/find", content)[1]["error"]


def test_an_example_is_drawn_and_marked(address):
  said = _post(address, "/example", {"number": 3})[1]
  assert len(said["pictures"]) == 4
  ((key, picture),) = said["marks"]["pictures"].items()
  assert key == said["pictures"][0]["key"] and len(picture["points"]) > 4
  keys = [p["key"] for p in said["pictures"]]
  start = _post(address, "/start", {"keys": [*keys, "absent"]})[1]
  assert [p["key"] for p in start["pictures"]] == keys


def test_a_file_of_labels_that_changed_since_is_not_replaced_unseen(tmp_path):
  folder, labels = tmp_path / "frames", tmp_path / "labels.json"
  folder.mkdir()
  (folder / "a.png").write_bytes(png())
  with served(folder, labels) as page:
    address = urllib.parse.urlsplit(page).netloc
    one, other = (_post(address, "/start", {})[1] for _ in range(2))
    (key,) = (picture["key"] for picture in one["pictures"])

    def save(x, version, **more):
      content = marked(["nose"], {key: ({"nose": point(x, 4)}, None)})
      return _post(address, "/save", {"marks": content, "version": version} | more)

    def place(path):
      return formats.read(path).images[0].objects[0].keypoints["nose"].x

    status, said = save(1, one["version"])
    assert status == 200
    status, said = save(2, said["version"])  # the next change of the same tab
    assert status == 200
    for wrong in (other["version"], "", None):
      status, refused = save(3, wrong)
      assert status == 409 and "has changed labels.json" in refused["error"]
    assert place(labels) == 2
    status, last = save(3, other["version"], aside=True)
    assert status == 200 and place(labels) == 3
    assert place(tmp_path / "labels_other_1.json") == 2
    status, again = save(4, said["version"])  # of the first tab, which is the later now
    assert status == 409
    start = _post(address, "/start", {})[1]
    assert start["version"] == last["version"]
    assert start["marks"]["pictures"][key]["points"]["nose"]["x"] == 3
    assert save(4, start["version"])[0] == 200
  assert sorted(x.name for x in tmp_path.iterdir()) == [
    "frames", "labels.json", "labels_other_1.json"
  ]  # fmt: skip
