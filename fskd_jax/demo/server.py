"""Server of the page, of Python's own http.server: nothing else needs to be there."""

import http.server
import json
import logging
import pathlib
import socket
import socketserver
import sys
import urllib.parse
from typing import Any

from fskd_jax.demo.guard import POLICY, Guard
from fskd_jax.demo.session import Answer, ChangedError, Session

PAGE = pathlib.Path(__file__).with_name("page")
"""Folder of the files that the browser loads."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_FILES = {
  f"/{path.name}".replace("/index.html", "/"): path for path in PAGE.glob("*.*")
}
_SKIPPED = 2**30  # bytes
_SECONDS = 60  # a visitor who sends nothing any more

_log = logging.getLogger(__name__)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
  """Serves a session; `serve_forever` and `shutdown` are those of `socketserver`."""

  daemon_threads = True

  def __init__(self, session: Session, host: str, port: int, max_upload: int):
    """Listens.

    Args:
      session: The answers.
      host: The name or address to listen on.
      port: The port; 0 takes a free one, see `server_port`.
      max_upload: The size of the largest request, MB.

    Raises:
      OSError: The port is taken, or the address is not one of this machine.
    """
    if ":" in host:
      self.address_family = socket.AF_INET6
    self.session, self.guard, self.most = session, Guard(host), max_upload * 10**6
    super().__init__((host, port), _Handler)

  def server_close(self) -> None:
    """Stops to listen, and ends the session."""
    super().server_close()
    self.session.close()

  def handle_error(self, request: Any, client_address: Any) -> None:
    """Logs what failed, unless the visitor has left."""
    if not isinstance(sys.exception(), ConnectionError):
      _log.exception("fskd demo failed")

  def server_bind(self) -> None:
    """Binds without asking who the host is, which may take seconds."""
    socketserver.TCPServer.server_bind(self)
    self.server_name, self.server_port = self.server_address[:2]


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = "HTTP/1.1"
  server_version, sys_version = "fskd", ""
  timeout = _SECONDS
  server: Server

  def do_GET(self) -> None:
    """Answers with a file of the page or a picture."""
    if not self._is_welcome():
      return
    path = urllib.parse.urlsplit(self.path).path
    if path in _FILES:
      kind = f"{_TYPES[_FILES[path].suffix]}; charset=utf-8"
      self._send(Answer(_FILES[path].read_bytes(), kind))
    else:
      self._answer(lambda: self.server.session.picture(path))

  def do_POST(self) -> None:
    """Answers an action of the page."""
    length = self.headers.get("Content-Length", "")
    most = self.server.most
    if not length.isdecimal() or int(length) > most:
      self.close_connection = True
      self._skip(int(length) if length.isdecimal() else 0)
      text = f"The file has more than {most // 10**6} MB (--max-upload)."
      self._send(_error(text), 413 if length.isdecimal() else 411)
    elif self._is_welcome():
      content = self.rfile.read(int(length))
      parts = urllib.parse.urlsplit(self.path)
      words = dict(urllib.parse.parse_qsl(parts.query))
      self._answer(lambda: self.server.session.act(parts.path, content, words))

  def _skip(self, length: int) -> None:
    """Reads content that is refused: browsers listen only when they have sent it."""
    left = min(length, _SKIPPED)
    while left > 0 and (part := self.rfile.read(min(left, 2**16))):
      left -= len(part)

  def _is_welcome(self) -> bool:
    headers = self.headers
    reason = self.server.guard.objection(headers.get("Host", ""), headers.get("Origin"))
    if reason:
      self.close_connection = True
      self._send(_error(reason), 403)
    return not reason

  def _answer(self, act: Any) -> None:
    try:
      answer, status = act(), 200
    except LookupError as error:
      answer, status = _error(str(error.args[0] if error.args else error)), 404
    except ChangedError as error:
      answer, status = _error(str(error)), 409
    except (ValueError, OSError) as error:
      answer, status = _error(str(error)), 400
    except Exception:
      _log.exception("fskd demo failed")
      answer, status = _error("The server failed; its terminal says why."), 500
    self._send(answer, status)

  def _send(self, answer: Answer, status: int = 200) -> None:
    self.send_response(status)
    headers = {
      "Content-Type": answer.kind,
      "Content-Length": str(len(answer.content)),
      "Content-Security-Policy": POLICY,
      "X-Content-Type-Options": "nosniff",
      "Cache-Control": "private, max-age=86400" if answer.is_lasting else "no-store",
    }
    if answer.file_name:
      headers["Content-Disposition"] = f'attachment; filename="{answer.file_name}"'
    for name, value in headers.items():
      self.send_header(name, value)
    self.end_headers()
    self.wfile.write(answer.content)

  def log_message(self, *args: Any) -> None:
    """Keeps quiet: requests are no news."""


def _error(text: str) -> Answer:
  return Answer(json.dumps({"error": text[:1].upper() + text[1:]}).encode())
