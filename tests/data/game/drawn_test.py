"""Posed and drawn actors: bones move their vertices, nearer hides farther."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fskd_jax.data.game import picture, points, posing, quadrupeds, triangles
from fskd_jax.data.game.archive import Archive
from tests.helpers import small_game


@pytest.fixture
def archive(tmp_path):
  return Archive(small_game.write(tmp_path / "public.zip", turned=0.5))


def _camera(forward=(0.0, 0.0, 1.0), away=6.0):
  forward = np.array(forward)
  right = np.cross([0, 1, 0], forward)
  up = np.cross(forward, right)
  rows = np.stack([right, up, forward])
  return triangles.Camera(rows, -away * forward, 150.0, np.array([48.0, 48.0]))


def _part(corners, faces, color):
  corners = np.array(corners, float)
  texture = np.full((2, 2, 4), (*color, 255), np.uint8)
  normals = np.tile([0.0, 0.0, -1.0], (len(corners), 1))
  places = np.full((len(corners), 2), 0.5)
  return posing.Part(corners, normals, places, np.array(faces), texture, False, False)


def test_poses_are_matrices_as_scipy_makes_them():
  poses = np.random.default_rng(0).normal(size=(6, 7))
  found = posing.matrices(poses)
  np.testing.assert_allclose(found[:, :3, :3], Rotation(poses[:, 3:]).as_matrix())
  np.testing.assert_array_equal(found[:, :3, 3], poses[:, :3])


def test_at_rest_nothing_moves_and_a_bone_moves_its_own(archive):
  model = archive.model("skeletal/sheep.dae")
  still, _ = posing.skin(model, model.rest)
  np.testing.assert_allclose(still, model.points, atol=1e-9)
  bones = archive.motion("quadraped/wag.dae")[0]
  moved, normals = posing.skin(model, bones)
  head = model.bones[:, 0] == 2
  turn, joint = Rotation.from_rotvec([0.5, 0, 0]), model.rest[2, :3]
  np.testing.assert_allclose(
    moved[head], turn.apply(model.points[head] - joint) + joint, atol=1e-6
  )
  np.testing.assert_allclose(normals[head], turn.apply(model.normals[head]), atol=1e-6)
  np.testing.assert_allclose(moved[~head], model.points[~head], atol=1e-6)


def test_props_follow_the_bone_that_they_hang_on(archive):
  posed = posing.pose(archive, "fauna/sheep1.xml", np.random.default_rng(0))
  assert posed is not None
  _, hat = posed.parts
  turn, joint = Rotation.from_rotvec([0.5, 0, 0]), small_game.sheep_rest()[2, :3]
  expected = turn.apply(archive.model("props/hat.dae").points + (0, 0, 0.4)) + joint
  np.testing.assert_allclose(hat.points, expected, atol=1e-6)


def test_triangles_are_drawn_as_a_slow_loop_over_pixels_draws_them():
  rng = np.random.default_rng(3)
  parts = [
    _part(rng.uniform(-1, 1, (3, 3)), [[0, 1, 2]], rng.integers(1, 255, 3))
    for _ in range(5)
  ]
  camera = _camera()
  drawn = triangles.draw(parts, camera, 96, np.zeros(3))
  checked = 0
  for y in range(0, 96, 3):
    for x in range(0, 96, 3):
      ray = camera.rotation.T @ [(x - 48) / 150, -(y - 48) / 150, 1]
      hits = []
      for part in parts:
        a, b, c = part.points
        solution = np.linalg.solve(
          np.stack([b - a, c - a, -ray], 1), camera.position - a
        )
        v, w, t = solution
        if min(v, w, 1 - v - w) > -1e-9:
          hits.append((t, part.texture[0, 0, :3]))
      if not hits:
        assert np.isinf(drawn.depth[y, x])
        continue
      depth, color = min(hits, key=lambda hit: hit[0])
      np.testing.assert_allclose(drawn.depth[y, x], depth)
      np.testing.assert_array_equal(drawn.color[y, x], color)
      checked += 1
  assert checked > 20


def test_textures_are_seen_in_perspective():
  # A floor that goes away: half of its length is seen above the middle of its picture.
  texture = np.zeros((64, 1, 4), np.uint8)
  texture[:32, :, 0], texture[..., 3] = 255, 255
  corners = [(-1, -1, -2), (1, -1, -2), (1, -1, 4), (-1, -1, 4)]
  part = posing.Part(
    np.array(corners, float), np.tile([0.0, 1, 0], (4, 1)),
    np.array([(0, 1), (1, 1), (1, 0), (0, 0)], float),
    np.array([[0, 1, 2], [0, 2, 3]]), texture, False, False,
  )  # fmt: skip
  camera = _camera()
  drawn = triangles.draw([part], camera, 96, np.zeros(3))
  column = drawn.color[:, 48, 0]
  seen = np.flatnonzero(np.isfinite(drawn.depth[:, 48]))
  edge = seen[column[seen] > 0].max()
  expected = camera.project(np.array([[0.0, -1, 1]]))[0, 1]
  assert abs(edge - expected) <= 1
  assert edge < seen.mean()


def test_alpha_cuts_or_dyes_as_the_material_says():
  texture = np.zeros((1, 1, 4), np.uint8)
  texture[..., 0], texture[..., 3] = 200, 51
  plain = _part([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], [[0, 1, 2]], (0, 0, 0))
  dye = np.array([0.0, 0, 100])
  draw = lambda **fields: triangles.draw(
    [plain._replace(texture=texture, **fields)], _camera(), 96, dye
  )
  assert draw().color[48, 48].tolist() == [200, 0, 0]
  np.testing.assert_allclose(draw(dyed=True).color[48, 48], [40, 0, 80])
  assert np.isinf(draw(cut=True).depth).all()


def test_hidden_keypoints_are_not_visible():
  wall = _part([(-1, -1, 0), (1, -1, 0), (0, 1, 0)], [[0, 1, 2]], (9, 9, 9))
  camera = _camera()
  depth = triangles.draw([wall], camera, 96, np.zeros(3)).depth
  places = np.array([[0, 0, -1], [0, 0, 0.04], [0, 0, 1], [0.9, 0.9, 1], [9, 0, 0]])
  seen = triangles.in_front(camera.project(places), depth, np.full(5, 0.05))
  assert seen.tolist() == [True, True, False, True, False]


def test_the_left_of_an_animal_is_on_the_right_of_who_faces_it(archive):
  model = archive.model("skeletal/sheep.dae")
  bones = list(small_game.SHEEP_BONES)
  found = quadrupeds.find(model, quadrupeds.table("sheep"), bones)
  body = _part(model.points, model.faces, (1, 1, 1))
  places = dict(zip(found.names, found.places(posing.Posed("", [body], model.rest))))
  camera = _camera(forward=(0.0, 0.0, -1.0))  # in front of the animal
  x = {name: camera.project(place[None])[0, 0] for name, place in places.items()}
  assert x["left elbow"] > x["right elbow"]
  assert x["left rear paw"] > x["right rear paw"]
  np.testing.assert_allclose(places["nose"][2], 1.5, atol=1e-6)
  np.testing.assert_allclose(places["tail tip"][2], -1.4, atol=1e-6)
  np.testing.assert_allclose(places["tail base"], model.rest[10, :3])


def test_points_of_a_model_are_apart_and_mirror_each_other(archive):
  model = archive.model("skeletal/sheep.dae")
  found = points.spread(model, 8)
  posed = posing.Posed("", [_part(model.points, model.faces, (1, 1, 1))], model.rest)
  places = dict(zip(found.names, found.places(posed)))
  assert len(set(found.names)) == len(places) >= 10
  lefts = [name for name in places if name.startswith("left ")]
  assert len(lefts) >= 4
  for name in lefts:
    other = places[name.replace("left", "right", 1)]
    np.testing.assert_allclose(places[name] * (-1, 1, 1), other, atol=0.05)
    assert places[name][0] > 0
  gaps = [np.linalg.norm(a - b) for a in places.values() for b in places.values()]
  assert sorted(gaps)[len(places)] > 0.01


def test_keypoints_lie_on_what_they_mark(archive):
  """A ball in a colour of its own is where the picture has that colour."""
  center = np.array([0, 0.9, 1.2])  # above the head
  corners, faces, _ = small_game.box(center - 0.06, center + 0.06, 0)
  ball = _part(corners, faces, (255, 0, 255))
  errors = []
  for seed in range(12):
    rng = np.random.default_rng(seed)
    posed = posing.pose(archive, "fauna/sheep1.xml", rng)
    assert posed is not None
    posed = posed._replace(parts=[posed.parts[0], ball])
    args = center[None], np.array([0.05]), [], rng
    shown = picture.take(archive, posed, *args)
    assert shown is not None and shown.image.shape == (224, 224, 3)
    left, top, width, height = shown.box
    assert 0 <= left < left + width <= 224 and 0 <= top < top + height <= 224
    red, green, blue = np.moveaxis(shown.image.astype(int), -1, 0)
    own = (red > 60) & (blue > 60) & (green < 0.4 * np.minimum(red, blue))
    own[: int(top)] = own[int(top + height) + 1 :] = False  # not the background
    if shown.visible[0]:
      rows, columns = np.nonzero(own)
      middle = np.array([columns.mean(), rows.mean()])
      errors.append(np.linalg.norm(middle - shown.keypoints[0]))
  assert len(errors) > 6
  assert np.median(errors) < 1
