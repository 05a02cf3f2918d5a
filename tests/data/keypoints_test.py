from fskd_jax.data import keypoints

COCO_SKELETON = (  # of person_keypoints_val2017.json, which counts from 1
  (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8),
  (7, 9), (8, 10), (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip


def test_limbs_are_those_of_coco():
  found = keypoints.limbs(keypoints.COCO_PERSON)
  expected = {frozenset((a - 1, b - 1)) for a, b in COCO_SKELETON}
  assert {frozenset(pair) for pair in found} == expected and len(found) == 19


def test_every_human_joint_is_on_a_limb():
  names = keypoints.HUMAN_BASE + keypoints.HUMAN_NOVEL
  assert {n for pair in keypoints.limbs(names) for n in pair} == {*range(14)}
  assert keypoints.limbs(("wing tip", "tail")) == []
