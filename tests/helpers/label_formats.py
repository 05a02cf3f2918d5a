"""Formats that are written, for tests that try each of them."""

import importlib.util
import pathlib

import pytest
from PIL import Image

from fskd_jax.data.labels import formats

without_sleap_io = pytest.mark.skipif(
  importlib.util.find_spec("sleap_io") is None,
  reason="SLEAP's project files need the extra [sleap]: sleap-io is not installed",
)
WRITTEN = [
  pytest.param(name, marks=without_sleap_io if name == "slp" else ())
  for name in formats.FORMATS
]


def write(name: str, labels, path: pathlib.Path) -> None:
  """Writes labels, with blank images where a format keeps them in its folder."""
  form = formats.FORMATS[name]
  form.write(labels, path, path)
  for image in labels.images if form.place else ():
    picture = path / form.place(str(image.name), path)
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", image.size).save(picture)
