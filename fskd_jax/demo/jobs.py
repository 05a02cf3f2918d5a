"""Work that takes minutes: one piece at a time, watched from the page."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

_log = logging.getLogger(__name__)


class Progress(NamedTuple):
  """The state of a piece of work.

  Attributes:
    told: The last sentence about it.
    part: The part that is done, 0..1; None where that is not known.
    is_over: Whether it has ended.
    result: The result, for the page.
    error: The message of the error that ended it, or "".
  """

  told: str = ""
  part: float | None = None
  is_over: bool = True
  result: Any = None
  error: str = ""


class Jobs:
  """The last piece of work of a server."""

  def __init__(self):
    """Has nothing to do."""
    self.progress = Progress()
    self._lock = threading.Lock()

  def start(self, work: Callable[["Jobs"], Any]) -> None:
    """Starts work in a thread of its own.

    Args:
      work: A function that is given this object to tell how far it is.

    Raises:
      ValueError: Another piece is not over.
    """
    with self._lock:
      if not self.progress.is_over:
        raise ValueError("The server is busy: wait until the work before is over.")
      self.progress = Progress("starting", is_over=False)
    threading.Thread(target=self._run, args=(work,), daemon=True).start()

  def tell(self, sentence: str) -> None:
    """Shows a sentence."""
    self.progress = self.progress._replace(told=sentence)

  def counted(self, items: Iterable) -> Iterator:
    """Yields items, and shows how many of them are done."""
    items = [*items]
    for number, item in enumerate(items):
      told = f"{number} of {len(items)}"
      self.progress = self.progress._replace(told=told, part=number / len(items))
      yield item

  def _run(self, work: Callable[["Jobs"], Any]) -> None:
    try:
      over = Progress(result=work(self))
    except (ValueError, OSError) as error:
      over = Progress(error=str(error))
    except Exception:
      _log.exception("fskd demo failed")
      over = Progress(error="The server failed; its terminal says why.")
    self.progress = over
