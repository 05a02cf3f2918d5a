"""Compares labelling the frames that `fskd suggest` names with labelling random ones.

  python -m benchmarks.own_labels.suggestions --root ../shared/data \
      --sources tongue_ultrasound lips reaching_hand

PCK@0.1 in % on objects of other clips or images after 5, 10 and 20 labels, all of them
support, mean over the seeds ± its standard error. Both begin with one random label;
suggestions are made anew after 5 and 10 labels. Boxes are given.
"""

import numpy as np

from benchmarks.own_labels import sources
from fskd_jax.device import compilation_cache
from fskd_jax.own_labels import suggesting
from fskd_jax.own_labels.examples import Examples
from fskd_jax.own_labels.holding_out import scores_of
from fskd_jax.prediction.load import load

AFTER = 5, 10, 20


def main() -> None:
  """Prints the table."""
  parser = sources.parser(__doc__)
  parser.add_argument("--seeds", type=int, default=3)
  parser.add_argument("--pool", type=int, default=150)
  parser.add_argument("--test", type=int, default=60)
  args = parser.parse_args()
  compilation_cache.enable()
  detector = load()
  print("| source | labels | suggested | random | 1 label |")
  print("|---|---|---|---|---|")
  for source in args.sources:
    found = {}
    for seed in range(args.seeds):
      parts = sources.divided(args.root / source, seed, args.pool, args.test)
      pool, test = map(Examples, parts)
      every = range(len(pool.instances))
      features = suggesting.described(detector, pool, every)

      def score(rows, pool=pool, test=test):
        support = pool.support(detector, rows)
        tested = range(len(test.instances))
        distances = test.distances(test.predict(detector, support, tested), tested)
        return 100 * np.nanmean(scores_of(distances).pck)

      found.setdefault(("", 1), []).append(score([0]))
      labelled = [0]
      for after in AFTER:
        support = pool.support(detector, labelled[:10])
        sure = pool.predict(detector, support, every).confidence
        new = suggesting.choose(
          sure.mean(1), features, features[labelled], after - len(labelled)
        )
        labelled += [row for row, _ in new]
        found.setdefault(("suggested", after), []).append(score(labelled))
        found.setdefault(("random", after), []).append(score([*every][:after]))
    for after in AFTER:
      cells = [
        f"{np.mean(x):.1f} ± {np.std(x, ddof=1) / np.sqrt(len(x)):.1f}"
        for x in (found["suggested", after], found["random", after], found["", 1])
      ]
      print(f"| {source} | {after} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  main()
