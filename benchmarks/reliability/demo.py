"""`fskd demo` as other web sites, strangers and clumsy visitors use it."""

import importlib.util
import io
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

_INDICES = (["a", "b"], None, [1], [1, 2, 3], [None, None], [1e9, 5])


def visited(place: Place) -> Iterator[Trial]:
  """Trials against one server; the last one ends it. None without gradio."""
  if importlib.util.find_spec("gradio") is None:
    return
  from benchmarks.reliability.visitor import Visitor

  temporary = place.work / "temporary"
  temporary.mkdir()
  os.environ["TMPDIR"] = str(temporary)
  port = _port()
  words = ("--workdir", runs.trained(place), "--port", port)
  command = Program(place, "fskd_jax/cli/main.py", "demo", *words)
  while "Ctrl-C" not in command.text:
    check(command.is_running, f"ended: {command.text[-300:]}")
    time.sleep(0.2)
  address = f"http://127.0.0.1:{port}"
  visitor = Visitor(address, "first")
  yield from _strangers(visitor, port)
  yield from _files(visitor)
  yield from _nonsense(Visitor(address, "second"), command)
  yield from _resources(Visitor(address, "third"), command, temporary)

  def end() -> None:
    command.send(signal.SIGTERM)
    check(command.ended(60).status == 0, "does not end with 0")
    check(not list(temporary.glob("fskd_demo_*")), "files stay behind")

  yield Trial("SIGTERM", end)


def _strangers(visitor: Any, port: int) -> Iterator[Trial]:
  hosts = ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "")
  for host in hosts:

    def refused(host=host) -> None:
      status = visitor.http.get("/", headers={"Host": host}).status_code
      check(status in (400, 403), f"status {status}")

    yield Trial(f"Host: {host}", refused)
  for origin in ("http://evil.example", "null", "http://localhost:1"):

    def foreign(origin=origin) -> None:
      status = visitor.upload(_picture(), Origin=origin).status_code
      check(status in (400, 403), f"status {status}")

    yield Trial(f"Origin: {origin}", foreign)
  for host in (f"127.0.0.1:{port}", f"localhost:{port}"):

    def own(host=host) -> None:
      headers = {"Host": host, "Origin": f"http://{host}"}
      check(visitor.upload(_picture(), **headers).status_code == 200, "refused")

    yield Trial(f"own host {host}", own)


def _files(visitor: Any) -> Iterator[Trial]:
  routes = (
    *("/etc/passwd", "../../etc/passwd", "~/.bashrc", "/proc/self/environ", "/tmp"),
    *("file:///etc/passwd", "/dev/zero", str(pathlib.Path(__file__).absolute())),
  )
  for route in routes:

    def refused(route=route) -> None:
      status = visitor.http.get(f"/gradio_api/file={route}").status_code
      check(status in (400, 403, 404), f"status {status}")

    yield Trial(f"file={route[-40:]}", refused)


def _nonsense(visitor: Any, command: Program) -> Iterator[Trial]:
  visitor.add("support", _picture())
  visitor.add("query", _picture())

  def quiet(event: Any, **values: Any) -> None:
    before = command.text.count("Traceback")
    try:
      visitor.do("support", "select", event, **values)
    except RuntimeError as error:
      check("None" not in str(error), f"an empty error: {error}")
    check(command.text.count("Traceback") == before, "traceback in the log")

  for index in _INDICES:

    def click(index=index) -> None:
      quiet({"index": index, "value": None})

    yield Trial(f"click at {index}", click)
  good = {"index": [10, 10], "value": None}
  for name, values in {
    "least confidence null": {"least": None},
    "least confidence of text": {"least": "much"},
    "least confidence 7": {"least": 7},
    "name of 10000 letters": {"name": "x" * 10_000},
    "name with a newline": {"name": "a\nb"},
    "no name": {"name": ""},
  }.items():

    def value(values=values) -> None:
      quiet(good, **values)

    yield Trial(name, value)


def _resources(
  visitor: Any, command: Program, temporary: pathlib.Path
) -> Iterator[Trial]:
  def upload() -> None:
    status = visitor.upload(("big.png", bytes(60_000_000))).status_code
    check(status == 413, f"status {status}")

  yield Trial("upload of 60 MB", upload)

  def kept() -> None:
    visitor.add("support", _picture())
    before = _count(temporary)
    for x in range(40):
      visitor.do("support", "select", {"index": [10 * x, 10], "value": None})
    check(_count(temporary) - before < 20, f"{_count(temporary) - before} more files")

  yield Trial("files of 40 clicks", kept)

  def undone() -> None:
    large = _picture("large.jpg", (4000, 3000))
    used = []
    for _ in range(2):
      for _ in range(20):
        visitor.add("query", large)
        visitor.do("remove_query", "click")
      used.append(command.megabytes())
    check(used[1] - used[0] < 150, f"{used[1] - used[0]:.0f} MB more")

  yield Trial("another 20 times 12 megapixels, added and removed", undone)


def _count(folder: pathlib.Path) -> int:
  return sum(path.is_file() for path in folder.rglob("*"))


def _picture(
  name: str = "a.png", size: tuple[int, int] = (40, 30)
) -> tuple[str, bytes]:
  rng = np.random.default_rng(0)
  small = rng.integers(0, 256, (30, 40, 3), np.uint8)
  content = io.BytesIO()
  kind = "JPEG" if name.endswith(".jpg") else "PNG"
  Image.fromarray(small).resize(size).save(content, kind)
  return name, content.getvalue()


def _port() -> int:
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    return free.getsockname()[1]
