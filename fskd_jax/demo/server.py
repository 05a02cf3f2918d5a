"""The server of the page: who may speak with it, how much it takes, what it loads."""

import ipaddress
import pathlib
import socket
import urllib.parse
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr  # pyright: ignore[reportMissingImports]: an extra
from starlette.datastructures import (  # pyright: ignore[reportMissingImports]
  Headers,
)
from starlette.middleware import Middleware  # pyright: ignore[reportMissingImports]
from starlette.responses import (  # pyright: ignore[reportMissingImports]
  PlainTextResponse,
)

from fskd_jax.demo import page
from fskd_jax.demo.examples import Example
from fskd_jax.prediction.detector import KeypointDetector

_POLICY = (
  "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; form-action 'self'"
)
"""The browser refuses whatever the page's libraries would fetch from other hosts."""


_MAX_SESSIONS = 64
"""Visitors whose pictures are in memory; of more, the first ones are forgotten."""


class Place(NamedTuple):
  """Where a page is served from.

  Attributes:
    host: name or address to listen on.
    port: to listen on.
    folder: gradio's folder for temporary files.
    max_upload: largest file that may be uploaded, MB.
  """

  host: str
  port: int
  folder: pathlib.Path
  max_upload: int


def launch(
  detector: KeypointDetector, example: Callable[[int], Example] | None, place: Place
) -> gr.Blocks:
  """Starts to serve a page for a detector, and returns at once.

  Args:
    detector: that finds the keypoints.
    example: gives the example of a number, or None if there is none.
    place: where.
  """
  blocks = page.DemoPage(detector, example, place.folder).build()
  blocks.launch(
    server_name=place.host,
    server_port=place.port,
    share=False,
    quiet=True,
    inbrowser=False,
    footer_links=[],
    ssr_mode=False,
    max_file_size=place.max_upload * 10**6,
    state_session_capacity=_MAX_SESSIONS,
    app_kwargs={"middleware": [Middleware(Guard, host=place.host)]},
    theme=page.THEME,
    css=page.CSS,
    prevent_thread_lock=True,
  )
  return blocks


class Guard:
  """ASGI middleware: refuses what other web sites send, and adds the policy.

  A page of another site can reach a server on this machine through the browser of its
  visitor. It is told by the `Origin` of what it posts, or, if its own name suddenly
  means this machine (DNS rebinding), by the `Host` that it believes to speak with.
  """

  def __init__(self, app: Any, host: str):
    """Guards an application.

    Args:
      app: ASGI application.
      host: name or address that the server listens on.
    """
    self._app = app
    self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
    self._is_open = host in ("0.0.0.0", "::", "")
    if self._is_open:
      self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answers 403, or lets the application answer."""
    if scope["type"] in ("http", "websocket"):
      reason = self._objection(Headers(scope=scope))
      if reason:
        await PlainTextResponse(reason, 403)(scope, receive, send)
        return

    async def send_with_policy(message: Any) -> None:
      if message["type"] == "http.response.start":
        header = (b"content-security-policy", _POLICY.encode())
        message = {**message, "headers": [*message["headers"], header]}
      await send(message)

    await self._app(scope, receive, send_with_policy)

  def _objection(self, headers: Headers) -> str:
    host, origin = headers.get("host", ""), headers.get("origin")
    if not self._is_known(_hostname(f"//{host}")):
      return f"fskd demo does not answer for the host {host!r}"
    if origin is not None and urllib.parse.urlsplit(origin).netloc != host:
      return f"fskd demo takes nothing from the origin {origin!r}"
    return ""

  def _is_known(self, name: str) -> bool:
    return name in self._names or (self._is_open and _is_address(name))


def _hostname(url: str) -> str:
  try:
    return urllib.parse.urlsplit(url).hostname or ""
  except ValueError:  # half an IPv6 address
    return ""


def _is_address(name: str) -> bool:
  """Whether a name is an IP address, which no name server can give another meaning."""
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True
