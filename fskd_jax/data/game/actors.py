"""Actors of 0 A.D.: the model, textures, motions and props that one may have."""

import itertools
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from fskd_jax.data.game.archive import Archive

_NOT_SHOWN = ("blood", "shadow", "decal", "dust", "selection")
"""Parts of the names of props that are effects, not things."""


class Actor(NamedTuple):
  """Appearance of an actor.

  Attributes:
    model: Name of the model.
    texture: Name of the texture, below art/textures/.
    material: Name of the material: the meaning of the texture's alpha.
    motions: Names of motions, some of which may be of other models.
    props: Names of further actors, by the anchors that they are attached to.
  """

  model: str
  texture: str
  material: str
  motions: tuple[str, ...]
  props: dict[str, str]


def choose(archive: Archive, name: str, rng: np.random.Generator) -> Actor | None:
  """Chooses an appearance of an actor such as "fauna/wolf.xml".

  One variant of each group is taken, by its frequency; later groups replace what
  earlier ones have. Motions are those of all variants.

  Returns:
    The actor, or nothing if it has no model or no texture.
  """
  root = archive.description(f"actors/{name}")
  if root.tag == "qualitylevels":
    root = next(iter(root.findall(".//actor[group]")), root)
  model, texture, material = "", "", root.findtext("material", "")
  props: dict[str, str] = {}
  motions = set()
  for group in root.findall("group"):
    variants = group.findall("variant")
    if not variants:
      continue
    inherited = [_inherited(archive, variant) for variant in variants]
    for part in itertools.chain(*inherited):
      motions |= {x.get("file", "") for x in part.iter("animation")}
    for part in inherited[_index(variants, rng)]:
      model = part.findtext("mesh", model).strip()
      for entry in part.iter("texture"):
        if entry.get("name") == "baseTex":
          texture = entry.get("file", "")
      for prop in part.iter("prop"):
        props[prop.get("attachpoint", "")] = prop.get("actor", "")
  if not model or not texture:
    return None
  return Actor(
    model,
    f"skins/{texture}",
    material,
    tuple(sorted(x for x in motions if archive.has(f"art/animation/{x}.cached.psa"))),
    {
      anchor: actor
      for anchor, actor in props.items()
      if actor and not any(word in actor for word in _NOT_SHOWN)
    },
  )


def _inherited(archive: Archive, variant: Element) -> list[Element]:
  """Returns a variant after those that it inherits from."""
  parts = [variant]
  while file := parts[0].get("file"):
    name = f"variants/{file}"
    if not archive.has(f"art/{name}"):
      break
    parts.insert(0, archive.description(name))
  return parts


def _index(variants: list[Element], rng: np.random.Generator) -> int:
  weights = np.array([float(x.get("frequency", 0)) for x in variants])
  if not weights.sum():
    weights[:] = 1
  return int(rng.choice(len(variants), p=weights / weights.sum()))
