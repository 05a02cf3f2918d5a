"""Every format reads what it wrote, on drawn labels."""

import pathlib
import tempfile

import pytest
from helpers.label_formats import WRITTEN, write
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax.data import names
from fskd_jax.data.labels import formats, schema

pytestmark = pytest.mark.slow

NAMES = st.text(min_size=1, max_size=8).filter(lambda s: not names.name_problem(s))
SIXTEENTHS = 16
"""Parts of a pixel: what every format holds without rounding."""


@st.composite
def labels(draw, num_objects: int, keeps: frozenset[str]):
  """Draws labels of a format: one category, and objects with a keypoint or more.

  A species and occlusions occur only where the format has a place for them.
  """
  keypoints = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
  species = draw(NAMES) if "species" in keeps else ""
  images = []
  for number in range(draw(st.integers(1, 3))):
    width, height = draw(st.integers(9, 400)), draw(st.integers(9, 400))
    objects = []
    for _ in range(draw(st.integers(1, num_objects))):
      shown = draw(st.lists(st.sampled_from(keypoints), min_size=1, unique=True))
      # All of them in the first object: some formats know the names from nowhere else.
      shown = shown if images or objects else keypoints
      points = {
        name: schema.Keypoint(
          draw(st.integers(-8, SIXTEENTHS * width - 8)) / SIXTEENTHS,
          draw(st.integers(-8, SIXTEENTHS * height - 8)) / SIXTEENTHS,
          draw(st.booleans()) if "occlusion" in keeps else False,
        )
        for name in keypoints
        if name in shown
      }
      x, y = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
      sides = draw(st.integers(1, width - x)), draw(st.integers(1, height - y))
      objects.append(schema.LabelledObject(points, species, (x, y, *sides)))
    images.append(
      schema.LabelledImage(f"clip/img{number}.png", (width, height), tuple(objects))
    )
  return schema.Labels(tuple(images), {species: schema.Category(tuple(keypoints))})


def _there_and_back(name: str, written: schema.Labels) -> schema.Labels:
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f"labels{formats.FORMATS[name].suffix}"
    write(name, written, path)
    return formats.FORMATS[name].read(path)


@pytest.mark.parametrize("name", WRITTEN)
@given(data=st.data())
def test_a_format_reads_what_it_wrote(name, data):
  keeps = formats.FORMATS[name].keeps
  most = 1 if name == "lightning-pose" else 3  # it knows one object for each image
  written = data.draw(labels(most, keeps))
  back = _there_and_back(name, written)
  assert len(back.images) == len(written.images)
  for image, expected in zip(back.images, written.images):
    assert len(image.objects) == len(expected.objects)
    for found, wanted in zip(image.objects, expected.objects):
      assert found.species == wanted.species
      assert found.keypoints.keys() == wanted.keypoints.keys()
      for keypoint, point in wanted.keypoints.items():
        assert found.keypoints[keypoint] == pytest.approx(point, abs=1e-6)
      if "boxes" in keeps:
        assert found.box == pytest.approx(wanted.box, abs=1e-6)
  if "names" in keeps:
    assert schema.keypoint_names(back) == schema.keypoint_names(written)
