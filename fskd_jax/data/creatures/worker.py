"""Renders every n-th picture of a data set; a program that `dataset` starts.

  python -m fskd_jax.data.creatures.worker FOLDER IMAGES_PER_SPECIES SEED RANK PROCESSES

It writes the JPEG files to FOLDER, and one line of JSON per picture to the standard
output: its number, box and COCO keypoints.
"""

import json
import pathlib
import sys

import numpy as np

from fskd_jax import files
from fskd_jax.data.creatures.render import render
from fskd_jax.data.creatures.species import SPECIES

JPEG_QUALITY = 92


def file_name(number: int, images_per_species: int) -> str:
  """Returns the file name of a picture; numbers run species by species."""
  species, i = divmod(number, images_per_species)
  return f"{SPECIES[species].name}_{i:05d}.jpg"


def write_picture(
  folder: pathlib.Path, number: int, images_per_species: int, seed: int
) -> dict:
  """Renders a picture into `folder`; returns its number, box and keypoints."""
  species, i = divmod(number, images_per_species)
  picture = render(SPECIES[species].name, [seed, species, i])
  path = folder / file_name(number, images_per_species)
  files.write_picture(path, picture.image, quality=JPEG_QUALITY)
  seen = picture.visible[:, None]
  triples = np.hstack([picture.keypoints * seen, 2 * seen]).round(2)
  return {
    "number": number,
    "bbox": list(picture.box),
    "keypoints": triples.ravel().tolist(),
  }


def main(folder: str, *numbers: str) -> None:
  """Renders the pictures of one process; see the module's docstring for arguments."""
  images_per_species, seed, rank, processes = map(int, numbers)
  for number in range(rank, len(SPECIES) * images_per_species, processes):
    entry = write_picture(pathlib.Path(folder), number, images_per_species, seed)
    print(json.dumps(entry), flush=True)


if __name__ == "__main__":
  main(*sys.argv[1:])
