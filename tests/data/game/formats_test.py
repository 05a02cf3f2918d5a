"""The game's archive: models, motions, textures and actors are read as they are."""

import zipfile

import numpy as np
import pytest

from fskd_jax.data.game import actors
from fskd_jax.data.game.archive import Archive
from tests.helpers import small_game


@pytest.fixture
def archive(tmp_path):
  return Archive(small_game.write(tmp_path / "public.zip", turned=0.5))


def test_a_model_has_the_parts_that_were_written(archive):
  points, faces, bones = small_game.animal()
  model = archive.model("skeletal/sheep.dae")
  np.testing.assert_allclose(model.points, points, atol=1e-6)
  np.testing.assert_array_equal(model.faces, faces)
  np.testing.assert_array_equal(model.bones[:, 0], bones)
  np.testing.assert_array_equal(model.weights.sum(1), 1)
  np.testing.assert_allclose(model.rest, small_game.sheep_rest(), atol=1e-6)
  bone, place = model.anchors["head"]
  assert bone == 2
  np.testing.assert_allclose(place, [0, 0, 0.4, *small_game.QUIET], atol=1e-6)
  assert model.anchors["root"][0] is None


def test_a_motion_has_a_pose_of_every_bone(archive):
  motion = archive.motion("quadraped/wag.dae")
  assert motion.shape == (2, 23, 7)
  np.testing.assert_allclose(
    motion[0, 2, 3:], [np.sin(0.25), 0, 0, np.cos(0.25)], atol=1e-6
  )


def test_textures_have_their_first_row_at_v_zero(archive):
  texture = archive.texture("skins/skin.png")
  assert texture[0, 0].tolist() == [0, 200, 0, 255]  # green
  assert texture[-1, 0].tolist() == [200, 0, 0, 255]  # red


def test_variants_are_drawn_by_frequency_and_bring_props(archive):
  for seed in range(5):  # the other variant has frequency 0 and no such model
    sheep = actors.choose(archive, "fauna/sheep1.xml", np.random.default_rng(seed))
    assert sheep is not None and sheep.model == "skeletal/sheep.dae"
    assert sheep.motions == ("quadraped/wag.dae",)
    assert sheep.props == {"head": "props/hat.xml"}


def test_later_groups_replace_what_earlier_ones_have(tmp_path):
  variant = (
    '<variant><textures><texture file="{}" name="baseTex"/></textures></variant>'
  )
  path = tmp_path / "public.zip"
  with zipfile.ZipFile(path, "w") as archive:
    archive.writestr("art/meshes/skeletal/a", "")
    archive.writestr(
      "art/actors/a.xml",
      "<actor><group><variant><mesh>a.dae</mesh></variant>"
      f"{variant.format('never.png')}</group>"
      f"<group>{variant.format('one.png')}</group>"
      '<group><variant file="two.xml"/></group></actor>',
    )
    archive.writestr("art/variants/two.xml", variant.format("two.png"))
  chosen = {
    found.texture
    for seed in range(20)
    if (found := actors.choose(Archive(path), "a.xml", np.random.default_rng(seed)))
  }
  assert chosen == {"skins/two.png"}


def test_what_is_not_the_archive_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match="apt-get install 0ad-data"):
    Archive(tmp_path / "public.zip")
  with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
    other.writestr("readme.txt", "")
  with pytest.raises(ValueError, match="no art/meshes/skeletal"):
    Archive(tmp_path / "other.zip")
