"""Identities are kept through crossings, gaps and irregular times."""

import numpy as np
import pytest

from fskd_jax.tracking.identities import FORGOTTEN, GRACE, Tracker

SHAPE = np.array([(-0.4, 0.1), (0.0, -0.3), (0.4, 0.2), (0.1, 0.4)])
SIDE = 40.0


def _found(centers, shapes=SHAPE, sides=SIDE):
  """Returns the arguments of `assign` for objects at these centres."""
  sides = np.broadcast_to(sides, len(centers)).astype(float)
  points = np.reshape(centers, (-1, 1, 2)) + sides[:, None, None] * np.array(shapes)
  spread = np.broadcast_to(4 * np.eye(2), (*points.shape[:2], 2, 2))
  return points, spread, np.full(points.shape[:2], 0.9), sides


def _follow(tracker, frames, interval=1.0):
  """Returns the identities of each frame; rows are shuffled between frames."""
  rng, found = np.random.default_rng(0), []
  for centers in frames:
    tracker.advance(interval)
    order = rng.permutation(len(centers))
    identities = tracker.assign(*_found(np.reshape(centers, (-1, 2))[order]))
    found.append(dict(zip(order.tolist(), identities.tolist())))
  return found


def _crossing(count=60, hidden=()):
  """Two objects that cross at the middle; one is hidden in some frames."""
  x = np.linspace(0, 200, count)
  noise = np.random.default_rng(1).normal(0, 0.5, (count, 2, 2))
  both = np.stack([np.c_[x, 0 * x], np.c_[200 - x, 0 * x + 6]], axis=1) + noise
  return [frame[:1] if i in hidden else frame for i, frame in enumerate(both)]


@pytest.mark.parametrize("most", [2, None])
@pytest.mark.parametrize("hidden", [(), range(24, 36)])
def test_objects_that_cross_keep_their_identities(most, hidden):
  found = _follow(Tracker(most), _crossing(hidden=hidden))
  assert all(frame[0] == found[0][0] for frame in found)
  assert all(frame.get(1, found[0][1]) == found[0][1] for frame in found)
  assert {*found[0].values()} == {1, 2}


def test_a_tracker_without_velocity_would_swap_them(monkeypatch):
  from fskd_jax.tracking import kalman

  real = kalman.predicted

  def stand(belief, interval, wander):
    still = kalman.Belief(belief.mean * [1, 1, 0, 0], belief.covariance)
    return real(still, interval, wander)

  monkeypatch.setattr(kalman, "predicted", stand)
  found = _follow(Tracker(2), _crossing(hidden=range(24, 36)))
  assert found[-1][0] != found[0][0] or found[-1][1] != found[0][1]


def test_a_single_object_is_the_same_wherever_it_is():
  found = _follow(Tracker(1), [[(0, 0)], [(2, 0)], [(500, 300)], [(500, 302)]])
  assert [frame[0] for frame in found] == [1] * 4


def test_a_missing_object_comes_back_as_itself_only_where_all_are_known():
  away = [[(0, 0), (300, 0)]] * 5 + [[(0, 0)]] * (int(GRACE) + 1)
  back = [[(0, 0), (300, 250)]]
  two = _follow(Tracker(2), away + back)
  assert two[-1] == two[0]
  assert _follow(Tracker(2), away[:7] + back)[-1][1] == 0  # it cannot be there so soon
  any_number = _follow(Tracker(None), away + back)
  assert any_number[-1][0] == any_number[0][0]
  assert any_number[-1][1] == 3


def test_objects_that_are_gone_are_forgotten():
  tracker = Tracker(None)
  _follow(tracker, [[(0, 0), (300, 0)]] + [[(0, 0)]] * (int(FORGOTTEN) + 1))
  assert [track.identity for track in tracker.tracks] == [1]


def test_the_time_between_frames_counts():
  """The same motion, sampled at irregular times, is expected where it will be."""
  rng = np.random.default_rng(0)
  tracker, time = Tracker(1), 0.0
  for interval in rng.uniform(0.5, 3, 40):
    time += interval
    tracker.advance(interval)
    tracker.assign(*_found([(2.0 * time, -time)]))
  tracker.advance(5.0)
  (track,) = tracker.tracks
  expected = np.array([2.0, -1.0]) * (time + 5) + SIDE * SHAPE
  np.testing.assert_allclose(track.belief.points, expected, atol=1.0)


def _seen(*frames):
  """Returns the identities of each frame, by the arguments of `_found`."""
  tracker, identities = Tracker(2), []
  for frame in frames:
    tracker.advance(1.0)
    identities.append(tracker.assign(*_found(*frame)).tolist())
  return identities, tracker


def test_an_object_that_turns_round_stays_itself():
  """Beside another one, whose keypoints are nearer to where its own were."""
  turned = np.stack([SHAPE, SHAPE * [-1, 1]])
  apart, near = [(0, 0), (44, 0)], [(44, 0), (4, 0)]
  (*_, last), _ = _seen(*[(apart,)] * 5, (near, turned))
  assert last == [2, 1]


def test_size_tells_objects_at_one_place():
  small, large = 0.7 * SIDE, SIDE
  before = [([(-6, 0), (6, 0)], SHAPE, [small, large])] * 5
  both = [(0, 0), (0, 3)]
  (*_, last), _ = _seen(*before, (both, SHAPE, [large, small]))
  assert last == [2, 1]


def test_few_keypoints_that_jump_are_mistaken_and_many_are_not():
  some, many = np.array(SHAPE), SHAPE * [-1, 1]
  some[0] += [1.0, 0]
  for jumped, expected in ((some, SHAPE), (many, many)):
    _, tracker = _seen(*[([(0, 0)],)] * 10, ([(0, 0)], jumped))
    found = tracker.tracks[0].belief.points[[0, 2]]  # the others hardly move
    np.testing.assert_allclose(found, SIDE * expected[[0, 2]], atol=0.05 * SIDE)


def test_a_size_that_is_measured_wrongly_once_is_not_believed():
  _, tracker = _seen(*[([(0, 0)],)] * 5, ([(0, 0)], SHAPE, 0.5 * SIDE))
  assert tracker.tracks[0].side > 0.95 * SIDE
