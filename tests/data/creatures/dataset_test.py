"""The synthetic creatures: geometry, left and right, occlusion, reproducible files."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from fskd_jax.data import annotations
from fskd_jax.data.creatures import dataset as creatures_dataset
from fskd_jax.data.creatures import pose, render, scene, skeleton
from fskd_jax.data.creatures.species import LENGTHS, SPECIES

NAMES = [species.name for species in SPECIES]
AT = {name: i for i, name in enumerate(skeleton.KEYPOINTS)}
SIDED = [name for name in AT if name.startswith("left")]


def placed_body(species, seed):
  rng = np.random.default_rng(seed)
  return render.place(pose.pose(species, species.coats[0], rng), rng)[0]


def capsules(*rows, keypoints=(), slack=()):
  """A body of capsules (start, end, r0, r1), in pixels of the drawn picture."""
  start, end, r0, r1 = zip(*rows)
  count = len(rows)
  return skeleton.Body(
    start=np.array(start, np.float32),
    end=np.array(end, np.float32),
    radii=np.array([r0, r1], np.float32).T,
    colors=np.zeros((count, 3), np.float32),
    skins=np.zeros(count, np.int32),
    arcs=np.zeros(count, np.float32),
    keypoints=np.array(keypoints, np.float32).reshape(-1, 3),
    slack=np.array(slack, np.float32),
  )


def test_vocabulary_is_that_of_animal_pose():
  assert len(skeleton.KEYPOINTS) == 20
  assert skeleton.KEYPOINTS[:8] == (
    "left eye", "right eye", "left ear", "right ear", "nose", "throat", "withers",
    "tail",
  )  # fmt: skip
  assert skeleton.KEYPOINTS[8] == "left-front leg"
  assert skeleton.KEYPOINTS[13] == "right-front knee"
  assert skeleton.KEYPOINTS[19] == "right-back paw"
  assert len(SIDED) == 8 and all(n.replace("left", "right") in AT for n in SIDED)


def test_species_differ_more_than_creatures_of_one_species():
  sizes = np.array([[getattr(s, name) for name in LENGTHS] for s in SPECIES])
  ratios = np.abs(np.log(sizes[:, None] / sizes[None]))
  largest = ratios.max(-1)[~np.eye(len(SPECIES), dtype=bool)]
  assert (largest > np.log(1.1 / 0.9)).all()


@pytest.mark.parametrize("species", SPECIES, ids=NAMES)
def test_left_and_right_follow_from_the_facing_direction(species):
  facings = []
  for seed in range(12):
    points = placed_body(species, [7, seed]).keypoints
    facing_right = points[AT["nose"], 0] > points[AT["tail"], 0]
    paws = [n for n in SIDED if n.endswith("paw")]
    left = points[[AT[n] for n in paws], 2].mean()
    right = points[[AT[n.replace("left", "right")] for n in paws], 2].mean()
    assert (right > left) == facing_right  # z points to the viewer
    facings.append(facing_right)
  assert 0 < sum(facings) < 12


def test_only_the_near_eye_is_seen_from_the_side():
  near = far = 0
  for i in range(80):
    picture = render.render("horse", [3, i])
    nose, tail = picture.keypoints[[AT["nose"], AT["tail"]]]
    near_side, far_side = "left", "right"
    if nose[0] > tail[0]:
      near_side, far_side = far_side, near_side
    near += picture.visible[AT[f"{near_side} eye"]]
    far += picture.visible[AT[f"{far_side} eye"]]
  assert near > 55 and far < 40


def test_depth_buffer_is_the_union_of_balls():
  body = capsules(
    ((60, 60, 5), (150, 100, 40), 30, 14),
    ((90, 150, -20), (100, 158, 60), 12, 24),  # nearly end-on
    ((200, 200, 3), (200, 200, 3), 20, 20),  # a ball
    ((190, 195, 0), (194, 196, 25), 8, 30),  # one end inside the other
  )
  y, x = np.mgrid[:256, :256]
  expected = np.full((256, 256), -np.inf)
  for start, end, (r0, r1) in zip(body.start, body.end, body.radii):
    for t in np.linspace(0, 1, 201):
      cx, cy, cz = start + t * (end - start)
      height = (r0 + t * (r1 - r0)) ** 2 - (x - cx) ** 2 - (y - cy) ** 2
      z = cz + np.sqrt(np.maximum(height, 0))
      expected = np.where(height > 0, np.maximum(expected, z), expected)
  depth = render.rasterize(body).depth
  both = np.isfinite(depth) & np.isfinite(expected)
  assert (np.isfinite(depth) ^ np.isfinite(expected)).sum() < 20
  np.testing.assert_allclose(depth[both], expected[both], atol=0.6)


def test_a_nearer_part_hides_a_keypoint():
  ball = ((100, 100, 0), (100, 100, 0), 20, 20)
  screen = ((60, 100, 60), (140, 100, 60), 8, 8)
  points = [(100, 100, 0), (100, 100, -30), (100, 115, 0)]
  body = capsules(ball, keypoints=points, slack=(21, 21, 21))
  depth = render.rasterize(body).depth
  np.testing.assert_array_equal(render.in_front(body, depth), [True, False, True])
  body = capsules(ball, screen, keypoints=points, slack=(21, 21, 21))
  depth = render.rasterize(body).depth
  np.testing.assert_array_equal(render.in_front(body, depth), [False, False, True])


def test_the_occluder_covers_what_it_reports():
  y, x = np.mgrid[:64, :64]
  points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], -1).astype(np.float32)
  for seed in range(5):
    canvas = Image.new("RGB", (64, 64), (1, 2, 3))
    rng = np.random.default_rng(seed)
    covered = scene.occlude(canvas, (8, 16, 56, 48), points, rng).reshape(64, 64)
    changed = (np.asarray(canvas) != (1, 2, 3)).any(-1)
    np.testing.assert_array_equal(covered, changed)
    assert covered[16:48, 8:56].sum() == covered.sum() > 0


@pytest.fixture
def bare(monkeypatch):
  """Pictures with nothing but the creature, on magenta."""
  magenta = np.array([255, 0, 255], np.uint8)
  monkeypatch.setattr(
    scene, "background", lambda side, rng: np.tile(magenta, (side, side, 1))
  )
  monkeypatch.setattr(scene, "occlude", lambda *a: np.zeros(20, bool))


@pytest.mark.parametrize("name", NAMES)
def test_keypoints_and_box_lie_on_the_drawn_body(bare, name):
  for i in range(4):
    picture = render.render(name, [11, i])
    drawn = np.abs(picture.image.astype(int) - (255, 0, 255)).max(-1) > 8
    rows, columns = np.nonzero(drawn)
    x, y, w, h = picture.box
    hull = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose((x, y, x + w, y + h), hull, atol=1)
    assert 0 <= x and x + w <= render.SIDE and 0 <= y and y + h <= render.SIDE
    assert 0.48 * render.SIDE <= max(w, h) <= 0.9 * render.SIDE
    for px, py in np.rint(picture.keypoints).astype(int):
      assert drawn[py - 1 : py + 2, px - 1 : px + 2].any()
    assert picture.visible.sum() >= 6
    assert picture.keypoints.shape == (20, 2)
    assert picture.keypoints.dtype == np.float32


def test_the_seed_decides_everything():
  first, again = (render.render("fox", [0, 10, 4]) for _ in range(2))
  for a, b in zip(first, again):
    np.testing.assert_array_equal(a, b)
  other = render.render("fox", [0, 10, 5])
  assert (first.image != other.image).mean() > 0.5
  with pytest.raises(ValueError, match="no species 'yeti'.*zebra"):
    render.render("yeti", [0])


def content_of(folder):
  return {
    str(path.relative_to(folder)): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


@pytest.mark.slow
def test_folder_does_not_depend_on_the_number_of_processes(tmp_path):
  for name, processes in (("a", 1), ("b", 3)):
    creatures_dataset.write_creatures(
      tmp_path / name, images_per_species=1, seed=5, processes=processes
    )
  assert content_of(tmp_path / "a") == content_of(tmp_path / "b")
  assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]

  dataset = annotations.read_coco(tmp_path / "a")
  assert dataset.species == tuple(NAMES)
  assert dataset.keypoint_names == skeleton.KEYPOINTS
  assert dataset.skeleton == skeleton.SKELETON
  assert [i.species for i in dataset.instances] == NAMES
  picture = render.render("zebra", [5, NAMES.index("zebra"), 0])
  zebra = dataset.instances[NAMES.index("zebra")]
  assert zebra.box == picture.box
  np.testing.assert_array_equal(zebra.visible, picture.visible)
  np.testing.assert_allclose(
    zebra.keypoints, picture.keypoints * picture.visible[:, None], atol=0.006
  )
  decoded = np.asarray(Image.open(tmp_path / "a" / "images" / "zebra_00000.jpg"))
  assert np.abs(decoded.astype(int) - picture.image).mean() < 6


def test_rendering_leaves_no_half_folder(tmp_path, monkeypatch):
  (tmp_path / "there").mkdir()
  with pytest.raises(FileExistsError, match="there"):
    creatures_dataset.write_creatures(tmp_path / "there")
  with pytest.raises(ValueError, match="images_per_species is 0"):
    creatures_dataset.write_creatures(tmp_path / "new", images_per_species=0)
  monkeypatch.setattr(sys, "executable", "/bin/false")
  with pytest.raises(RuntimeError, match="exit status 1"):
    creatures_dataset.rendered_folder(tmp_path, 1)
  assert [p.name for p in tmp_path.iterdir()] == ["there"]


def test_rendered_folder_renders_once(tmp_path, monkeypatch):
  folder = creatures_dataset.rendered_folder(tmp_path / "cache", 1)
  assert len(json.loads((folder / "annotations.json").read_text())["images"]) == 13
  monkeypatch.setattr(sys, "executable", "/bin/false")
  assert creatures_dataset.rendered_folder(tmp_path / "cache", 1) == folder


def test_workers_import_neither_jax_nor_tensorflow():
  code = (
    "import sys, fskd_jax.data.creatures.worker\n"
    "assert not {'jax', 'tensorflow', 'tensorflow_datasets'} & set(sys.modules)"
  )
  subprocess.run([sys.executable, "-c", code], check=True)
