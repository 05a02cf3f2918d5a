"""Servers of buckets on this machine, and a proxy before them that fails on purpose."""

import contextlib
import http.client
import http.server
import socket
import threading
import time


@contextlib.contextmanager
def amazon():
  """Serves S3 without an account (moto); yields the port."""
  from moto.server import ThreadedMotoServer

  server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
  server.start()
  try:
    yield server.get_host_and_port()[1]
  finally:
    server.stop()


@contextlib.contextmanager
def google(bucket):
  """Serves Google's storage with one bucket; yields the port."""
  from gcp_storage_emulator.server import create_server

  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
  server = create_server("127.0.0.1", port, in_memory=True, default_bucket=bucket)
  server.start()
  try:
    yield port
  finally:
    server.stop()


class Faults(http.server.ThreadingHTTPServer):
  """A proxy; `plan` holds what happens to the next requests that have a body or not.

  "503": refused. "cut": the answer ends in the middle. "lost": carried out, but the
  connection ends before the answer. "slow": the answer takes `delay` seconds.
  """

  daemon_threads = True
  delay = 0.5

  def __init__(self, target):
    super().__init__(("127.0.0.1", 0), _Handler)
    self.target, self.plan, self.happened = target, [], []
    threading.Thread(target=self.serve_forever, daemon=True).start()

  @property
  def url(self):
    return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"

  def _forward(self):
    fault = self.server.plan.pop(0) if self.server.plan else ""
    if fault:
      self.server.happened.append((fault, self.command))
    body = self._body()
    if fault == "503":
      self.send_response(503)
      self.send_header("Content-Length", "0")
      self.end_headers()
      return
    if fault == "slow":
      time.sleep(self.server.delay)
    connection = http.client.HTTPConnection("127.0.0.1", self.server.target)
    names = ("transfer-encoding", "connection", "expect")
    headers = {k: v for k, v in self.headers.items() if k.lower() not in names}
    headers["Content-Length"] = str(len(body))
    connection.request(self.command, self.path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if fault == "lost":
      self.close_connection = True
      self.connection.shutdown(socket.SHUT_RDWR)
      return
    self.send_response(answer.status)
    for name, value in answer.getheaders():
      if name.lower() not in (*names, "content-length", "date", "server"):
        self.send_header(name, value)
    length = answer.getheader("Content-Length") if self.command == "HEAD" else None
    self.send_header("Content-Length", length or str(len(content)))
    self.end_headers()
    if self.command != "HEAD":
      self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
    if fault == "cut":
      self.close_connection = True

  def _body(self):
    if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
      return self.rfile.read(int(self.headers.get("Content-Length") or 0))
    parts = []
    while size := int(self.rfile.readline().split(b";")[0], 16):
      parts.append(self.rfile.read(size))
      self.rfile.readline()
    self.rfile.readline()
    return b"".join(parts)

  do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do_PATCH = _forward

  def log_message(self, *_):
    pass
