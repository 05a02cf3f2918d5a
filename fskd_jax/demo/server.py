"""Server of the page: access, limits and content policy."""

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
"""Content policy: the browser loads nothing from other hosts."""


_MAX_SESSIONS = 64
"""Largest number of visitors in memory; the oldest are forgotten first."""


class Place(NamedTuple):
  """The address and folder of a server.

  Attributes:
    host: The name or address to listen on.
    port: The port to listen on.
    folder: The folder of gradio for temporary files.
    max_upload: The size of the largest file that may be uploaded, MB.
  """

  host: str
  port: int
  folder: pathlib.Path
  max_upload: int


def launch(
  detector: KeypointDetector, example: Callable[[int], Example] | None, place: Place
) -> gr.Blocks:
  """Starts to serve a page for a detector, and returns immediately.

  Args:
    detector: The detector that finds the keypoints.
    example: A function from a number to an example, or None.
    place: The address and folder of the server.
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
  """ASGI middleware that refuses requests of other web sites and adds the policy.

  A page of another site can reach a server on this machine through its visitor's
  browser. Such requests have the site's name in the header `Origin`, or in `Host` if
  the site's name has been pointed to this machine (DNS rebinding).
  """

  def __init__(self, app: Any, host: str):
    """Guards an application.

    Args:
      app: The ASGI application.
      host: The name or address that the server listens on.
    """
    self._app = app
    self._names = {"localhost", "127.0.0.1", "::1", host.lower()}
    self._is_open = host in ("0.0.0.0", "::", "")
    if self._is_open:
      self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

  async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
    """Answers 403 to a refused request; passes others to the application."""
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
  """Returns whether a name is an IP address, which DNS cannot redirect."""
  try:
    ipaddress.ip_address(name)
  except ValueError:
    return False
  return True
