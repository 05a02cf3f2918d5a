"""Downloads from a server that breaks off, redirects, lies and serves other files."""

import hashlib
import http.server
import threading

import numpy as np
import pytest

from fskd_jax.interop.published import download as module
from fskd_jax.interop.published.download import download

CONTENT = np.random.default_rng(0).bytes(300_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
CUT = 100_000


class Handler(http.server.BaseHTTPRequestHandler):
  """Serves CONTENT, with a flaw by the path."""

  seen: list[tuple[str, str]] = []
  protocol_version = "HTTP/1.1"

  def do_GET(self):
    span = self.headers.get("Range", "")
    self.seen.append((self.path, span))
    getattr(self, self.path.strip("/"))(int(span[6:-1]) if span else 0)
    self.close_connection = True

  def log_message(self, *args):
    pass

  def _reply(self, status, body, length=None, **headers):
    self.send_response(status)
    self.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
      self.send_header(name.replace("_", "-"), value)
    self.end_headers()
    self.wfile.write(body)

  def _from(self, start, body, length=None):
    status = 206 if start else 200
    span = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
    self._reply(status, body, length, Content_Range=span)

  def good(self, start):
    self._from(start, CONTENT[start:])

  def breaking(self, start):
    self._from(start, CONTENT[start : start + CUT], len(CONTENT) - start)

  def knows_no_ranges(self, start):
    self._reply(200, CONTENT if start else CONTENT[:CUT], len(CONTENT))

  def says_less(self, start):  # the length is that of a part, and so is what is read
    self._from(start, CONTENT[start:], min(CUT, len(CONTENT) - start))

  def says_more(self, start):
    self._from(start, CONTENT[start:], len(CONTENT) - start + 7)

  def longer(self, start):
    self._reply(200, CONTENT + b"more")

  def other(self, start):
    self._reply(200, CONTENT[::-1])

  def redirecting(self, start):
    self._reply(302, b"", Location="/breaking")

  def to_a_file(self, start):
    self._reply(302, b"", Location="file:///etc/passwd")

  def in_circles(self, start):
    self._reply(302, b"", Location="/in_circles")

  def missing(self, start):
    self._reply(404, b"")

  def failing(self, start):
    self._reply(503, b"")

  def behind(self, start):
    self._reply(416, b"") if start else self.good(start)

  def silent(self, start):
    self._from(start, b"", len(CONTENT))


@pytest.fixture(scope="module")
def server():
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.fixture
def path(tmp_path):
  Handler.seen.clear()
  return tmp_path / "weights.pth"


@pytest.mark.parametrize(
  "flaw, sizes, requests",
  [
    ("good", (len(CONTENT), None), [""]),
    ("breaking", (len(CONTENT),), ["", "bytes=100000-", "bytes=200000-"]),
    ("breaking", (None,), ["", "bytes=100000-", "bytes=200000-"]),
    ("knows_no_ranges", (len(CONTENT), None), ["", "bytes=100000-"]),
    ("says_less", (len(CONTENT),), ["", "bytes=100000-", "bytes=200000-"]),
    ("says_more", (len(CONTENT),), [""]),
    ("redirecting", (len(CONTENT),), ["", "bytes=100000-", "bytes=200000-"]),
  ],
)
def test_the_whole_file_comes_in_spite_of(flaw, sizes, requests, server, path):
  for size in sizes:
    Handler.seen.clear()
    download(server + flaw, path, DIGEST, size)
    assert path.read_bytes() == CONTENT and len([*path.parent.iterdir()]) == 1
    spans = [span for asked, span in Handler.seen if asked != "/redirecting"]
    assert spans[: len(requests)] == requests


@pytest.mark.parametrize(
  "flaw, size, kind, message",
  [
    ("other", len(CONTENT), ValueError, rf"not {DIGEST}; what came is deleted"),
    ("longer", len(CONTENT), ValueError, "more than 300000 bytes"),
    ("longer", None, ValueError, rf"not {DIGEST}; what came is deleted"),
    ("says_less", None, ValueError, rf"not {DIGEST}; what came is deleted"),
    ("to_a_file", len(CONTENT), Exception, "file:///etc/passwd"),
    ("in_circles", len(CONTENT), ConnectionError, "redirect"),
    ("missing", len(CONTENT), ConnectionError, "404"),
    ("failing", len(CONTENT), ConnectionError, "503"),
    ("silent", len(CONTENT), ConnectionError, "/silent: "),
  ],
)
def test_no_other_file_appears_under_the_name(flaw, size, kind, message, server, path):
  with pytest.raises(kind, match=message):
    download(server + flaw, path, DIGEST, size)
  assert not path.exists()
  part = path.with_name(path.name + ".part")
  assert not part.exists() or part.stat().st_size == 0


def test_a_later_call_goes_on_where_the_first_broke_off(server, path, monkeypatch):
  def stop(*args):
    raise ConnectionResetError("gone")

  part = path.with_name(path.name + ".part")
  part.write_bytes(CONTENT[:1234])
  with monkeypatch.context() as patch:
    patch.setattr(module, "ATTEMPTS", 1)
    patch.setattr(module, "_fetch_once", stop)
    with pytest.raises(ConnectionError, match=r"gone; 1234 bytes are kept in .*\.part"):
      download(server + "good", path, DIGEST, len(CONTENT))
  download(server + "good", path, DIGEST, len(CONTENT))
  assert path.read_bytes() == CONTENT
  assert Handler.seen == [("/good", "bytes=1234-")]


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_of_another_file_is_found_out(size, server, path):
  part = path.with_name(path.name + ".part")
  part.write_bytes(b"other" + CONTENT[5:])
  if size:
    with pytest.raises(ValueError, match="deleted"):
      download(server + "good", path, DIGEST, size)
    assert not part.exists() and not path.exists()
  else:  # the server has nothing behind it, so it starts again
    download(server + "behind", path, DIGEST, None)
  download(server + "good", path, DIGEST, size)
  assert path.read_bytes() == CONTENT


def test_addresses_are_of_the_web(path):
  with pytest.raises(ValueError, match="begins with https://"):
    download("file:///etc/passwd", path, DIGEST, 1)
  redirects = module._Redirects("https")
  request = module.urllib.request.Request("https://example.org/a")
  with pytest.raises(ValueError, match="leads to http://example.org/b"):
    redirects.redirect_request(request, None, 302, "", {}, "http://example.org/b")


def test_a_machine_without_a_network_says_so(path):
  with pytest.raises(ConnectionError, match="127.0.0.1:9/x: .*refused"):
    download("http://127.0.0.1:9/x", path, DIGEST, 1)
