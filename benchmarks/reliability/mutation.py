"""Random damages of small files: their bytes, and what JSON, CSV, XML and HDF5 hold."""

import csv
import io
import json
import math
import struct
from random import Random
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

_TEXTS = ["", " ", " a ", "a\0b", "a\nb", "\x1b[2J", "\ud800", "\uffff", "é", "²", "٣"]
_TEXTS += [
  "1_0",
  "nan",
  "inf",
  "-1e308",
  "9" * 5000,
  "a" * 300,
  "../../x.png",
  "/x.png",
]
_YAML = ["&a [b]", "*a", "[", "{a: b}", "- - -", "!!python/name:os.system", "null"]
_NUMBERS = [0, -1, 2, 3.5, 1e308, -1e308, math.inf, math.nan, 2**31, 2**63, 10**400]


def mutated(data: bytes, suffix: str, rng: Random, by_content: bool = True) -> bytes:
  """Returns a file with one to three damages.

  Args:
    data: the whole file.
    suffix: of its name, which tells how it is laid out.
    rng: draws the damages.
    by_content: whether what is in the file may be changed, not only its bytes.
  """
  change = _BY_SUFFIX.get(suffix)
  for _ in range(rng.randint(1, 3)):
    if change and by_content and (change is _h5 or rng.random() < 0.8):
      try:
        data = change(data, rng)
      except (
        ValueError,
        csv.Error,
        SyntaxError,
        OSError,
        RuntimeError,
        LookupError,
        TypeError,
        struct.error,
      ):
        return data  # an earlier damage: no longer of its kind
    else:
      data = _bytes(data, rng)
  return data


def _bytes(data: bytes, rng: Random) -> bytes:
  place, end = sorted(rng.randint(0, len(data)) for _ in range(2))
  inserted = rng.choice(
    [
      b"",
      b"\0",
      b"\xff\xfe",
      b"[",
      b"{" * 2000,
      b"<a>" * 2000,
      b"<!DOCTYPE a>",
      b"9" * 20,
    ]
  )
  kind = rng.randint(0, 3)
  if kind == 0 and data:  # a bit
    place = min(place, len(data) - 1)
    flipped = bytes([data[place] ^ 1 << rng.randint(0, 7)])
    return data[:place] + flipped + data[place + 1 :]
  if kind == 1:
    return data[:place]
  if kind == 2:
    return data[:place] + data[end:]
  return data[:place] + inserted + data[place:]


def _value(rng: Random) -> Any:
  kind = rng.randint(0, 3)
  if kind == 0:
    return rng.choice(_TEXTS)
  if kind == 1:
    return rng.choice(_NUMBERS)
  if kind == 2:
    return rng.choice([None, True, [], {}, [[]], [{}], {"a": 1}, [0, 0, 2]])
  deep: Any = 1
  for _ in range(rng.choice([2, 900])):
    deep = [deep]
  return deep


def _json(data: bytes, rng: Random) -> bytes:
  content = json.loads(data)
  places = [*_places(content)]
  holder, key = rng.choice(places) if places else ([content], 0)
  kind = rng.randint(0, 4)
  if kind == 0:
    del holder[key]
  elif kind == 1 and isinstance(holder, list):
    holder.insert(key, holder[key])
  elif kind == 2 and isinstance(holder, dict):
    holder[rng.choice(_TEXTS)] = holder.pop(key)
  else:
    holder[key] = _value(rng)
  return json.dumps(content).encode("utf-8")


def _places(content: Any) -> Any:
  items: Any = ()
  if isinstance(content, dict):
    items = content.items()
  elif isinstance(content, list):
    items = enumerate(content)
  for key, value in items:
    yield content, key
    yield from _places(value)


def _csv(data: bytes, rng: Random) -> bytes:
  rows = [*csv.reader(io.StringIO(data.decode("utf-8"), newline=""))]
  row = rng.choice(rows)
  kind, place = rng.randint(0, 4), rng.randint(0, len(row) - 1)
  if kind == 0:
    del row[place]
  elif kind == 1:
    row.insert(place, row[place])
  elif kind == 2:
    rows.insert(0, rows.pop(rng.randint(0, len(rows) - 1)))
  else:
    row[place] = rng.choice([*_TEXTS, str(rng.choice(_NUMBERS))])
  text = io.StringIO()
  csv.writer(text).writerows(rows)
  return text.getvalue().encode("utf-8", "surrogatepass")


def _xml(data: bytes, rng: Random) -> bytes:
  root = ElementTree.fromstring(data)
  element = rng.choice([*root.iter()])
  kind = rng.randint(0, 4)
  if kind == 0 and len(element):
    element.remove(rng.choice([*element]))
  elif kind == 1 and len(element):
    element.append(rng.choice([*element]))
  elif kind == 2 and element.attrib:
    del element.attrib[rng.choice([*element.attrib])]
  elif kind == 3 and element.attrib:
    value = rng.choice([*_TEXTS, str(rng.choice(_NUMBERS))])
    element.attrib[rng.choice([*element.attrib])] = value
  else:
    element.text = rng.choice(_TEXTS)
  return ElementTree.tostring(root, "unicode").encode("utf-8", "surrogatepass")


def _h5(data: bytes, rng: Random) -> bytes:
  stream = io.BytesIO(data)
  with h5py.File(stream, "r+") as file:
    names: list[str] = []
    file.visit(names.append)
    name = rng.choice(names)
    node, kind = file[name], rng.randint(0, 2)
    if kind == 0 and len(node.attrs):
      attribute = rng.choice([*node.attrs])
      del node.attrs[attribute]
      node.attrs[attribute] = rng.choice(["", "x", "multi", -1, 2.5, 10**9, [1, 2]])
    elif kind == 1 and len(node.attrs):
      del node.attrs[rng.choice([*node.attrs])]
    else:
      del file[name]
      _replace(file, name, rng)
  return stream.getvalue()


def _replace(file: h5py.File, name: str, rng: Random) -> None:
  kind = rng.randint(0, 6)
  if kind == 0:
    file.create_group(name)
  elif kind == 1:
    file[name] = h5py.SoftLink("/" + rng.choice(["a", name]))
  elif kind == 2:
    file[name] = h5py.ExternalLink("other.h5", name)
  elif kind == 3:
    shape = rng.choice([(2**40,), (1, 2, 3, 2**24), (2**15, 2**15), (2**21, 1)])
    chunks = tuple(min(side, 1000) for side in shape)
    file.create_dataset(name, shape, rng.choice(["f8", "i4", "S5"]), chunks=chunks)
  elif kind == 4:
    file[name] = np.array([t.encode("utf-8", "replace") for t in _TEXTS[:6] if t])
  elif kind == 5:
    file[name] = rng.choice([1, -1.5, "text", h5py.Empty("f8")])
  else:
    shape = rng.choice([(0,), (3,), (6,), (2, 2), (1, 2, 3, 5), (1, 2, 3, 0)])
    file[name] = np.full(shape, rng.choice([0.0, 1.0, -3.0, math.nan, math.inf]))


def _words(data: bytes, rng: Random) -> bytes:
  """Changes a word of a text of lines: labels of YOLO, TPS, .pts, YAML."""
  lines = [line.split(" ") for line in data.decode("utf-8").split("\n")]
  line = rng.choice(lines)
  kind, place = rng.randint(0, 5), rng.randint(0, len(line) - 1)
  if kind == 0:
    del line[place]
  elif kind == 1:
    line.insert(place, line[place])
  elif kind == 2:
    lines.insert(rng.randint(0, len(lines)), line)
  elif kind == 3:
    lines.remove(line)
  else:
    line[place] = rng.choice([*_TEXTS, *_YAML, str(rng.choice(_NUMBERS))])
  text = "\n".join(map(" ".join, lines))
  return text.encode("utf-8", "surrogatepass")


def _safetensors(data: bytes, rng: Random) -> bytes:
  (size,) = struct.unpack("<Q", data[:8])
  header = _json(data[8 : 8 + size], rng)
  return struct.pack("<Q", len(header)) + header + data[8 + size :]


_BY_SUFFIX = {
  ".json": _json,
  ".csv": _csv,
  ".txt": _words,
  ".tps": _words,
  ".pts": _words,
  ".yaml": _words,
  ".xml": _xml,
  ".h5": _h5,
  ".slp": _h5,
  ".safetensors": _safetensors,
}
