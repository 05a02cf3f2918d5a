"""Converts a published data set to a COCO folder."""

import collections
import os
import pathlib

import tqdm

from fskd_jax.data import coco_entries, coco_file, images, names
from fskd_jax.data.published import readers
from fskd_jax.data.published.release import SPLITS, Release
from fskd_jax.data.published.schema import Published
from fskd_jax.files import link, new_folder, read_json, write_json
from fskd_jax.messages import raise_if


def prepare(
  published: Published, source: str | os.PathLike, out: str | os.PathLike
) -> Release:
  """Checks a data set and writes it as annotations.json, splits.json and images/.

  The folder appears once it is complete. Images are hard links if the file system has
  them, otherwise copies. splits.json lists the species of "train", "validation" and
  "unseen".

  Args:
    published: The facts of the data set.
    source: The folder of the data set, with the layout `published.layout`.
    out: The folder to make.

  Returns:
    The content of the data set.

  Raises:
    FileNotFoundError: Files or images are missing.
    ValueError: A file has a fault, counts differ from the published ones, or `out`
      exists.
  """
  source, out = pathlib.Path(source), pathlib.Path(out)
  if out.exists():
    raise ValueError(f"{out} exists already; name a new folder")
  release = readers.read(published, source)
  _check_species(published, release)
  _check_counts(published, release)
  sizes = _check_images(release)
  with new_folder(out) as folder:
    write_json(folder / "annotations.json", _coco(published, release, sizes))
    write_json(folder / "splits.json", release.splits)
    coco_file.read(folder / "annotations.json", strict=True)
    for name in tqdm.tqdm(
      release.sizes, desc="Linking images", leave=False, disable=None
    ):
      link(release.image_folder / name, folder / "images" / name)
  return release


def read_splits(folder: str | os.PathLike) -> dict[str, tuple[str, ...]]:
  """Reads the species of "train", "validation" and "unseen" of a prepared folder.

  Raises:
    FileNotFoundError: The folder has not been prepared.
  """
  path = pathlib.Path(folder) / "splits.json"
  if not path.is_file():
    raise FileNotFoundError(f"no file {path}; make the folder with `fskd data prepare`")
  splits = read_json(path)
  return {split: tuple(splits[split]) for split in SPLITS}


def _check_species(published: Published, release: Release) -> None:
  known, found = {*published.species}, {*release.parents}
  if known and known != found:
    raise ValueError(
      f"{published.title} has the species {sorted(found)}, expected {sorted(known)}"
    )
  unseen = {*release.splits["unseen"]}
  if published.unseen_species and unseen != {*published.unseen_species}:
    raise ValueError(
      f"{published.title} has the test species {sorted(unseen)}, expected"
      f" {sorted(published.unseen_species)}"
    )


def _check_counts(published: Published, release: Release) -> None:
  sizes = tuple(len(release.splits[split]) for split in SPLITS)
  counts = (
    ("instances", len(release.animals), published.instances),
    ("images", len(release.sizes), published.images),
    ("species", len(release.parents), published.classes),
    ("species of train, validation, unseen", sizes, published.split_sizes),
  )
  wrong = [f"{n} {what}, expected {m}" for what, n, m in counts if m and n != m]
  if wrong:
    raise ValueError(
      f"{published.title}: {'; '.join(wrong)}; this is another release or not all of it"
    )


def _check_images(release: Release) -> dict[str, tuple[int, int]]:
  """Returns the stored size of every image."""
  folder = release.image_folder
  problems = [problem for n in release.sizes if (problem := names.file_problem(n))]
  what = f"{len(problems)} images lead out of {folder}, or have no usable name"
  raise_if(problems, ValueError, what)
  outside = names.outside(folder, release.sizes)
  what = f"{len(outside)} images are links that lead out of {folder}; copy the files"
  raise_if(outside, ValueError, what)
  missing = [n for n in release.sizes if not (folder / n).is_file()]
  what = f"{len(missing)} of {len(release.sizes)} images are not in {folder}"
  raise_if(missing, FileNotFoundError, what)
  stored, broken, different = {}, [], []
  for name, size in tqdm.tqdm(
    release.sizes.items(), desc="Checking", leave=False, disable=None
  ):
    try:
      with images.opened(folder / name, name) as image:  # reads only the header
        stored[name] = images.shown_size(image)
    except images.ImageError as error:
      broken.append(f"{name} ({error})")
      continue
    if size not in (None, stored[name]):
      different.append(f"{name} is {stored[name]}, annotated as {size}")
  raise_if(broken, ValueError, f"{len(broken)} images in {folder} cannot be read")
  what = f"{len(different)} images in {folder} are of another size"
  raise_if(different, ValueError, what)
  return stored


def _coco(
  published: Published, release: Release, sizes: dict[str, tuple[int, int]]
) -> dict[str, list[dict]]:
  image_ids = {name: number for number, name in enumerate(sizes, start=1)}
  category_ids = {name: number for number, name in enumerate(release.parents, start=1)}
  return {
    "images": [
      coco_entries.image(image_ids[name], name, size) for name, size in sizes.items()
    ],
    "annotations": [
      coco_entries.annotation(
        number,
        image_ids[animal.file_name],
        category_ids[animal.species],
        animal.box,
        animal.keypoints,
      )
      for number, animal in enumerate(release.animals, start=1)
    ],
    "categories": [
      {
        "id": category_ids[name],
        "name": name,
        "supercategory": parent,
        "keypoints": list(published.keypoint_names),
        "skeleton": [],
      }
      for name, parent in release.parents.items()
    ],
  }


def summary(release: Release) -> str:
  """Returns a line with the counts of a data set."""
  per_species = collections.Counter(animal.species for animal in release.animals)
  splits = ", ".join(
    f"{split} {len(species)} species / {sum(per_species[s] for s in species)} instances"
    for split, species in release.splits.items()
  )
  return (
    f"{len(release.animals)} instances in {len(release.sizes)} images,"
    f" {len(per_species)} species: {splits}"
  )
