"""Ports of this machine."""

import contextlib
import socket


def free_port():
  """Returns a port that nobody listens on."""
  with contextlib.closing(socket.socket()) as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]
