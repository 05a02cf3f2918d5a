"""Objects are followed through a video, and searched for when they are lost."""

import numpy as np
from helpers.blob_detector import SHAPE, SIDE, BlobDetector, frame

from fskd_jax.prediction.clips import Clip, Sighting


def follow(objects, frames, intervals=None):
  """Returns [{identity: centre}] of each frame, the clip and the detector."""
  detector = BlobDetector()
  clip = Clip(detector, detector.support([], [], []), objects)
  found = []
  for number, centers in enumerate(frames):
    interval = intervals[number] if intervals is not None else 1.0 * (number > 0)
    sighting = clip.look(frame(centers), interval, "x")
    again = Sighting.of(sighting.arrays(), sighting.found.names)
    identities = clip.add(again, interval)
    middles = again.found.keypoints[:, 2]
    found.append(dict(zip(identities.tolist(), middles)))
  return found, clip, detector


def test_a_moving_object_is_searched_for_once():
  path = [(20 + 2 * t, 30 + t) for t in range(40)]
  found, clip, detector = follow(1, [[p] for p in path])
  for place, seen in zip(path, found):
    np.testing.assert_allclose(seen[1], place, atol=1)
  assert clip.searches == detector.searches == 1


def test_an_object_that_leaps_is_searched_for_again():
  path = [(20, 20)] * 10 + [(95, 70)] * 10
  found, clip, _ = follow(1, [[p] for p in path])
  np.testing.assert_allclose([seen[1] for seen in found], path, atol=1)
  assert clip.searches == 2


def test_searches_that_do_not_help_become_rare():
  frames = [[(40, 40)]] * 5 + [[]] * 200
  found, clip, _ = follow(1, frames)
  assert len(found) == 205 and all([*seen] == [1] for seen in found)
  assert clip.searches < 12


def test_a_frame_that_comes_late_is_expected_further_on():
  times = np.cumsum(np.tile([1.0, 1, 1, 5], 6))
  path = np.stack([15 + 1.8 * times, np.full(len(times), 40)], axis=1)
  found, clip, _ = follow(1, path[:, None], np.diff(times, prepend=times[0]))
  np.testing.assert_allclose([seen[1] for seen in found], path, atol=1)
  assert clip.searches == 1


def test_two_that_cross_keep_their_identities():
  t = np.arange(50)
  one = np.stack([10 + 2 * t, np.full(50, 35)], axis=1)
  other = np.stack([108 - 2 * t, np.full(50, 58)], axis=1)
  found, _, _ = follow(2, np.stack([one, other], axis=1))
  first = min(found[0], key=lambda i: found[0][i][0])
  np.testing.assert_allclose([seen[first] for seen in found], one, atol=1)
  np.testing.assert_allclose([seen[3 - first] for seen in found], other, atol=1)


def test_one_that_comes_later_is_found_where_any_number_may():
  alone, both = [(30, 40)], [(30, 40), (90, 40)]
  found, clip, _ = follow(None, [alone] * 20 + [both] * 80)
  assert len(found[10]) == 1 and len(found[-1]) == 2
  assert clip.searches < 6


def test_frames_that_all_have_left_are_empty_where_any_number_may_be():
  there, gone = [(40, 40)], []
  found, _, _ = follow(None, [there] * 20 + [gone] * 20 + [there] * 20)
  assert [[*seen] for seen in found[:40]] == [[1]] * 20 + [[]] * 20
  assert [*found[-1]] == [1]  # which comes back with its number


def test_given_boxes_are_taken():
  detector = BlobDetector()
  box = (20.0, 30.0, SIDE, SIDE)
  clip = Clip(detector, detector.support([], [], []), 1, [box])
  sighting = clip.look(frame([(30, 40)]), 0.0, "x")
  assert clip.add(sighting, 0.0).tolist() == [1]
  np.testing.assert_allclose(sighting.found.keypoints[0], (30, 40) + SIDE * SHAPE)
  np.testing.assert_array_equal(sighting.found.box, [box])
  assert detector.searches == 0
