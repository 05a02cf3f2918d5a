"""Parts of a labelled data set: what may be labelled, and what is tested on."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.data.unlabelled import part
from fskd_jax.few_shot import recipe
from fskd_jax.files import write_bytes, write_json
from fskd_jax.own_labels.examples import units


def parser(description: str | None) -> argparse.ArgumentParser:
  """Returns a parser of --root and --sources, for the docstring of a program."""
  made = argparse.ArgumentParser(description=description)
  made.add_argument("--root", type=pathlib.Path, required=True)
  made.add_argument("--sources", nargs="+", required=True)
  return made


def cell(shares: np.ndarray) -> str:
  """Returns the mean in %, and its 95 % interval; NaN is no share."""
  shares = 100 * shares[np.isfinite(shares)]
  error = 1.96 * shares.std(ddof=1) / np.sqrt(len(shares))
  return f"{shares.mean():.1f} ± {error:.1f}"


class Parts(NamedTuple):
  """Objects that may be labelled, in the order in which they are, and test objects."""

  pool: KeypointDataset
  test: KeypointDataset


def divided(path: pathlib.Path, seed: int, pool: int, test: int) -> Parts:
  """Divides a data set by clip or image, half and half.

  Args:
    path: Folder of the labels.
    seed: Seed of the division and of the order.
    pool: Largest number of objects to label.
    test: Largest number of test objects.
  """
  dataset = read_dataset(path)
  numbers = units(dataset, recipe.clips(dataset))
  rng = np.random.default_rng(seed)
  different = rng.permutation(np.unique(numbers))
  first = np.isin(numbers, different[: len(different) // 2])
  rows = rng.permutation(np.flatnonzero(first))[:pool]
  others = rng.permutation(np.flatnonzero(~first))[:test]
  return Parts(part(dataset, rows.tolist()), part(dataset, others.tolist()))


def halves(path: pathlib.Path, pool: int, test: int) -> Parts:
  """Divides images of one object by clip; in their order where there are no clips.

  Args:
    path: Folder of the labels.
    pool: Number of images to label, from all clips of their half.
    test: Largest number of new images, evenly spaced.
  """
  dataset = read_dataset(path)
  numbers = np.array([instance.image for instance in dataset.instances])
  alone = np.bincount(numbers)[numbers] == 1
  clip = units(dataset, recipe.clips(dataset))
  is_new = clip > np.median(np.unique(clip))
  rng = np.random.default_rng(0)
  first = rng.permutation(np.flatnonzero(alone & ~is_new))[:pool]
  others = np.flatnonzero(alone & is_new)
  places = np.linspace(0, len(others) - 1, min(test, len(others))).round().astype(int)
  return Parts(*(part(dataset, rows.tolist()) for rows in (first, others[places])))


def copied(
  dataset: KeypointDataset, folder: pathlib.Path, rows: Sequence[int] | None = None
) -> None:
  """Writes objects of a data set, one an image, as a folder of labels."""
  rows = range(len(dataset.instances)) if rows is None else rows
  entries, objects = [], []
  for number, row in enumerate(rows, 1):
    instance = dataset.instances[row]
    name = pathlib.Path(dataset.image_names[instance.image]).name
    write_bytes(folder / "images" / name, dataset.read_image(instance.image))
    width, height = instance.image_size
    values = np.column_stack([instance.keypoints, 2 * instance.visible])
    entries.append({"id": number, "file_name": name, "width": width, "height": height})
    objects.append(
      {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "bbox": [float(side) for side in instance.box],
        "keypoints": [float(value) for value in values.ravel()],
      }
    )
  names = [*dataset.keypoint_names]
  content = {
    "images": entries,
    "annotations": objects,
    "categories": [{"id": 1, "name": "object", "keypoints": names}],
  }
  write_json(folder / "annotations.json", content)
