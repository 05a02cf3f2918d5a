"""Measures the effect of contrastive learning on prototypes across species and types.

A prototype is the mean feature of one keypoint type over the images of one species.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from fskd_jax.analysis.contrast.features import PooledFeatures, unit
from fskd_jax.metrics.intervals import category_episode_bootstrap


class PrototypeStudy(NamedTuple):
  """Prototypes of one network and their similarities.

  Attributes:
    types: The names of the n keypoint types.
    species: The names of the s species.
    prototypes: Unit vectors; nan if a species has no keypoint of the type.
    same: The mean cosine of each type to itself in other species.
    different: The mean cosine of each type to the other types in other species.
    retrieval: The fraction of single keypoints whose nearest prototype in another
      species has their type: mean, and bootstrap interval over species and images.
    retrieval_by_type: The mean of this fraction by type.
  """

  types: tuple[str, ...]
  species: tuple[str, ...]
  prototypes: Float[np.ndarray, "s n c"]
  same: Float[np.ndarray, " n"]
  different: Float[np.ndarray, " n"]
  retrieval: tuple[float, float, float]
  retrieval_by_type: Float[np.ndarray, " n"]


def study(found: PooledFeatures, names: Sequence[str]) -> PrototypeStudy:
  """Compares the prototypes of species with each other.

  Args:
    found: The features of at least two species.
    names: The vocabulary.

  Raises:
    ValueError: There is only one species.
  """
  species, types = sorted(set(found.species)), np.unique(found.keypoint)
  if len(species) < 2:
    raise ValueError(f"prototypes are compared across species; there is {species}")
  features = unit(found.features.astype(np.float64))
  shape = (len(species), len(types), features.shape[1])
  prototypes = np.full(shape, np.nan)
  for s, name in enumerate(species):
    for n, kind in enumerate(types):
      members = features[(found.species == name) & (found.keypoint == kind)]
      if len(members):
        prototypes[s, n] = unit(members.mean(0))
  cosines = np.einsum("snc,tmc->stnm", prototypes, prototypes)
  across = cosines[~np.eye(len(species), dtype=bool)]
  same = np.nanmean(np.diagonal(across, axis1=1, axis2=2), axis=0)
  off = np.where(np.eye(len(types), dtype=bool)[None], np.nan, across)
  is_right = _retrieved(features, found, prototypes, species, types)
  interval = category_episode_bootstrap(is_right, found.species, found.instance)
  return PrototypeStudy(
    types=tuple(str(names[i]) for i in types),
    species=tuple(species),
    prototypes=prototypes,
    same=same,
    different=np.nanmean(off, axis=(0, 2)),
    retrieval=(float(interval.mean), float(interval.low), float(interval.high)),
    retrieval_by_type=np.array([is_right[found.keypoint == i].mean() for i in types]),
  )


def _retrieved(
  features: Float[np.ndarray, "i c"],
  found: PooledFeatures,
  prototypes: Float[np.ndarray, "s n c"],
  species: Sequence[str],
  types: np.ndarray,
) -> Float[np.ndarray, " i"]:
  """Returns the fraction of other species that find the type, for each keypoint."""
  cosines = np.einsum("ic,snc->isn", features, prototypes)
  nearest = types[np.where(np.isnan(cosines), -np.inf, cosines).argmax(-1)]
  is_right = (nearest == found.keypoint[:, None]).astype(float)
  own = found.species[:, None] == np.array(species)[None]
  return np.where(own, 0.0, is_right).sum(1) / (len(species) - 1)


def numbers(result: PrototypeStudy) -> dict[str, Any]:
  """Returns the numbers of the picture, ready for JSON."""
  by_type = zip(result.same, result.different, result.retrieval_by_type)
  return {
    "retrieval": dict(zip(("mean", "low", "high"), result.retrieval)),
    "same_type": float(result.same.mean()),
    "different_types": float(result.different.mean()),
    "types": {
      name: {"same": float(s), "different": float(d), "retrieval": float(r)}
      for name, (s, d, r) in zip(result.types, by_type)
    },
  }


def draw(results: Mapping[str, PrototypeStudy]) -> Figure:
  """Draws one row per network: cosines by type, and prototypes in the plane."""
  figure = Figure(figsize=(13, 3.9 * len(results)), layout="constrained", dpi=100)
  rows = figure.subplots(len(results), 3, squeeze=False, width_ratios=(1.3, 1, 1))
  for line, (name, result) in zip(rows, results.items()):
    places = np.arange(len(result.types))
    line[0].bar(places - 0.2, result.same, 0.4, label="same type, other species")
    line[0].bar(places + 0.2, result.different, 0.4, label="other types")
    line[0].set_xticks(places, result.types, rotation=60, ha="right", fontsize=8)
    line[0].set(ylabel="mean cosine", ylim=(-0.5, 1.25))
    line[0].axhline(0, color="0.5", linewidth=0.8)
    line[0].legend(fontsize=8, loc="upper right", ncols=2)
    mean, low, high = (100 * x for x in result.retrieval)
    line[0].set_title(
      f"{name}: right type retrieved {mean:.1f} % ({low:.1f} to {high:.1f})",
      fontsize=10,
    )
    flat = result.prototypes.reshape(-1, result.prototypes.shape[-1])
    plane = _plane(flat).reshape(*result.prototypes.shape[:2], 2)
    for axis, labels, by_type in (
      (line[1], result.types, True),
      (line[2], result.species, False),
    ):
      for i, label in enumerate(labels):
        points = plane[:, i] if by_type else plane[i]
        axis.scatter(
          *points.T, s=26, color=_color(i, len(labels)), label=label, linewidths=0
        )
      axis.set_xticks([])
      axis.set_yticks([])
      axis.set_title(f"prototypes by {'type' if by_type else 'species'}", fontsize=10)
      axis.legend(fontsize=6, loc="center left", bbox_to_anchor=(1, 0.5))
  return figure


def _plane(vectors: Float[np.ndarray, "i c"]) -> Float[np.ndarray, "i 2"]:
  """Projects to the two directions of largest variance (PCA); nan stays nan."""
  is_there = np.isfinite(vectors).all(1)
  centered = vectors - vectors[is_there].mean(0)
  _, _, directions = np.linalg.svd(centered[is_there], full_matrices=False)
  return centered @ directions[:2].T


def _color(index: int, count: int) -> Any:
  import matplotlib

  return matplotlib.colormaps["tab20" if count > 10 else "tab10"](index)
