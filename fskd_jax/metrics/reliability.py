"""Reliability and risk-coverage curves of confidences."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Curves(NamedTuple):
  """Reliability and risk-coverage curves of a set of predictions.

  Attributes:
    confidence, correct, count: For each bin that is not empty, its mean confidence,
      the fraction of correct predictions, and the number of predictions.
    coverage: Fractions of all predictions that are kept, the most confident first.
    risk: The fraction of wrong predictions at each coverage.
    error: The expected calibration error: the mean distance of confidence and
      correctness over the bins, weighted by their counts.
  """

  confidence: list[float]
  correct: list[float]
  count: list[int]
  coverage: list[float]
  risk: list[float]
  error: float


_BINS = 10


_COVERAGES = np.linspace(0.05, 1, 20)


def measure(
  confidence: Float[np.ndarray, " e"], correct: Bool[np.ndarray, " e"]
) -> Curves:
  """Measures the curves of confidences.

  Reliability compares confidence and correctness in ten bins of equal width. Risk is
  the fraction of wrong predictions among the most confident ones.
  """
  bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
  count = np.bincount(bins, minlength=_BINS)
  with np.errstate(invalid="ignore"):
    mean = np.bincount(bins, confidence, _BINS) / count
    right = np.bincount(bins, correct, _BINS) / count
  filled = count > 0
  wrong = ~correct[np.argsort(-confidence, kind="stable")]
  risk = np.cumsum(wrong) / np.arange(1, len(wrong) + 1)
  kept = np.ceil(_COVERAGES * len(wrong)).astype(int)
  return Curves(
    confidence=mean[filled].tolist(),
    correct=right[filled].tolist(),
    count=count[filled].tolist(),
    coverage=_COVERAGES.tolist(),
    risk=risk[kept - 1].tolist(),
    error=float(np.abs((mean - right)[filled]) @ count[filled] / len(confidence)),
  )
