"""Refuses requests of other web sites, and the content policy of the page."""

import ipaddress
import socket
import urllib.parse

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"
"""Content policy: browsers load nothing from other hosts and run no inline code."""


class Guard:
  """Objections to requests of other web sites.

  A page of another site can reach a server on this machine through its visitor's
  browser. Such requests have the site's name in the header `Origin`, or in `Host` if
  the site's name has been pointed to this machine (DNS rebinding).
  """

  def __init__(self, host: str):
    """Remembers the name or address that the server listens on."""
    self._names = {"localhost", "127.0.0.1", "::1", host.lower()} - {""}
    self._is_open = host in ("0.0.0.0", "::", "")
    if self._is_open:
      self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}

  def objection(self, host: str, origin: str | None) -> str:
    """Returns the reason to refuse a request, "" without one.

    Args:
      host: The header `Host`.
      origin: The header `Origin`, if there is one.
    """
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
