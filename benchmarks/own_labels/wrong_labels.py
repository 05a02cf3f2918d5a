"""Puts known faults into labels, and counts how many `fskd data check` finds.

  python -m benchmarks.own_labels.wrong_labels --root ../shared/data \
      --sources mouse_openfield lips fly_wings

In a tenth of the objects two keypoints are exchanged, and in another tenth one is moved
by 0.3 of the longer side of the box. Recall is the part of the faulty objects that has
a doubt about one of these keypoints; precision is the part of such
doubts that are about a fault that was put in. Other doubts count as wrong, although the
labels hold faults of their own.
"""

import dataclasses
import time

import numpy as np

from benchmarks.own_labels import sources
from fskd_jax.data import sides
from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.data.unlabelled import thinned
from fskd_jax.device import compilation_cache
from fskd_jax.few_shot import recipe
from fskd_jax.own_labels import checking, cross_prediction
from fskd_jax.own_labels.examples import Examples, units
from fskd_jax.prediction.load import load


def damaged(
  dataset: KeypointDataset, rng: np.random.Generator
) -> tuple[KeypointDataset, dict[int, tuple[str, set[str]]]]:
  """Returns labels with faults, and the kind and keypoints of each by object."""
  names = dataset.keypoint_names
  pairs = sides.find(names).pairs
  order = rng.permutation(len(dataset.instances))
  count = max(len(order) // 10, 1)
  instances, faults = [*dataset.instances], {}
  for number, row in enumerate(order[: 2 * count].tolist()):
    instance = instances[row]
    shown = np.flatnonzero(instance.visible)
    points = instance.keypoints.copy()
    if number < count and len(shown) > 1:
      known = [p for p in pairs if {names.index(n) for n in p} <= {*shown.tolist()}]
      if known:
        a, b = (names.index(n) for n in known[rng.integers(len(known))])
      else:
        a, b = rng.permutation(shown)[:2]
      points[[a, b]] = points[[b, a]]
      faults[row] = "swapped", {names[a], names[b]}
    else:
      a, angle = rng.choice(shown), rng.uniform(0, 2 * np.pi)
      step = 0.3 * max(instance.box[2:]) * np.array([np.cos(angle), np.sin(angle)])
      limits = np.array(instance.image_size) - 1
      points[a] = np.clip(points[a] + step, 0, limits)
      faults[row] = "moved", {names[a]}
    instances[row] = dataclasses.replace(instance, keypoints=points)
  return dataclasses.replace(dataset, instances=tuple(instances)), faults


def measure(dataset: KeypointDataset, detector, seed: int) -> str:
  """Returns a line of the table."""
  wrong, faults = damaged(dataset, np.random.default_rng(seed))
  start = time.perf_counter()
  examples = Examples(wrong)
  of_clips = units(wrong, recipe.clips(wrong))
  expected = cross_prediction.expect(detector, examples, of_clips)
  found = checking.doubts(examples, expected)
  seconds = time.perf_counter() - start
  cells = []
  for kind in ("swapped", "moved"):
    rows = [row for row, fault in faults.items() if fault[0] == kind]
    hit = sum(
      any(d.row == row and {*d.keypoints} & faults[row][1] for d in found)
      for row in rows
    )
    cells.append(f"{hit} of {len(rows)}")
  right = sum(
    d.row in faults and bool({*d.keypoints} & faults[d.row][1]) for d in found
  )
  objects = len(dataset.instances)
  return (
    f"| {dataset.name} | {objects} | {cells[0]} | {cells[1]} | {right} of {len(found)} "
    f"| {seconds:.0f} |"
  )


def main() -> None:
  """Prints the table."""
  parser = sources.parser(__doc__)
  parser.add_argument(
    "--objects", type=int, default=120, help="of each source, at most"
  )
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  compilation_cache.enable()
  detector = load()
  print("| source | objects | swaps found | moves found | right doubts | seconds |")
  print("|---|---|---|---|---|---|")
  for source in args.sources:
    dataset = thinned(read_dataset(args.root / source), args.objects)
    print(measure(dataset, detector, args.seed), flush=True)


if __name__ == "__main__":
  main()
