"""The fixed pairs of MP-100's evaluation, drawn as the reference draws them."""

import hashlib
import json
import pathlib
import random
from typing import Any, NamedTuple

from fskd_jax.data.published.mp100 import MP100File, MP100Object

QUERIES = 15
SEED = 1


class MP100Episode(NamedTuple):
  """Support objects, and the queries that share them."""

  category: str
  support: tuple[MP100Object, ...]
  queries: tuple[MP100Object, ...]


def episodes_of(path: pathlib.Path) -> int:
  """Returns the number of episodes per category that the reference draws of a file."""
  return 100 if path.stem.endswith("_val") else 200


def draw(file: MP100File, shots: int, episodes: int) -> list[MP100Episode]:
  """Draws episodes, category by category, from one seeded stream.

  One draw of shots + 15 objects gives the support, followed by the queries.

  Args:
    file: The annotated objects.
    shots: The number of support objects of an episode.
    episodes: The number of episodes of each category.

  Raises:
    ValueError: A category has too few objects; the message names it.
  """
  stream, found = random.Random(SEED), []
  for category, objects in file.categories.items():
    if len(objects) < shots + QUERIES:
      raise ValueError(
        f"category {category!r} has {len(objects)} objects, expected at least "
        f"{shots + QUERIES} for {shots} shots and {QUERIES} queries"
      )
    for _ in range(episodes):
      drawn = stream.sample(objects, shots + QUERIES)
      found.append(MP100Episode(category, tuple(drawn[:shots]), tuple(drawn[shots:])))
  return found


def record(episodes: list[MP100Episode], scores: dict[str, Any]) -> dict[str, Any]:
  """Returns a setting's record for `fskd compare-runs`, as `EpisodeRecord.to_json`.

  Args:
    episodes: The episodes, as returned by `draw`.
    scores: The detector's scores, as returned by `metrics.per_episode`.
  """
  return {
    "manifest": manifest(episodes)["sha256"],
    "instances": [[x.object_id for x in (*e.support, *e.queries)] for e in episodes],
    "species": [episode.category for episode in episodes],
    "scores": {"detector": scores},
  }


def manifest(episodes: list[MP100Episode]) -> dict[str, Any]:
  """Returns the ids of all pairs and their SHA-256, which identify the episodes."""
  listed = [
    [
      episode.category,
      [x.object_id for x in episode.support],
      [x.object_id for x in episode.queries],
    ]
    for episode in episodes
  ]
  text = json.dumps(listed, separators=(",", ":"))
  return {"sha256": hashlib.sha256(text.encode()).hexdigest(), "episodes": listed}
