"""Images, file names and videos that `fskd predict` meets."""

import importlib.util
import io
import os
import pathlib
import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.reliability.predicting import Predicting, entries
from benchmarks.reliability.trial import Place, Trial, check

_MEGABYTES = 1500
"""That a refused image may cost."""


def predicted(place: Place) -> Iterator[Trial]:
  """An odd image beside a sound one, which is predicted whatever the other is."""
  tools = Predicting(place)
  sound = place.work / "sound.png"
  tools.picture.save(sound)
  for name, content in _right(tools.picture).items():

    def right(name=name, content=content) -> None:
      path = place.work / name
      path.write_bytes(content)
      done, out = tools.predict(sound, path)
      check(done.status == 0, f"not predicted: {done.text[-200:]}")
      first, second = entries(out)
      check(second["file_name"] == name, "another file")
      if "alike" in name:
        found = [np.array(e["keypoints"]) for e in (first, second)]
        check(np.allclose(*found, atol=0.5), "other keypoints than of the PNG")

    yield Trial(name, right)
  wrong = _wrong(tools.picture) | {
    "bomb.png": _bomb(13370, 6),
    "grey.png": _bomb(9000, 0),
  }
  for name, content in wrong.items():

    def refused(name=name, content=content) -> None:
      path = place.work / name
      path.write_bytes(content)
      _check_one_refused(tools, sound, path)

    yield Trial(name, refused)
  for name, make in (
    ("zero.png", _zero),
    ("pipe.png", os.mkfifo),
    ("dir.png", os.mkdir),
  ):

    def special(name=name, make=make) -> None:
      path = place.work / name
      make(path)
      _check_one_refused(tools, sound, path)

    yield Trial(name, special)


def _check_one_refused(
  tools: Predicting, sound: pathlib.Path, path: pathlib.Path
) -> None:
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  done, out = tools.predict(sound, path)
  grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
  check(grown < _MEGABYTES, f"took {grown:.0f} MB more")
  check(done.status in (1, 2), f"exit {done.status}, without a word")
  check(path.name in done.text, f"the file is not named: {done.text[-200:]}")
  if done.status == 1:
    check([e["file_name"] for e in entries(out)] == [sound.name], "other entries")


def _right(picture: Image.Image) -> dict[str, bytes]:
  """Returns images that must be predicted; `alike` ones have the same pixels."""
  grey, rgba = picture.convert("L"), picture.convert("RGBA")
  deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
  exif = Image.Exif()
  exif[0x0112] = 6  # turned
  return {
    "alike.bmp": _encoded(picture, "BMP"),
    "alike.tiff": _encoded(picture, "TIFF"),
    "alike.webp": _encoded(picture, "WEBP", lossless=True),
    "alike.ppm": _encoded(picture, "PPM"),
    "alike_jpeg.png": _encoded(picture, "JPEG", quality=98, subsampling=0),
    "alike_rgba.png": _encoded(rgba, "PNG"),
    "progressive.jpg": _encoded(picture, "JPEG", progressive=True),
    "turned.jpg": _encoded(picture, "JPEG", exif=exif),
    "grey.jpg": _encoded(grey, "JPEG"),
    "deep.png": _encoded(deep, "PNG"),
    "cmyk.jpg": _encoded(picture.convert("CMYK"), "JPEG"),
    "palette.gif": _encoded(picture.convert("P"), "GIF"),
    "bits.png": _encoded(picture.convert("1"), "PNG"),
    "pixel.png": _encoded(picture.resize((1, 1)), "PNG"),
    "strip.png": _encoded(picture.resize((3, 900)), "PNG"),
  }


def _wrong(picture: Image.Image) -> dict[str, bytes]:
  """Returns images that cannot be predicted, or not wholly."""
  png, jpeg = _encoded(picture, "PNG"), _encoded(picture, "JPEG")
  frames = [picture.rotate(90 * i) for i in range(3)]
  several = {"save_all": True, "append_images": frames}
  floats = Image.fromarray(np.asarray(picture.convert("L"), np.float32))
  return {
    "empty.png": b"",
    "text.png": b"no image at all",
    "cut.png": png[: len(png) // 2],
    "cut.jpg": jpeg[: len(jpeg) // 2],
    "crc.png": png[:40] + bytes([png[40] ^ 1]) + png[41:],
    "noise.jpg": jpeg[:2] + os.urandom(2000),
    "eps.png": _encoded(picture, "EPS"),
    "svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "moving.gif": _encoded(picture, "GIF", **several),
    "moving.webp": _encoded(picture, "WEBP", **several),
    "moving.png": _encoded(picture, "PNG", **several),
    "pages.tiff": _encoded(picture, "TIFF", **several),
    "floats.tiff": _encoded(floats, "TIFF"),
    "huge.png": _header(2**31 - 1, 2**31 - 1, 2),
    "nothing.png": _header(0, 0, 2),
  }


def file_names(place: Place) -> Iterator[Trial]:
  """A file of an odd name beside another one: both are predicted and written."""
  tools = Predicting(place)
  names = {
    "newline": b"z\nline.png",
    "Latin-1": b"z\xe9.png",
    "253 letters": b"z" * 249 + b".png",
    "markup": b"<b>&amp;.png",
    "comma and quotes": b'z,"q".png',
    "equals": b"=1+1.png",
    "emoji": "z😀.png".encode(),
    "bell": b"z\x07.png",
  }
  for number, (name, raw) in enumerate(names.items()):

    def run(number=number, raw=raw) -> None:
      folder = place.work / f"names_{number}"
      folder.mkdir()
      tools.picture.save(folder / "a.png")
      with open(os.fsencode(folder) + b"/" + raw, "wb") as file:
        file.write(_encoded(tools.picture, "PNG"))
      done, out = tools.predict(folder)
      check(done.status == 0, f"exit {done.status}: {done.last[:200]}")
      check(len(entries(out)) == 2, f"{len(entries(out))} of 2 entries")
      rows = (out / "predictions.csv").read_bytes()
      check(rows.count(b"a.png") == 1 and rows.count(b"\n") >= 3, "rows are missing")

    yield Trial(name, run)


def videos(place: Place) -> Iterator[Trial]:
  """Videos whole, cut or damaged: as many frames as the file says, or a word."""
  if importlib.util.find_spec("av") is None:
    return
  tools = Predicting(place)
  whole = {suffix: _video(place.work / f"whole{suffix}") for suffix in _CODECS}

  def damaged(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(500) + content[middle + 500 :]

  damages: dict[str, Callable[[bytes], bytes]] = {
    "whole": lambda content: content,
    "cut": lambda content: content[: len(content) * 6 // 10],
    "damaged": damaged,
    "text": lambda content: b"#EXTM3U\nhttp://localhost/a.ts\n",
    "empty": lambda content: b"",
  }
  for name, damage in damages.items():
    for suffix, content in whole.items():

      def run(name=name, damage=damage, suffix=suffix, content=content) -> None:
        path = place.work / f"{name}{suffix}"
        path.write_bytes(damage(content))
        done, out = tools.predict(path)
        if name == "whole":
          check(done.status == 0, f"not predicted: {done.last[:200]}")
          check(len(entries(out)) == _FRAMES, "frames are missing")
        else:
          check(done.status in (1, 2), f"exit {done.status}, without a word")
          check(path.name in done.text, f"not named: {done.text[-200:]}")

      yield Trial(f"{name}{suffix}", run)


_FRAMES = 20
_CODECS = {".avi": "mpeg4", ".mkv": "mpeg4", ".mp4": "mpeg4"}


def _video(path: pathlib.Path) -> bytes:
  import av  # pyright: ignore[reportMissingImports]: an extra

  rng = np.random.default_rng(0)
  with av.open(str(path), "w") as container:
    stream: Any = container.add_stream(_CODECS[path.suffix], rate=10)
    stream.width = stream.height = 64
    stream.pix_fmt = "yuv420p"
    for _ in range(_FRAMES):
      pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
      frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return path.read_bytes()


def _encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
  content = io.BytesIO()
  picture.save(content, kind, **options)
  return content.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
  body = kind + data
  return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def _header(width: int, height: int, color: int, data: bytes = b"") -> bytes:
  """Returns a PNG of a size, with what there is of its pixels."""
  head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0))
  return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _bomb(side: int, color: int) -> bytes:
  """Returns a PNG of less than a megabyte with side x side pixels."""
  packed = zlib.compressobj(9)
  row = bytes(1 + side * {0: 1, 6: 4}[color])
  data = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()
  return _header(side, side, color, data)


def _zero(path: pathlib.Path) -> None:
  path.symlink_to("/dev/zero")
