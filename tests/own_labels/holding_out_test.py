"""What is left out, how it is scored, and when a gain counts."""

import numpy as np

from fskd_jax.own_labels import holding_out


def test_every_clip_is_left_out_once_and_never_divided():
  units = np.array([0, 0, 1, 2, 2, 3, 4])
  folds = holding_out.folds(units, 3)
  assert sorted(row for fold in folds for row in fold.held) == [*range(7)]
  for train, held in folds:
    assert not {*units[train]} & {*units[held]} and train and held
  assert len(holding_out.folds(units, 99)) == 5
  assert holding_out.folds(np.zeros(3, int), 3) == []


def test_scores_count_known_keypoints_alone():
  distances = np.array([[0.04, 0.12, np.nan], [np.nan] * 3, [0.5, np.nan, 0.1]])
  scores = holding_out.scores_of(distances)
  np.testing.assert_allclose(scores.pck, [0.5, np.nan, 0.5])
  # Of the thresholds 0.05, 0.1, 0.15, 0.2: four and two; none and three.
  np.testing.assert_allclose(scores.mean, [6 / 8, np.nan, 3 / 8])


def test_a_gain_counts_if_it_is_above_its_error():
  before = np.array([0.5, 0.4, 0.6, 0.5])
  worse, lucky, better = before - 0.2, before + [0.9, -0.2, -0.2, -0.1], before + 0.1
  assert holding_out.best(np.stack([before, worse])) == 0
  assert holding_out.best(np.stack([before, lucky])) == 0
  assert holding_out.best(np.stack([before, lucky, better])) == 2
  unknown = np.append(better, np.nan)
  assert holding_out.best(np.stack([np.append(before, 0.0), unknown])) == 1
  assert holding_out.best(np.array([[0.1], [0.9]])) == 0  # one object proves nothing
  found = holding_out.worse(np.stack([before, worse, lucky, better]))
  assert found.tolist() == [False, True, False, False]
