"""Files of labels: mutated at random, and made by hand to do harm."""

import json
import os
import pathlib
import resource
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reliability.trial import Place, Trial, check, fskd, limited

_SECONDS = 30
_MEGABYTES = 1500
"""What a file may cost that is refused."""


_EMPTY = "million_frames.h5"
"""Its frames are all empty, so that it may also be read."""


def mutated(place: Place) -> Iterator[Trial]:
  """Cases of `fuzz`, of every kind of file."""
  from benchmarks.reliability import fuzz

  for outcome in fuzz.run(490 if place.is_full else 20, place.seed):
    failures = dict(case.split(": ", 1) for case in outcome.failed)
    for number in range(outcome.tried):
      why = failures.get(f"case {number}")

      def run(why=why) -> None:
        check(why is None, str(why))

      yield Trial(f"{outcome.kind} {number}", run)


def hand_made(place: Place) -> Iterator[Trial]:
  """`fskd data convert` on each: refused with a reason that names the file, at once."""
  makers = {**_texts(), **_tables()}
  images = place.work / "images"
  images.mkdir()
  for stem in ("a", "frame_000000", "frame_000001", "frame_000002"):
    Image.new("RGB", (80, 64)).save(images / f"{stem}.png")
  for name, content in makers.items():

    def text(name=name, content=content) -> None:
      path = place.work / name
      path.write_bytes(content)
      _check_refused(place, path)

    yield Trial(name, text)
  for name, make in _HDF5.items():

    def array(name=name, make=make) -> None:
      import h5py

      path = place.work / name
      with h5py.File(path, "w") as file:
        make(file, place.work)
      _check_refused(place, path)

    yield Trial(name, array)
  for name, make in (
    ("pipe.json", os.mkfifo),
    ("zero.json", _zero),
    ("zero.csv", _zero),
  ):

    def special(name=name, make=make) -> None:
      path = place.work / name
      make(path)
      _check_refused(place, path)

    yield Trial(name, special)
  for name in ("../secret.png", "/etc/secret.png", "a/../../secret.png"):

    def outside(name=name) -> None:
      _check_outside(place, name)

    yield Trial(f"image {name} for fskd data doctor", outside)


def _check_refused(place: Place, path: pathlib.Path) -> None:
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  out = place.work / f"{path.name}.converted.json"
  # Only tables and HDF5 need the images, for their sizes.
  needed = path.suffix in (".csv", ".h5")
  images = ["--images", place.work / "images"] if needed else []
  with limited(_SECONDS):
    done = fskd("data", "convert", path, "--out", out, *images)
  grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
  check(grown < _MEGABYTES, f"took {grown:.0f} MB more")
  if path.name == _EMPTY and done.status == 0:
    return
  check(done.status != 0, f"taken without a word: {done.last[:200]}")
  named = any(text in done.text for text in (path.name, "images that are not in"))
  check(named, f"names no file: {done.last[:200]}")


def _check_outside(place: Place, name: str) -> None:
  """Checks that an image outside its data set's folder is a complaint."""
  folder = place.work / name.replace("/", "_")
  (folder / "images").mkdir(parents=True)
  secret = folder / "images" / name
  if not name.startswith("/"):
    (folder / "images" / "a").mkdir()
    Image.new("RGB", (80, 64)).save(secret.resolve())
  (folder / "annotations.json").write_text(json.dumps(_coco(file_name=name)))
  done = fskd("data", "doctor", folder)
  check(done.status != 0 or "outside" in done.text, f"no complaint: {done.last[:200]}")


def _coco(**image: Any) -> dict[str, Any]:
  entry = {"id": 1, "file_name": "a.png", "width": 80, "height": 64} | image
  annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 40, 40]}
  return {
    "images": [entry],
    "categories": [{"id": 1, "name": "c", "keypoints": ["n"]}],
    "annotations": [annotation | {"keypoints": [5, 5, 2]}],
  }


def _texts() -> dict[str, bytes]:
  laughs = "".join(
    f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(12)
  )
  external = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'

  def points(values: str) -> bytes:
    inner = f'<points label="n" points="{values}"/>'
    image = f'<image id="0" name="a.png" width="80" height="64">{inner}</image>'
    return f"<annotations>{image}</annotations>".encode()

  huge = json.dumps(_coco(width=0)).replace('"width": 0', f'"width": 1{"0" * 400}')
  return {
    "laughs.xml": f"<!DOCTYPE a [{laughs}]><annotations>&l11;</annotations>".encode(),
    "external.xml": f"{external}<annotations>&x;</annotations>".encode(),
    "deep.xml": ("<annotations>" + "<a>" * 100_000).encode(),
    "cut.xml": b"<annotations><image",
    "points.xml": points("1;2"),
    "nan.xml": points("nan,nan"),
    "digits.xml": points("1" * 400 + ",1"),
    "deep.json": b"[" * 100_000,
    "cut.json": json.dumps(_coco()).encode()[:-20],
    "digits.json": huge.encode(),
    "nul.json": json.dumps(_coco(file_name="a\0b.png")).encode(),
    "surrogate.json": json.dumps(_coco(file_name="\ud800.png")).encode(),
    "number.json": b"7",
    "nan.json": json.dumps(_coco()).replace("[5, 5, 2]", "[NaN, 5, 2]").encode(),
    "text.json": json.dumps(_coco()).replace("[5, 5, 2]", '["a", 5, 2]').encode(),
    "short.json": json.dumps(_coco()).replace("[5, 5, 2]", "[5, 5]").encode(),
    "bytes.json": b"\xff\xfe\x00",
    "empty.json": b"",
  }


def _tables() -> dict[str, bytes]:
  head = "scorer,m,m,m\nbodyparts,n,n,n\ncoords,x,y,likelihood\n"
  sleap = "track,frame_idx,instance.score,n.x,n.y,n.score\n"
  return {
    "words.csv": f"{head}a.png,one,two,1\n".encode(),
    "underscore.csv": f"{head}a.png,1_0,2,1\n".encode(),
    "digits.csv": f"{sleap},{'1' * 5000},1,1,1,1\n".encode(),
    "power.csv": f"{sleap},\u00b2,1,1,1,1\n".encode(),
    "bytes.csv": f"{head}a.png,1,2,1\n".encode() + b"\xff\xfe,1,2,1\n",
    "head.csv": b"scorer\n",
  }


def _sleap(frames: int) -> Any:
  def make(file: Any, _: pathlib.Path) -> None:
    shape, chunks = (1, 2, 1, frames), (1, 2, 1, 1000)
    file.create_dataset("tracks", shape, "f8", chunks=chunks, fillvalue=np.nan)
    file["node_names"] = [b"a"]

  return make


def _pandas(file: Any, _: pathlib.Path) -> None:
  group = file.create_group("df")
  group.attrs["pandas_type"], group.attrs["nblocks"] = "frame", 0
  for axis in ("axis0", "axis1"):
    group.attrs[f"{axis}_variety"] = "regular"
    group.create_dataset(axis, (300_000,), "i4", chunks=(1000,), compression="gzip")


def _groups(file: Any, _: pathlib.Path) -> None:
  group = file.create_group("df")
  group.attrs["pandas_type"], group.attrs["nblocks"] = "frame", 1
  group.create_group("axis0")
  group.create_group("axis1")


def _linked(file: Any, folder: pathlib.Path) -> None:
  import h5py

  other = folder / "other.h5"
  with h5py.File(other, "w") as theirs:
    theirs["tracks"] = np.zeros((1, 2, 1, 3))
  file["tracks"] = h5py.ExternalLink(str(other), "tracks")
  file["node_names"] = [b"a"]


def _stored(file: Any, folder: pathlib.Path) -> None:
  (folder / "raw").write_bytes(bytes(48))
  external = [(str(folder / "raw"), 0, 48)]
  file.create_dataset("tracks", (1, 2, 1, 3), "f8", external=external)
  file["node_names"] = [b"a"]


_HDF5 = {
  "petabytes.h5": _sleap(2**50),
  "million_frames.h5": _sleap(20_000_000),
  "table.h5": _pandas,
  "groups.h5": _groups,
  "linked.h5": _linked,
  "stored.h5": _stored,
  "nothing.h5": lambda file, folder: None,
}


def _zero(path: pathlib.Path) -> None:
  path.symlink_to("/dev/zero")
