"""`fskd demo` as other web sites, strangers and clumsy visitors use it."""

import http.client
import io
import json
import os
import pathlib
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reliability import runs
from benchmarks.reliability.trial import Place, Program, Trial, check


class Visitor:
  """A client of one server; `status` and `said` are those of the last answer."""

  def __init__(self, port: int):
    """Remembers the port."""
    self._port, self.status, self.said = port, 0, b""

  def get(self, path: str, **headers: str) -> int:
    """Asks for a file or picture; returns the status."""
    return self._ask("GET", path, None, headers)

  def post(self, path: str, content: Any, **headers: str) -> int:
    """Sends bytes, or JSON; returns the status."""
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    return self._ask("POST", path, sent, headers)

  def _ask(self, method: str, path: str, content: bytes | None, headers: dict) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
    connection.request(method, path, content, headers)
    answer = connection.getresponse()
    self.status, self.said = answer.status, answer.read()
    connection.close()
    return self.status


def visited(place: Place) -> Iterator[Trial]:
  """Trials against one server; the last one ends it."""
  temporary = place.work / "temporary"
  temporary.mkdir()
  os.environ["TMPDIR"] = str(temporary)
  port = _port()
  words = ("--workdir", runs.trained(place), "--port", port)
  command = Program(place, "fskd_jax/__main__.py", "demo", *words)
  while "Ctrl-C" not in command.text:
    check(command.is_running, f"ended: {command.text[-300:]}")
    time.sleep(0.2)
  visitor = Visitor(port)
  yield from _strangers(visitor, port)
  yield from _files(visitor)
  yield from _nonsense(visitor, command)
  yield from _resources(visitor, command, temporary)

  def end() -> None:
    command.send(signal.SIGTERM)
    check(command.ended(60).status == 0, "does not end with 0")
    check(not list(temporary.glob("fskd_demo_*")), "files stay behind")

  yield Trial("SIGTERM", end)


def _strangers(visitor: Visitor, port: int) -> Iterator[Trial]:
  hosts = ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "")
  for host in hosts:

    def refused(host=host) -> None:
      status = visitor.get("/", Host=host)
      check(status in (400, 403), f"status {status}")

    yield Trial(f"Host: {host}", refused)
  for origin in ("http://evil.example", "null", "http://localhost:1"):

    def foreign(origin=origin) -> None:
      status = visitor.post("/add?name=a.png", _picture(), Origin=origin)
      check(status in (400, 403), f"status {status}")

    yield Trial(f"Origin: {origin}", foreign)
  for host in (f"127.0.0.1:{port}", f"localhost:{port}"):

    def own(host=host) -> None:
      headers = {"Host": host, "Origin": f"http://{host}"}
      check(visitor.post("/add?name=a.png", _picture(), **headers) == 200, "refused")

    yield Trial(f"own host {host}", own)


def _files(visitor: Visitor) -> Iterator[Trial]:
  routes = (
    *("/etc/passwd", "/../../etc/passwd", "/proc/self/environ", "/tmp", "//etc/passwd"),
    *("/pictures//etc/passwd", "/page/../server.py", str(pathlib.Path(__file__))),
  )
  for route in routes:

    def refused(route=route) -> None:
      status = visitor.get(route)
      check(status in (400, 403, 404), f"status {status}")

    yield Trial(f"GET {route[-40:]}", refused)


def _nonsense(visitor: Visitor, command: Program) -> Iterator[Trial]:
  visitor.post("/add?name=a.png", _picture())
  key = json.loads(visitor.said)["key"]
  good = {"x": 10, "y": 10, "sure": None}
  cases: dict[str, Any] = {
    "no JSON": b"{",
    "a list": [],
    "deep": b"[" * 100_000,
    "click at text": {"names": ["a"], "pictures": {key: {"points": {"a": {"x": "b"}}}}},
    "click at nothing": {"names": ["a"], "pictures": {key: {"points": {"a": None}}}},
    "NaN": b'{"marks": {"names": ["a"], "pictures": {"%s": {"points": {"a": {"x": NaN,'
    b' "y": 1}}}}}, "find": ["%s"]}' % (key.encode(), key.encode()),
    "name of 10000 letters": {"names": ["x" * 10_000], "pictures": {}},
    "name with a newline": {"names": ["a\nb"], "pictures": {}},
    "no name": {"names": [""], "pictures": {}},
    "unknown picture": {"names": ["a"], "pictures": {"0": {"points": {"a": good}}}},
    "point far outside": {
      "names": ["a"],
      "pictures": {key: {"points": {"a": good | {"x": 1e9}}}},
    },
    "empty box": {"names": [], "pictures": {key: {"points": {}, "box": [1, 1, 0, 0]}}},
  }
  for name, content in cases.items():

    def told(content=content) -> None:
      before = command.text.count("Traceback")
      sent = content if isinstance(content, bytes) else {"marks": content}
      if isinstance(sent, dict):
        sent["find"] = [key]
      status = visitor.post("/find", sent)
      check(status in (400, 404), f"status {status}")
      check(bool(json.loads(visitor.said)["error"]), "an empty error")
      check(command.text.count("Traceback") == before, "traceback in the log")

    yield Trial(name, told)


def _resources(
  visitor: Visitor, command: Program, temporary: pathlib.Path
) -> Iterator[Trial]:
  def upload() -> None:
    try:
      status = visitor.post("/add?name=big.png", bytes(60_000_000))
    except ConnectionError:  # refused before all of it was sent
      return
    check(status == 413, f"status {status}")

  yield Trial("upload of 60 MB", upload)

  def kept() -> None:
    for number in range(40):
      visitor.post("/example", {"number": number})
    check(not any(temporary.rglob("fskd_demo_*")), "files stay behind")

  yield Trial("files of 40 examples", kept)

  def again() -> None:
    large, used = _picture((4000, 3000)), []
    for _ in range(2):
      for _ in range(20):
        visitor.post("/add?name=large.png", large)
        visitor.get(f"/pictures/{json.loads(visitor.said)['key']}")
      used.append(command.megabytes())
    check(used[1] - used[0] < 150, f"{used[1] - used[0]:.0f} MB more")

  yield Trial("another 20 times 12 megapixels, added and shown", again)


def _picture(size: tuple[int, int] = (40, 30)) -> bytes:
  rng = np.random.default_rng(0)
  small = rng.integers(0, 256, (30, 40, 3), np.uint8)
  content = io.BytesIO()
  Image.fromarray(small).resize(size).save(content, "PNG")
  return content.getvalue()


def _port() -> int:
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]
