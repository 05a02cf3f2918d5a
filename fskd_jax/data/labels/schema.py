"""Common form of labels, which every format is read into and written from.

Keypoints are pixel indices as `geometry` has them: the centre of the first pixel is
(0, 0). Boxes are (x, y, width, height) counted from the corner of the image, so that a
box of the whole image is (0, 0, width, height).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

TO_CENTER = -0.5
"""Added to coordinates that are counted from the corner of the first pixel."""


LEAST_CONFIDENCE = 0.5
"""Below it, a keypoint that a machine placed is more often wrong than right."""


class Keypoint(NamedTuple):
  """A labelled keypoint; COCO's v is 1 if occluded, else 2. Pixels.

  Attributes:
    confidence: of the machine that placed it, 0..1; None: a person did.
  """

  x: float
  y: float
  occluded: bool = False
  confidence: float | None = None


class LabelledObject(NamedTuple):
  """An object in an image.

  Attributes:
    keypoints: by name; missing ones (COCO's v = 0) are not in it.
    species: "" where the format names none.
    box: None where the format has none.
  """

  keypoints: dict[str, Keypoint]
  species: str = ""
  box: tuple[float, float, float, float] | None = None


class LabelledImage(NamedTuple):
  """An image, and what is in it.

  Attributes:
    name: of the file, with "/" between folders; or the number of a frame, from 0.
    size: (width, height), or None where the format has none.
    objects: may be empty.
  """

  name: str | int
  size: tuple[int, int] | None
  objects: tuple[LabelledObject, ...]


class Category(NamedTuple):
  """Keypoint names of a species, in order, and pairs of them for drawing."""

  keypoints: tuple[str, ...]
  skeleton: tuple[tuple[str, str], ...] = ()


class Labels(NamedTuple):
  """All labels of a file or folder; categories by species.

  Attributes:
    least_confidence: below it, a keypoint that a machine placed is no label.
  """

  images: tuple[LabelledImage, ...]
  categories: dict[str, Category]
  least_confidence: float = LEAST_CONFIDENCE

  def trusts(self, point: Keypoint) -> bool:
    """Returns whether a keypoint is a label: a person's, or a confident machine's."""
    return point.confidence is None or point.confidence >= self.least_confidence


def keypoint_names(labels: Labels) -> tuple[str, ...]:
  """Returns the keypoint names of all categories, by first appearance."""
  categories = labels.categories.values()
  return tuple(dict.fromkeys(n for category in categories for n in category.keypoints))


def gather(images: Iterable[LabelledImage]) -> Labels:
  """Makes the categories of a format that does not list them, by first appearance.

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
  """Gives all categories these keypoint names, in this order.

  Raises:
    ValueError: a name occurs twice, or a keypoint is none of them.
  """
  if len({*names}) < len(names):
    raise ValueError(f"--keypoints: a name occurs twice in {', '.join(names)}")
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


def with_species(labels: Labels, species: str) -> Labels:
  """Names what the format has no species for."""

  def named(found: LabelledObject) -> LabelledObject:
    return found if found.species else found._replace(species=species)

  return labels._replace(
    images=_with_objects(named, labels.images),
    categories=_join((name or species, c) for name, c in labels.categories.items()),
  )


def trusted_only(labels: Labels) -> tuple[Labels, int]:
  """Leaves out keypoints that are no labels; returns also how many they were.

  An object of which nothing is left, nor a box, is left out, too.
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


def counted_from_zero(labels: Labels) -> Labels:
  """Subtracts 1 from the coordinates of keypoints and of the corners of boxes."""

  def moved(found: LabelledObject) -> LabelledObject:
    keypoints = {
      name: point._replace(x=point.x - 1, y=point.y - 1)
      for name, point in found.keypoints.items()
    }
    if found.box is None:
      return found._replace(keypoints=keypoints)
    x, y, *size = found.box
    return found._replace(keypoints=keypoints, box=(x - 1, y - 1, *size))

  return labels._replace(images=_with_objects(moved, labels.images))


def merge(parts: Sequence[Labels]) -> Labels:
  """Puts the labels of several files together."""
  return Labels(
    tuple(image for part in parts for image in part.images),
    _join(item for part in parts for item in part.categories.items()),
  )


def _with_objects(
  change: Callable[[LabelledObject], LabelledObject], images: Iterable[LabelledImage]
) -> tuple[LabelledImage, ...]:
  return tuple(i._replace(objects=tuple(map(change, i.objects))) for i in images)


def _join(items: Iterable[tuple[str, Category]]) -> dict[str, Category]:
  """Makes one category of those of a species: all their names, by first appearance."""
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
