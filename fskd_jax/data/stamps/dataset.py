"""Data set of composed stamps: animals with keypoints, other things without."""

import os
import pathlib
from collections.abc import Iterator

import numpy as np
import tqdm
from PIL import Image

from fskd_jax.data import coco_entries, images
from fskd_jax.data.stamps import compose, labels
from fskd_jax.data.stamps.labels import Marked
from fskd_jax.files import new_folder, write_json, write_picture
from fskd_jax.messages import raise_if

ANIMALS, OBJECTS = "animals", "objects"
"""Folders of what is written."""

JPEG_QUALITY = 92
LEAST_SIDE = 64
"""Shortest longer side of a stamp that is used, pixels."""

_FLAT = ("symbols", "flags", "roadsigns", "space")
"""Folders of drawings, which are left out with everything called cartoon."""


def write_stamps(
  source: str | os.PathLike,
  out: str | os.PathLike,
  *,
  per_animal: int = 16,
  per_object: int = 4,
  seed: int = 0,
) -> tuple[int, int]:
  """Composes pictures of the stamps of Tux Paint into a new folder.

  `out`/animals is a COCO folder: annotations.json and images/, one category for each
  group of animals. `out`/objects holds pictures of the other stamps, without labels.
  The folder appears once it is complete.

  Args:
    source: The folder of the stamps, in which animals/ lies.
    out: The folder to make.
    per_animal: Number of pictures of each animal.
    per_object: Number of pictures of each other stamp.
    seed: Seed of the pictures.

  Returns:
    The numbers of pictures of animals and of other things.

  Raises:
    FileNotFoundError: There are no stamps, or one with keypoints is missing.
    FileExistsError: `out` exists.
  """
  root, out = pathlib.Path(source), pathlib.Path(out)
  if not (root / "animals").is_dir():
    raise FileNotFoundError(
      f"{root}: no folder animals/; expected the stamps of Tux Paint "
      "(apt-get install tuxpaint-stamps-default: /usr/share/tuxpaint/stamps)"
    )
  if out.exists():
    raise FileExistsError(f"{out} exists; name a new folder")
  stamps = labels.read()
  missing = [x.file for x in stamps if not (root / x.file).is_file()]
  what = f"{root}: {len(missing)} of {len(stamps)} stamps with keypoints are missing"
  raise_if(missing, FileNotFoundError, what)
  others = _others(root, {stamp.file for stamp in stamps})
  with new_folder(out) as unfinished:
    for folder in (unfinished / ANIMALS / "images", unfinished / OBJECTS):
      folder.mkdir(parents=True)
    total = per_animal * len(stamps) + per_object * len(others)
    with tqdm.tqdm(
      total=total, desc="Composing stamps", unit="image", disable=None
    ) as progress:
      content = _animals(root, stamps, unfinished / ANIMALS, per_animal, seed, progress)
      write_json(unfinished / ANIMALS / "annotations.json", content, indent=None)
      _objects(root, others, unfinished / OBJECTS, per_object, seed, progress)
  return per_animal * len(stamps), per_object * len(others)


def _others(root: pathlib.Path, marked: set[str]) -> list[str]:
  """Returns the stamps without keypoints that are photographs and large enough."""
  found = []
  for path in sorted(root.rglob("*.png")):
    name = path.relative_to(root)
    is_flat = any(part in _FLAT or "cartoon" in part for part in name.parts)
    if not is_flat and name.as_posix() not in marked:
      with images.opened(path, name.as_posix()) as image:
        if max(image.size) >= LEAST_SIDE and image.mode in ("RGBA", "LA", "P", "PA"):
          found.append(name.as_posix())
  return found


def _animals(
  root: pathlib.Path,
  stamps: list[Marked],
  folder: pathlib.Path,
  count: int,
  seed: int,
  progress: tqdm.tqdm,
) -> dict:
  """Writes the pictures of the animals; returns their COCO annotations."""
  names = labels.names(stamps)
  numbers = {group: i for i, group in enumerate(names, start=1)}
  entries, annotations = [], []
  for stamp, i, rng in _each(stamps, count, [seed, 0]):
    points = np.array(list(stamp.keypoints.values()))
    picture = compose.compose(_open(root, stamp.file), points, rng)
    number, name = len(entries) + 1, _name(stamp.file.removeprefix("animals/"), i)
    write_picture(folder / "images" / name, picture.image, quality=JPEG_QUALITY)
    height, width = picture.image.shape[:2]
    entries.append(coco_entries.image(number, name, (width, height)))
    triples = np.zeros((len(names[stamp.group]), 3))
    for point, xy, seen in zip(stamp.keypoints, picture.keypoints, picture.visible):
      if seen:
        triples[names[stamp.group].index(point)] = *xy.round(2), 2
    annotations.append(
      coco_entries.annotation(
        number,
        number,
        numbers[stamp.group],
        picture.box,
        triples.ravel().tolist(),
      )
    )
    progress.update()
  categories = [
    {"id": numbers[group], "name": group, "supercategory": "animal"}
    | {"keypoints": names[group], "skeleton": []}
    for group in names
  ]
  return {"images": entries, "annotations": annotations, "categories": categories}


def _objects(
  root: pathlib.Path,
  files: list[str],
  folder: pathlib.Path,
  count: int,
  seed: int,
  progress: tqdm.tqdm,
) -> None:
  """Writes the pictures of the other stamps."""
  for file, i, rng in _each(files, count, [seed, 1]):
    picture = compose.compose(_open(root, file), np.zeros((0, 2)), rng)
    write_picture(folder / _name(file, i), picture.image, quality=JPEG_QUALITY)
    progress.update()


def _each(stamps: list, count: int, seed: list[int]) -> Iterator[tuple]:
  """Yields each stamp `count` times, with a number and the picture's own generator."""
  for position, stamp in enumerate(stamps):
    for i in range(count):
      yield stamp, i, np.random.default_rng([*seed, position, i])


def _name(file: str, number: int) -> str:
  stem = file.removesuffix(".png").replace("/", "-")
  return f"{stem}_{number:02d}.jpg"


def _open(root: pathlib.Path, file: str) -> Image.Image:
  with images.opened(root / file, file) as image:
    return image.convert("RGBA")
