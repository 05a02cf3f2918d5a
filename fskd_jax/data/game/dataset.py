"""Data set of rendered animals, people and things: two COCO folders."""

import os
import pathlib

import numpy as np
import tqdm
from jaxtyping import Int

from fskd_jax.data import coco_entries
from fskd_jax.data.game import categories, picture
from fskd_jax.data.game.archive import Archive
from fskd_jax.data.game.categories import Category
from fskd_jax.files import new_folder, write_json, write_picture

MODELS, KINDS = "models", "kinds"
"""Folders of what is written."""

JPEG_QUALITY = 92
_ATTEMPTS = 8
_LEAST_VISIBLE = 5
_NO_GROUND = ("_norm", "_spec", "lava", "test")

Jobs = list[tuple[Category, int]]
"""Categories with their numbers of pictures."""


def write_game(
  source: str | os.PathLike,
  out: str | os.PathLike,
  *,
  per_model: int = 20,
  per_thing: int = 10,
  things: int = 200,
  per_kind: int = 1000,
  seed: int = 0,
) -> tuple[int, int]:
  """Renders animals, people and things of 0 A.D. into a new folder.

  `out`/models has a category for each model: its joints and points all over it, which
  mean nothing beyond it. `out`/kinds has quadrupeds and people of all models, with
  keypoints of the same names. Both are COCO folders: annotations.json and images/. The
  folder appears once it is complete.

  Args:
    source: The game's public.zip.
    out: The folder to make.
    per_model: Number of pictures of each model of an animal or a person.
    per_thing: Number of pictures of each thing.
    things: Number of things.
    per_kind: Number of pictures of quadrupeds, and of people.
    seed: Seed of the pictures.

  Returns:
    The numbers of pictures in the two folders.

  Raises:
    FileNotFoundError: There is no archive.
    ValueError: It is not the game's.
    FileExistsError: `out` exists.
  """
  archive, out = Archive(source), pathlib.Path(out)
  if out.exists():
    raise FileExistsError(f"{out} exists; name a new folder")
  living = categories.by_model(archive, categories.LIVING, seed)
  other = categories.by_model(archive, categories.THINGS, seed)
  other = {name: found for name, found in other.items() if name not in living}
  solid = categories.some_things(archive, other, things)
  counts = dict.fromkeys(living, per_model) | dict.fromkeys(solid, per_thing)
  models = living | other
  of_models = [
    (categories.of_model(archive, name, models[name]), count)
    for name, count in counts.items()
  ]
  of_kinds = [
    (kind, per_kind)
    for kind in (
      categories.all_quadrupeds(archive, living),
      categories.all_people(archive, living),
    )
    if kind.actors
  ]
  total = sum(count for _, count in of_models + of_kinds)
  with new_folder(out) as unfinished:
    with tqdm.tqdm(
      total=total, desc="Rendering", unit="image", disable=None
    ) as progress:
      numbers = [
        _write(archive, unfinished / folder, todo, [seed, i], progress)
        for i, (folder, todo) in enumerate(((MODELS, of_models), (KINDS, of_kinds)))
      ]
  return numbers[0], numbers[1]


def _write(
  archive: Archive,
  folder: pathlib.Path,
  jobs: Jobs,
  seed: list[int],
  progress: tqdm.tqdm,
) -> int:
  """Writes the pictures of all jobs into a COCO folder; returns their number."""
  (folder / "images").mkdir(parents=True)
  grounds = _grounds(archive)
  images, annotations = [], []
  for label, (category, count) in enumerate(jobs, start=1):
    for i in range(count):
      progress.update()
      rng = np.random.default_rng([*seed, label, i])
      taken = _take(archive, category, grounds, rng)
      if taken is None:
        continue
      shown, numbers = taken
      number = len(images) + 1
      name = f"{category.name.replace(' ', '-')}_{i:04d}.jpg"
      write_picture(folder / "images" / name, shown.image, quality=JPEG_QUALITY)
      height, width = shown.image.shape[:2]
      images.append(coco_entries.image(number, name, (width, height)))
      triples = np.zeros((len(category.keypoints), 3))
      seen = shown.visible
      triples[numbers[seen], :2] = shown.keypoints[seen].round(2)
      triples[numbers[seen], 2] = 2
      annotations.append(
        coco_entries.annotation(
          number, number, label, shown.box, triples.ravel().tolist()
        )
      )
  labels = [
    {"id": i, "name": category.name, "supercategory": "game"}
    | {"keypoints": list(category.keypoints), "skeleton": []}
    for i, (category, _) in enumerate(jobs, start=1)
  ]
  content = {"images": images, "annotations": annotations, "categories": labels}
  write_json(folder / "annotations.json", content, indent=None)
  return len(images)


def _take(
  archive: Archive, category: Category, grounds: list[str], rng: np.random.Generator
) -> tuple[picture.Picture, Int[np.ndarray, " n"]] | None:
  """Tries until enough of an actor is seen; returns also its keypoints' numbers."""
  for _ in range(_ATTEMPTS):
    found = categories.posed_and_marked(archive, category, rng)
    if found is not None:
      posed, marks = found
      args = posed, marks.places, marks.depths, grounds, rng
      shown = picture.take(archive, *args)
      if shown is not None and shown.visible.sum() >= _LEAST_VISIBLE:
        return shown, marks.numbers
  return None


def _grounds(archive: Archive) -> list[str]:
  """Returns the textures of the ground."""
  suffix = ".cached.dds"
  return [
    name.removeprefix("art/textures/").removesuffix(suffix)
    for name in archive.names("art/textures/terrain/types/")
    if name.endswith(suffix) and not any(x in name.lower() for x in _NO_GROUND)
  ]
