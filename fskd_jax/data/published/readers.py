"""Recognises the distribution of a data set in a folder, and reads it."""

import collections
import pathlib

from fskd_jax.data import coco_file
from fskd_jax.data.published import mp100, text_files
from fskd_jax.data.published.release import SPLITS, Animal, Release
from fskd_jax.data.published.schema import Published

_ANNOTATION_FOLDERS = ("", "annotations", "gt_coco")


def read(published: Published, source: pathlib.Path) -> Release:
  """Reads the annotations without the images.

  Raises:
    FileNotFoundError: Files are missing; the message names them.
    ValueError: A file has a fault or an unknown name.
  """
  if not source.is_dir():
    raise FileNotFoundError(f"no folder {source}; expected {published.title}")
  found = {split: _find(source, name) for split, name in published.files.items()}
  if not any(found.values()):
    if published.has_text and (source / "images.txt").is_file():
      return text_files.read(published, source)
    raise FileNotFoundError(_nothing(published, source))
  missing = [published.files[split] for split, path in found.items() if not path]
  if missing:
    names = ", ".join(missing)
    raise FileNotFoundError(f"{source}: missing files of {published.title}: {names}")
  read_files = mp100.release if published.is_numbered else _read_coco_files
  return read_files(
    published,
    image_folder(published, source),
    {split: path for split, path in found.items() if path},
  )


def image_folder(published: Published, source: pathlib.Path) -> pathlib.Path:
  """Returns the folder of the images.

  Raises:
    FileNotFoundError: There is no such folder.
  """
  for name in published.image_folders:
    if (source / name).is_dir():
      return source / name
  raise FileNotFoundError(
    f"{source}: no folder {' or '.join(published.image_folders)} with the images"
    f" of {published.title}"
  )


def _find(source: pathlib.Path, name: str) -> pathlib.Path | None:
  paths = (source / folder / name for folder in _ANNOTATION_FOLDERS)
  return next((path for path in paths if path.is_file()), None)


def _nothing(published: Published, source: pathlib.Path) -> str:
  files = ", ".join(published.files.values())
  pickles = [*source.glob("*.pickle"), *source.glob("*/*.pickle")]
  pickled = next(iter(sorted(pickles)), None) if published.is_pickled else None
  if pickled:
    return (
      f"{pickled} is a pickle, which could run any code and is never loaded;"
      f" {published.title} needs the COCO files {files}, whose format docs/data.md"
      " describes"
    )
  text = " or the text files of the original release" if published.has_text else ""
  return f"{source} holds no {published.title}: expected {files}{text} (docs/data.md)"


def _read_coco_files(
  published: Published, images: pathlib.Path, paths: dict[str, pathlib.Path]
) -> Release:
  """Merges the files of the splits by names, since their ids may repeat."""
  sizes, animals = {}, []
  numbers: dict[str, int] = {}
  supercategory: dict[str, str] = {}
  splits_of: dict[str, set[str]] = collections.defaultdict(set)
  for split, path in paths.items():
    coco = coco_file.read(path, strict=True)
    for category in coco.categories.values():
      _check_names(published, path, category)
      numbers.setdefault(category["name"], category["id"])
      supercategory[category["name"]] = str(category.get("supercategory") or "animal")
    for image in coco.images.values():
      if image["file_name"] in sizes:
        raise ValueError(
          f"{path}: image {image['file_name']!r} is in another split too"
        )
      sizes[image["file_name"]] = (image["width"], image["height"])
    for entry in coco.annotations:
      species = coco.categories[entry["category_id"]]["name"]
      splits_of[species].add(split)
      name = coco.images[entry["image_id"]]["file_name"]
      animals.append(Animal(name, species, entry["bbox"], entry["keypoints"]))
  both = sorted(species for species, splits in splits_of.items() if len(splits) > 1)
  if both:
    raise ValueError(f"{images.parent}: species in more than one split: {both}")
  species = sorted(splits_of, key=lambda name: (numbers[name], name))
  return Release(
    image_folder=images,
    sizes=sizes,
    animals=animals,
    parents={name: supercategory[name] for name in species},
    splits=_splits(published, species, splits_of),
  )


def _check_names(published: Published, path: pathlib.Path, category: dict) -> None:
  found = [_plain(name) for name in category["keypoints"]]
  for names in (published.keypoint_names, published.short_names):
    if found == [_plain(name) for name in names]:
      return
  raise ValueError(
    f"{path}: category {category['name']!r} has the keypoints {category['keypoints']},"
    f" expected those of {published.title} in order: {list(published.keypoint_names)}"
  )


def _plain(name: str) -> str:
  return name.replace("_", " ").lower()


def _splits(
  published: Published, species: list[str], splits_of: dict[str, set[str]]
) -> dict[str, tuple[str, ...]]:
  if "all" not in published.files:
    return {s: tuple(n for n in species if s in splits_of[n]) for s in SPLITS}
  unseen = published.unseen_species
  train = tuple(name for name in species if name not in unseen)
  return {"train": train, "validation": (), "unseen": unseen}
