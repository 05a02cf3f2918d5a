"""Categories of pictures: which actors they show, and which keypoints these have."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fskd_jax.data.game import actors, people, points, posing, quadrupeds
from fskd_jax.data.game.archive import Archive
from fskd_jax.data.game.posing import Posed

LIVING = "actors/fauna/", "actors/units/"
"""Folders of animals and people; some of the latter ride or pull things."""
THINGS = (
  "actors/structures/",
  "actors/props/special/eyecandy/",
  "actors/props/units/helmets/",
  "actors/props/units/shields/",
  "actors/props/units/weapons/",
)
"""Folders of things."""

_LEFT_OUT = ("circle", "shoal", "flaming", "dragon", "scaffold", "rubble", "decal")
"""Parts of the names of actors that are several things, or effects."""
_LEAST_FACES = 40
"""Triangles of a thing: fewer are leaves, planks and cards."""
_POINTS = 20
"""Vertices of a model that are keypoints, beside their mirror images."""

Models = dict[str, tuple[str, ...]]
"""Names of the actors that may have a model, by its name."""


class Marks(NamedTuple):
  """Keypoints of a posed actor.

  Attributes:
    numbers: Their numbers among the category's.
    places: Their places in the scene.
    depths: How deep they may lie below a visible surface, parts of the size.
  """

  numbers: Int[np.ndarray, " n"]
  places: Float[np.ndarray, "n 3"]
  depths: Float[np.ndarray, " n"]


class Category(NamedTuple):
  """Pictures with the same keypoints.

  Attributes:
    name: Its name.
    actors: Names of actors, in groups that are drawn from equally often.
    keypoints: Names of the keypoints.
    mark: Returns the keypoints of a posed actor; nothing if it is not of the category.
  """

  name: str
  actors: tuple[tuple[str, ...], ...]
  keypoints: tuple[str, ...]
  mark: Callable[[Posed], Marks | None]


def by_model(archive: Archive, folders: tuple[str, ...], seed: int) -> Models:
  """Returns the actors of each model in some folders, sorted by the model's name."""
  found: dict[str, set[str]] = {}
  for folder in folders:
    for path in archive.names(f"art/{folder}"):
      if path.endswith(".xml") and not any(x in path for x in _LEFT_OUT):
        name = path.removeprefix("art/actors/")
        for i in range(4):  # variants may have other models
          actor = actors.choose(archive, name, np.random.default_rng([seed, i]))
          if actor is not None:
            found.setdefault(actor.model, set()).add(name)
  return {model: tuple(sorted(found[model])) for model in sorted(found)}


def some_things(archive: Archive, models: Models, count: int) -> list[str]:
  """Returns the names of so many models that are more than cards, evenly spread."""
  solid = [x for x in models if len(archive.model(x).faces) >= _LEAST_FACES]
  kept = np.linspace(0, len(solid) - 1, min(count, len(solid))).round().astype(int)
  return [solid[i] for i in kept]


def of_model(archive: Archive, model: str, names: tuple[str, ...]) -> Category:
  """Returns the category of one model, with keypoints all over it.

  Args:
    archive: The game's archive.
    model: The name of the model.
    names: Actors that may have it.
  """
  found = points.spread(archive.model(model), _POINTS)
  numbers = np.arange(len(found.names))

  def mark(posed: Posed) -> Marks | None:
    if posed.model != model:
      return None
    return Marks(numbers, found.places(posed), found.depths())

  name = model.removesuffix(".dae").removeprefix("skeletal/").replace("/", " ")
  return Category(name, (names,), found.names, mark)


def all_quadrupeds(archive: Archive, living: Models) -> Category:
  """Returns the category of quadrupeds; each skeleton is as frequent as the others."""
  groups: dict[str, set[str]] = {}
  found = {}
  for model in living:
    skeleton = quadrupeds.skeleton_of(model)
    if skeleton is not None:
      groups.setdefault(skeleton, set()).update(_wild(living[model]))
      row, bones = quadrupeds.table(skeleton), bones_of(archive, skeleton)
      found[model] = quadrupeds.find(archive.model(model), row, bones)

  def mark(posed: Posed) -> Marks | None:
    if posed.model not in found:
      return None
    own = found[posed.model]
    numbers = [quadrupeds.KEYPOINTS.index(name) for name in own.names]
    return Marks(np.array(numbers), own.places(posed), own.depths())

  by_skeleton = tuple(tuple(sorted(group)) for group in groups.values())
  return Category("quadruped", by_skeleton, quadrupeds.KEYPOINTS, mark)


def all_people(archive: Archive, living: Models) -> Category:
  """Returns the category of people; each model is as frequent as the others."""
  bones = bones_of(archive, people.SKELETON)
  numbers = np.arange(len(people.KEYPOINTS))

  def mark(posed: Posed) -> Marks | None:
    if not people.is_person(posed.model):
      return None
    places = people.places(archive.model(posed.model), posed, bones)
    return Marks(numbers, places, people.depths())

  by_name = tuple(found for model, found in living.items() if people.is_person(model))
  return Category("person", by_name, people.KEYPOINTS, mark)


def posed_and_marked(
  archive: Archive, category: Category, rng: np.random.Generator
) -> tuple[Posed, Marks] | None:
  """Returns a random actor of a category with its keypoints; nothing if one fails."""
  group = category.actors[rng.integers(len(category.actors))]
  posed = posing.pose(archive, group[rng.integers(len(group))], rng)
  marks = category.mark(posed) if posed else None
  return (posed, marks) if posed and marks else None


def bones_of(archive: Archive, skeleton: str) -> list[str]:
  """Returns the names of a skeleton's bones, in the order of models."""
  root = archive.description(f"skeletons/{skeleton}.xml")
  standard = next(root.iter("standard_skeleton"))
  return [bone.get("name", "") for bone in standard.iter("bone")]


def _wild(names: tuple[str, ...]) -> list[str]:
  """Returns the actors without riders, if there are any."""
  return [name for name in names if name.startswith("fauna/")] or list(names)
