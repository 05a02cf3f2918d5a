"""Common representation of labels that all formats convert to and from.

Keypoints are pixel indices as in `geometry`: the centre of the first pixel is (0, 0).
Boxes are (x, y, width, height) counted from the corner of the image, so that the box of
the whole image is (0, 0, width, height).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from fskd_jax.data.coco_values import LEAST_CONFIDENCE

TO_CENTER = -0.5
"""Offset to add to coordinates that count from the corner of the first pixel."""


_NUMBERED = re.compile(r"((left|right) )?\d+")
"""Names that readers give to keypoints without names."""


class Keypoint(NamedTuple):
  """A labelled keypoint in pixels; COCO's v is 1 if it is occluded, else 2.

  Attributes:
    confidence: The confidence, 0..1, of the machine that placed the keypoint; None if a
      person did.
  """

  x: float
  y: float
  occluded: bool = False
  confidence: float | None = None


class LabelledObject(NamedTuple):
  """An object in an image.

  Attributes:
    keypoints: The keypoints by name, without missing ones (COCO's v = 0).
    species: The species, "" if the format has none.
    box: The box, None if the format has none.
  """

  keypoints: dict[str, Keypoint]
  species: str = ""
  box: tuple[float, float, float, float] | None = None


class LabelledImage(NamedTuple):
  """An image and its objects.

  Attributes:
    name: The name of the file, with "/" between folders, or the number of a frame,
      from 0.
    size: (width, height), or None if the format has none.
    objects: The objects, possibly none.
  """

  name: str | int
  size: tuple[int, int] | None
  objects: tuple[LabelledObject, ...]


class Category(NamedTuple):
  """The keypoint names of a species, in order, and pairs of names for drawing."""

  keypoints: tuple[str, ...]
  skeleton: tuple[tuple[str, str], ...] = ()


class Labels(NamedTuple):
  """All labels of a file or folder; categories by species.

  Attributes:
    least_confidence: The confidence below which a keypoint placed by a machine is not
      used as a label.
  """

  images: tuple[LabelledImage, ...]
  categories: dict[str, Category]
  least_confidence: float = LEAST_CONFIDENCE

  def trusts(self, point: Keypoint) -> bool:
    """Returns whether a person or a confident machine placed a keypoint."""
    return point.confidence is None or point.confidence >= self.least_confidence


def keypoint_names(labels: Labels) -> tuple[str, ...]:
  """Returns the keypoint names of all categories, by first appearance."""
  categories = labels.categories.values()
  return tuple(dict.fromkeys(n for category in categories for n in category.keypoints))


def gather(images: Iterable[LabelledImage]) -> Labels:
  """Makes labels with categories by first appearance, for formats that list none.

  A species without any keypoint gets the names of all others.
  """
  images = tuple(images)
  names: dict[str, dict[str, None]] = {}
  for image in images:
    for found in image.objects:
      names.setdefault(found.species, {}).update(dict.fromkeys(found.keypoints))
  every = dict.fromkeys(name for known in names.values() for name in known)
  return Labels(
    images,
    {species: Category(tuple(known or every)) for species, known in names.items()},
  )


def with_names(labels: Labels, names: Sequence[str], source: str) -> Labels:
  """Returns labels whose categories all have these keypoint names, in this order.

  Keypoints without names, which readers number, take the names by their place.

  Raises:
    ValueError: A name occurs twice, or a keypoint has another name.
  """
  if len({*names}) < len(names):
    raise ValueError(f"--keypoints: a name occurs twice in {', '.join(names)}")
  labels = _named_by_place(labels, names)
  unknown = [name for name in keypoint_names(labels) if name not in names]
  if unknown:
    raise ValueError(
      f"{source}: unknown label {', '.join(map(repr, unknown))}; expected one of "
      f"{', '.join(names)}"
    )
  return labels._replace(
    categories={
      species: Category(tuple(names), category.skeleton)
      for species, category in labels.categories.items()
    }
  )


def _named_by_place(labels: Labels, names: Sequence[str]) -> Labels:
  """Returns labels in which categories of as many numbered keypoints have the names."""
  renamed = {
    species: dict(zip(category.keypoints, names))
    for species, category in labels.categories.items()
    if len(category.keypoints) == len(names)
    and all(map(_NUMBERED.fullmatch, category.keypoints))
  }

  def named(found: LabelledObject) -> LabelledObject:
    new = renamed.get(found.species)
    if new is None:
      return found
    return found._replace(keypoints={new[n]: p for n, p in found.keypoints.items()})

  categories = {
    species: Category(
      tuple(names),
      tuple((new[a], new[b]) for a, b in labels.categories[species].skeleton),
    )
    for species, new in renamed.items()
  }
  return labels._replace(
    images=_with_objects(named, labels.images),
    categories={**labels.categories, **categories},
  )


def with_species(labels: Labels, species: str) -> Labels:
  """Returns labels in which objects without a species have this one."""

  def named(found: LabelledObject) -> LabelledObject:
    return found if found.species else found._replace(species=species)

  return labels._replace(
    images=_with_objects(named, labels.images),
    categories=_join((name or species, c) for name, c in labels.categories.items()),
  )


def trusted_only(labels: Labels) -> tuple[Labels, int]:
  """Returns labels without keypoints of too little confidence, and their number.

  Objects left with neither keypoints nor a box are left out.
  """

  def kept(found: LabelledObject) -> LabelledObject:
    points = found.keypoints.items()
    return found._replace(keypoints={n: p for n, p in points if labels.trusts(p)})

  images = tuple(
    image._replace(objects=tuple(x for x in image.objects if x.keypoints or x.box))
    for image in _with_objects(kept, labels.images)
  )
  every = (x for image in labels.images for x in image.objects)
  dropped = sum(not labels.trusts(p) for x in every for p in x.keypoints.values())
  return labels._replace(images=images), dropped


def count_from_zero(labels: Labels) -> Labels:
  """Subtracts 1 from the coordinates of keypoints and of the corners of boxes."""

  def shift(found: LabelledObject) -> LabelledObject:
    keypoints = {
      name: point._replace(x=point.x - 1, y=point.y - 1)
      for name, point in found.keypoints.items()
    }
    if found.box is None:
      return found._replace(keypoints=keypoints)
    x, y, *size = found.box
    return found._replace(keypoints=keypoints, box=(x - 1, y - 1, *size))

  return labels._replace(images=_with_objects(shift, labels.images))


def renamed(labels: Labels, names: Mapping[str, str]) -> Labels:
  """Returns labels in which some images have other names, given by the old ones."""
  new: Mapping[str | int, str] = {**names}
  images = (i._replace(name=new.get(i.name, i.name)) for i in labels.images)
  return labels._replace(images=tuple(images))


def merge(parts: Sequence[Labels]) -> Labels:
  """Concatenates the labels of several files."""
  return Labels(
    tuple(image for part in parts for image in part.images),
    _join(item for part in parts for item in part.categories.items()),
  )


def _with_objects(
  change: Callable[[LabelledObject], LabelledObject], images: Iterable[LabelledImage]
) -> tuple[LabelledImage, ...]:
  return tuple(i._replace(objects=tuple(map(change, i.objects))) for i in images)


def _join(items: Iterable[tuple[str, Category]]) -> dict[str, Category]:
  """Merges the categories of each species: all their names, by first appearance."""
  joined: dict[str, Category] = {}
  for species, category in items:
    known = joined.get(species, Category(()))
    joined[species] = Category(
      tuple(dict.fromkeys((*known.keypoints, *category.keypoints))),
      tuple(dict.fromkeys((*known.skeleton, *category.skeleton))),
    )
  return joined


def summary(labels: Labels) -> str:
  """Counts images, objects and keypoints by their COCO visibility."""
  objects = [found for image in labels.images for found in image.objects]
  points = [point for found in objects for point in found.keypoints.values()]
  every = sum(len(labels.categories[found.species].keypoints) for found in objects)
  occluded = sum(point.occluded for point in points)
  return (
    f"{len(labels.images)} images, {len(objects)} objects, {len(points) - occluded} "
    f"keypoints visible, {occluded} occluded, {every - len(points)} missing"
  )
