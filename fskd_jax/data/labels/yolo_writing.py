"""Writes YOLO-pose: data.yaml, and a text file for each image, in labels/."""

import pathlib

import yaml

from fskd_jax.data.keypoint_types import flip_permutation
from fskd_jax.data.labels.schema import (
  TO_CENTER,
  LabelledObject,
  Labels,
  keypoint_names,
)
from fskd_jax.files import write_text


def place(name: str, out: pathlib.Path) -> str:
  """Returns the path of an image in a data set: images/FOLDER/FILE."""
  return f"images/{name.removeprefix('images/')}"


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes all classes with the keypoints of all: YOLO has one list for them.

  Raises:
    ValueError: Two images differ in their suffix only, by which YOLO tells no labels
      apart.
  """
  names = keypoint_names(labels)
  classes = [*labels.categories]
  texts: dict[pathlib.PurePath, str] = {}
  for image in labels.images:
    assert image.size and isinstance(image.name, str)
    path = pathlib.PurePosixPath(place(image.name, out)).with_suffix(".txt")
    path = "labels" / path.relative_to("images")
    if path in texts:
      raise ValueError(
        f"{image.name} and another image would both have the labels {path}"
      )
    lines = [_line(found, names, classes, image.size) for found in image.objects]
    texts[path] = "".join(lines)
  for path, text in texts.items():
    write_text(unfinished / path, text)
  settings = {  # without path, which ultralytics takes from where it is run
    "train": "images",
    "val": "images",
    "kpt_shape": [len(names), 3],
    "flip_idx": flip_permutation(names).tolist(),
    "names": dict(enumerate(classes)),
    "kpt_names": {number: [*names] for number in range(len(classes))},
  }
  text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
  write_text(unfinished / "data.yaml", text)


def _line(
  found: LabelledObject,
  names: tuple[str, ...],
  classes: list[str],
  size: tuple[int, int],
) -> str:
  assert found.box
  x, y, w, h = (value / side for value, side in zip(found.box, size * 2))
  values: list[float] = [x + w / 2, y + h / 2, w, h]
  for name in names:
    point = found.keypoints.get(name)
    if point is None:
      values += (0, 0, 0)
      continue
    shares = ((v - TO_CENTER) / side for v, side in zip((point.x, point.y), size))
    values += (*shares, 1 if point.occluded else 2)
  return " ".join(map(repr, [classes.index(found.species), *values])) + "\n"
