"""Answers of the server; the marks themselves live in the visitor's browser."""

import hashlib
import itertools
import json
import pathlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from fskd_jax.data.labels import formats
from fskd_jax.demo import example, gallery, learning, marks
from fskd_jax.demo.finding import Finder
from fskd_jax.demo.gallery import Gallery, Picture
from fskd_jax.demo.jobs import Jobs
from fskd_jax.messages import join_first

_AT_ONCE = 8


class Answer(NamedTuple):
  """An answer: its content, type, the name under which it is saved, if it is a file."""

  content: bytes
  kind: str = "application/json"
  file_name: str = ""
  is_lasting: bool = False


class ChangedError(ValueError):
  """The file of labels is not the one that the page has read or written last."""


class Session:
  """The pictures, the detector and the file of labels of one server."""

  def __init__(
    self,
    finder: Finder,
    pictures: Gallery,
    labels: pathlib.Path | None = None,
    start: str | None = None,
  ):
    """Reads the labels, if their file is there.

    Args:
      finder: The detector.
      pictures: The pictures.
      labels: A COCO file that holds the labels, written after every change.
      start: The path of the detector, as for `load`.

    Raises:
      ValueError: `marks.from_labels` cannot take the labels.
    """
    self._finder, self._gallery, self._labels = finder, pictures, labels
    self._writing, self._jobs, self._start_from = threading.Lock(), Jobs(), start
    self._scratch = tempfile.TemporaryDirectory(prefix="fskd_demo_")
    if labels and labels.exists():
      marks.from_labels(labels, pictures)

  def picture(self, path: str) -> Answer:
    """Returns the picture of /pictures/KEY or /thumbnails/KEY as JPEG.

    Raises:
      LookupError: There is no such address or picture.
      ValueError: The picture cannot be read.
    """
    _, folder, *key = path.split("/")
    if folder not in ("pictures", "thumbnails") or len(key) != 1:
      raise LookupError(f"there is no {path}")
    shown = self._gallery.get(key[0])
    small = folder == "thumbnails"
    return Answer(gallery.for_browser(shown, small), "image/jpeg", is_lasting=True)

  def act(self, path: str, content: bytes, words: Mapping[str, str]) -> Answer:
    """Does what the page asks for.

    Args:
      path: The action, as /find.
      content: A picture for /add; else the JSON of `marks` and what the action needs.
      words: The words behind "?" in the address.

    Raises:
      LookupError: There is no such action or picture.
      ChangedError: The labels would replace others that the page does not know.
      ValueError: The action cannot be done; the message is for the visitor.
    """
    if path == "/add":
      return _json(_about(self._gallery.add(words.get("name", ""), content)))
    actions = {
      "/start": self._start,
      "/example": self._example,
      "/find": self._find,
      "/save": self._save,
      "/download": self._download,
      "/suggest": self._suggest,
      "/adapt": self._adapt,
      "/job": lambda _: _json(self._jobs.progress._asdict()),
    }
    if path not in actions:
      raise LookupError(f"there is no {path}")
    try:
      asked = json.loads(content)
    except (ValueError, RecursionError) as error:
      raise ValueError("expected JSON") from error
    if not isinstance(asked, dict):
      raise ValueError("expected a JSON object")
    return actions[path](asked)

  def _start(self, asked: dict[str, Any]) -> Answer:
    """Returns the pictures and labels; of the "keys" asked for, those still there."""
    added = []
    for key in _strings(asked.get("keys", [])):
      try:
        added.append(self._gallery.get(key))
      except LookupError:
        continue
    folder = self._gallery.folder
    labels = None
    version = self._version()  # read first: what changes the labels later is seen
    if self._labels and version:
      labels = marks.from_labels(self._labels, self._gallery)
    pictures = [*folder.values(), *(p for p in added if p.key not in folder)]
    problems = self._gallery.problems
    return _json(
      {
        "detector": self._finder.detector.config.name,
        "pictures": [*map(_about, pictures)],
        "marks": labels,
        "folder": self._gallery.place,
        "file": self._labels.name if self._labels else "",
        "version": version,
        "formats": [*formats.FORMATS],
        "problem": f"Left out: {join_first(problems)}" if problems else "",
      }
    )

  def _example(self, asked: dict[str, Any]) -> Answer:
    number = asked.get("number")
    if not isinstance(number, int) or not 0 <= number < 2**31:
      raise ValueError("number: expected a number of an example")
    pictures, marked = example.make(self._gallery, number)
    return _json({"pictures": [*map(_about, pictures)], "marks": marked})

  def _find(self, asked: dict[str, Any]) -> Answer:
    keys = _strings(asked.get("find"))
    if not 0 < len(keys) <= _AT_ONCE:
      raise ValueError(f"find: expected 1 to {_AT_ONCE} pictures")
    marked = marks.from_json(asked.get("marks"), self._gallery)
    queries = [self._gallery.get(key) for key in keys]
    found = self._finder.find(marked, queries, bool(asked.get("whole")))
    return _json(dict(zip(keys, found)))

  def _save(self, asked: dict[str, Any]) -> Answer:
    if self._labels is None:
      raise ValueError("fskd demo was started without --labels")
    marked = marks.from_json(asked.get("marks"), self._gallery)
    with self._writing:
      now = self._version()
      if now and now != asked.get("version"):
        if not asked.get("aside"):
          name = self._labels.name
          raise ChangedError(f"Another tab or program has changed {name} since.")
        other = _free(self._labels, "_other_", self._labels.suffix)
        shutil.copyfile(self._labels, other)
      marks.write(marked, "coco", self._labels)
      return _json({"version": self._version()})

  def _version(self) -> str:
    """Returns a checksum of the file of labels; "" where there is none."""
    if self._labels is None or not self._labels.exists():
      return ""
    return hashlib.sha256(self._labels.read_bytes()).hexdigest()

  def _download(self, asked: dict[str, Any]) -> Answer:
    kind = asked.get("format")
    if kind not in formats.FORMATS:
      raise ValueError(f"format: expected one of {', '.join(formats.FORMATS)}")
    marked = marks.from_json(asked.get("marks"), self._gallery)
    with tempfile.TemporaryDirectory(prefix="fskd_demo_") as folder:
      name = f"labels{formats.FORMATS[kind].suffix}"
      out = pathlib.Path(folder) / name
      marks.write(marked, kind, out)
      if out.is_dir():
        out = pathlib.Path(shutil.make_archive(f"{folder}/{kind}", "zip", out))
      return Answer(out.read_bytes(), "application/octet-stream", out.name)

  def _suggest(self, asked: dict[str, Any]) -> Answer:
    marked = marks.from_json(asked.get("marks"), self._gallery)
    among = [self._gallery.get(key) for key in _strings(asked.get("among"))]
    if not among or not marked.by_hand().pictures:
      raise ValueError("Mark points on a picture, and add others to choose from.")
    is_whole = bool(asked.get("whole"))
    self._jobs.start(
      lambda job: learning.suggest(self._finder, marked, among, is_whole, job)
    )
    return _json({})

  def _adapt(self, asked: dict[str, Any]) -> Answer:
    marked = marks.from_json(asked.get("marks"), self._gallery)
    if not marked.by_hand().pictures:
      raise ValueError("Mark points on a picture first.")
    among = [self._gallery.get(key) for key in _strings(asked.get("among"))]
    path, workdir = self._start_from, self._new_run()
    self._jobs.start(
      lambda job: learning.adapt(self._finder, marked, among, path, workdir, job)
    )
    return _json({})

  def _new_run(self) -> pathlib.Path:
    """Returns a new folder beside the file of labels, or one that ends with this."""
    return _free(self._labels or pathlib.Path(self._scratch.name) / "labels", "_run_")

  def close(self) -> None:
    """Removes the runs that nobody keeps."""
    self._scratch.cleanup()


def _free(place: pathlib.Path, kind: str, suffix: str = "") -> pathlib.Path:
  """Returns a new path beside another one: its name, the kind and a number."""
  names = (f"{place.stem}{kind}{number}{suffix}" for number in itertools.count(1))
  return next(x for x in map(place.with_name, names) if not x.exists())


def _about(picture: Picture) -> dict[str, Any]:
  width, height = picture.size
  return {"key": picture.key, "name": picture.name, "width": width, "height": height}


def _strings(values: Any) -> list[str]:
  if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
    raise ValueError("expected a list of pictures")
  return values


def _json(content: Any) -> Answer:
  return Answer(json.dumps(content).encode())
