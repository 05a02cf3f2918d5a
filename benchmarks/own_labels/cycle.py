"""Measures what predicting the support back from the query adds to the confidence.

  python -m benchmarks.own_labels.cycle --root ../shared/data \
      --sources reaching_hand depth_people humans key_tool

Keypoints are predicted in a query from one support image, and the support is predicted
back from the query with those points as its labels. How far a point comes back from
where it started is added to the log-odds of the confidence by a logistic function,
fitted on the other sources. AURC is the mean error over all parts of the predictions
that are kept, the most confident ones first (less is better); AUROC is the probability
that a right point has a higher confidence than a wrong one, or a visible one than an
absent one.
"""

import numpy as np
from scipy import optimize, special, stats

from benchmarks.own_labels import sources
from fskd_jax.device import compilation_cache
from fskd_jax.few_shot.outcomes import THRESHOLD
from fskd_jax.own_labels.examples import Examples
from fskd_jax.prediction.load import load

LEAST = 0.02
"""Distance in units of the box that is added to that of a point that came back."""


def collect(detector, examples: Examples, supports: int, queries: int):
  """Returns log-odds of the confidence, cycle distance, correct and visible."""
  rows, rng = [], np.random.default_rng(0)
  names = examples.names
  for source in rng.permutation(len(examples.instances))[:supports].tolist():
    support = examples.support(detector, [source])
    others = [i for i in range(len(examples.instances)) if i != source]
    chosen = rng.permutation(others)[:queries].tolist()
    found = examples.predict(detector, support, chosen)
    near = np.asarray(examples.distances(found, chosen)) <= THRESHOLD
    start = examples.points(source)
    for i, row in enumerate(chosen):
      size = np.array(examples.instances[row].image_size) - 1
      points = np.clip(found.keypoints[i], 0, size)
      back = examples.support(detector, [row], {row: points})
      returned = examples.predict(detector, back, [source]).keypoints[0]
      apart = np.linalg.norm(returned - start, axis=-1) / examples.side(source)
      visible = np.asarray(np.isfinite(examples.points(row)).all(-1))
      asked = np.isfinite(start).all(-1) & np.isfinite(apart)
      confidence = np.clip(found.confidence[i], 1e-4, 1 - 1e-4)
      rows += [
        (special.logit(confidence[n]), apart[n], near[i, n], visible[n])
        for n in range(len(names))
        if asked[n]
      ]
  return np.array(rows, float)


def fitted(rows: np.ndarray, with_cycle: bool) -> np.ndarray:
  """Returns the weights of a logistic function of the log-odds and the cycle."""
  inputs, right = _inputs(rows, with_cycle), rows[:, 2]

  def loss(weights):
    odds = inputs @ weights
    return np.logaddexp(0, odds).sum() - right @ odds + 0.01 * (weights**2).sum()

  return optimize.minimize(loss, np.zeros(inputs.shape[1])).x


def _inputs(rows: np.ndarray, with_cycle: bool) -> np.ndarray:
  columns = [rows[:, 0], np.ones(len(rows))]
  return np.stack(columns + [-np.log(rows[:, 1] + LEAST)] * with_cycle, axis=1)


def auroc(score: np.ndarray, is_good: np.ndarray) -> float:
  """Returns the probability that a good one has the higher score."""
  good, bad = is_good.sum(), (~is_good).sum()
  if not good or not bad:
    return np.nan
  ranks = stats.rankdata(score)
  return (ranks[is_good].sum() - good * (good + 1) / 2) / (good * bad)


def aurc(score: np.ndarray, right: np.ndarray) -> float:
  """Returns the mean risk over coverages."""
  wrong = 1 - right[np.argsort(-score, kind="stable")]
  return float((wrong.cumsum() / np.arange(1, len(wrong) + 1)).mean())


def main() -> None:
  """Prints the table."""
  parser = sources.parser(__doc__)
  parser.add_argument("--supports", type=int, default=8)
  parser.add_argument("--queries", type=int, default=16)
  args = parser.parse_args()
  compilation_cache.enable()
  detector = load()
  found = {}
  for source in args.sources:
    examples = Examples(sources.divided(args.root / source, 0, 1, 60).test)
    found[source] = collect(detector, examples, args.supports, args.queries)
  print(
    "| source | points | wrong | absent | AURC | with cycle | AUROC right | with cycle "
    "| AUROC visible | with cycle |\n|---|---|---|---|---|---|---|---|---|---|"
  )
  for source, rows in found.items():
    others = np.concatenate([x for name, x in found.items() if name != source])
    right, visible = rows[:, 2], rows[:, 3] > 0
    cells = [f"{len(rows)}", f"{1 - right.mean():.1%}", f"{1 - visible.mean():.1%}"]
    scores = [_inputs(rows, c) @ fitted(others, c) for c in (False, True)]
    cells += [f"{100 * aurc(score, right):.1f}" for score in scores]
    cells += [f"{100 * auroc(score, right > 0):.1f}" for score in scores]
    cells += [f"{100 * auroc(score, visible):.1f}" for score in scores]
    print(f"| {source} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  main()
