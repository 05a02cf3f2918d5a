"""COCO folder of synthetic creatures: a data set that needs no download."""

import json
import os
import pathlib
import subprocess
import sys
from concurrent import futures

import tqdm

from fskd_jax.data import coco_entries
from fskd_jax.data.creatures import render, skeleton, worker
from fskd_jax.data.creatures.species import SPECIES
from fskd_jax.files import new_folder, write_json

VERSION = 1
"""Version of the pictures, part of the name of every cache; raise it whenever the same
seed gives other pictures."""


def write_creatures(
  folder: str | os.PathLike,
  *,
  images_per_species: int = 250,
  seed: int = 0,
  processes: int = 2,
) -> None:
  """Renders the data set into a new folder: annotations.json and images/.

  The folder appears once it is complete. Its content does not depend on the number of
  processes.

  Raises:
    ValueError: There is less than one image per species, or less than one process.
    FileExistsError: The folder exists.
    RuntimeError: A rendering process failed.
  """
  if images_per_species < 1 or processes < 1:
    raise ValueError(
      f"images_per_species is {images_per_species} and processes {processes};"
      " expected at least 1"
    )
  folder = pathlib.Path(folder)
  if folder.exists():
    raise FileExistsError(f"{folder} exists; remove it to render it again")
  with new_folder(folder) as unfinished:
    (unfinished / "images").mkdir()
    pictures = _render(unfinished / "images", images_per_species, seed, processes)
    content = _coco(pictures, images_per_species)
    write_json(unfinished / "annotations.json", content, indent=None)


def folder_name(images_per_species: int, seed: int = 0) -> str:
  """Returns the name of the data set and of its rendered folder."""
  return f"creatures-v{VERSION}-{images_per_species}-seed{seed}"


def rendered_folder(
  cache_dir: str | os.PathLike, images_per_species: int, seed: int = 0
) -> pathlib.Path:
  """Returns the folder of the data set below `cache_dir`, rendering it if missing."""
  folder = pathlib.Path(cache_dir) / folder_name(images_per_species, seed)
  if not folder.exists():
    try:
      write_creatures(folder, images_per_species=images_per_species, seed=seed)
    except OSError:
      if not folder.exists():  # otherwise another process was faster
        raise
  return folder


def _render(
  images: pathlib.Path, images_per_species: int, seed: int, processes: int
) -> list[dict]:
  """Runs the workers; returns their line of JSON for each picture, in order.

  Workers are separate programs: this process may hold JAX and its threads, so that it
  cannot be forked safely, and spawned children would import JAX.
  """
  total = len(SPECIES) * images_per_species
  processes = min(processes, total)
  root = str(pathlib.Path(__file__).parents[3])
  paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
  environment = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(paths),
    "OPENBLAS_NUM_THREADS": "1",
  }

  def run(rank: int) -> list[dict]:
    numbers = map(str, (images_per_species, seed, rank, processes))
    with subprocess.Popen(
      [sys.executable, "-m", worker.__name__, str(images), *numbers],
      stdout=subprocess.PIPE,
      text=True,
      env=environment,
    ) as process:
      pictures = []
      for line in process.stdout or ():
        pictures.append(json.loads(line))
        progress.update()
    if process.returncode:
      raise RuntimeError(f"rendering failed with exit status {process.returncode}")
    return pictures

  with (
    tqdm.tqdm(
      total=total, desc="Rendering creatures", unit="image", disable=None
    ) as progress,
    futures.ThreadPoolExecutor(processes) as pool,
  ):
    parts = list(pool.map(run, range(processes)))
  return sorted((p for part in parts for p in part), key=lambda p: p["number"])


def _coco(pictures: list[dict], images_per_species: int) -> dict:
  images = [
    coco_entries.image(
      picture["number"] + 1,
      worker.file_name(picture["number"], images_per_species),
      (render.SIDE, render.SIDE),
    )
    for picture in pictures
  ]
  annotations = [
    coco_entries.annotation(
      picture["number"] + 1,
      picture["number"] + 1,
      picture["number"] // images_per_species + 1,
      picture["bbox"],
      picture["keypoints"],
    )
    for picture in pictures
  ]
  categories = [
    {
      "id": i + 1,
      "name": species.name,
      "supercategory": "creature",
      "keypoints": list(skeleton.KEYPOINTS),
      "skeleton": [[a + 1, b + 1] for a, b in skeleton.SKELETON],
    }
    for i, species in enumerate(SPECIES)
  ]
  return {"images": images, "annotations": annotations, "categories": categories}
