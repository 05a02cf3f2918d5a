"""Occlusion and the confidence of machines in tables."""

import json

import pytest
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import formats
from fskd_jax.prediction import keypoint_files

LIGHTNING_POSE = """scorer,me,me,me,me,me,me,me,me,me
bodyparts,nose,nose,nose,ear,ear,ear,tail,tail,tail
coords,x,y,visible,x,y,visible,x,y,visible
labeled-data/v/img1.png,10,20,2,30,15,0,5,6,1
labeled-data/v/img2.png,,,0,11,12,2,5,6,2
"""
MACHINE = {
  "DeepLabCut": "scorer,net,net,net,net,net,net\n"
  "bodyparts,nose,nose,nose,ear,ear,ear\n"
  "coords,x,y,likelihood,x,y,likelihood\n"
  "0,10,20,0.99,30,15,0.01\n",
  "SLEAP": "track,frame_idx,instance.score,nose.x,nose.y,nose.score,ear.x,ear.y,"
  "ear.score\n,0,0.9,10,20,0.99,30,15,0.01\n",
  "own": "frame,nose_x,nose_y,nose_confidence,ear_x,ear_y,ear_confidence\n"
  "0,10,20,0.99,30,15,0.01\n",
}


def _convert(source, out, *more):
  return main.main(["data", "convert", str(source), "--out", str(out), *map(str, more)])


def _keypoints(path):
  return [a["keypoints"] for a in json.loads(path.read_text())["annotations"]]


@pytest.fixture
def images(tmp_path):
  for name in ("img0", "img1", "img2"):
    (tmp_path / "v").mkdir(exist_ok=True)
    Image.new("RGB", (40, 30)).save(tmp_path / "v" / f"{name}.png")
  return tmp_path


def test_not_labelled_occluded_and_visible_stay_three(images, capsys):
  source, coco, back = (images / name for name in ("lp.csv", "a.json", "back.csv"))
  source.write_text(LIGHTNING_POSE)
  assert _convert(source, coco, "--images", images) == 0
  assert _keypoints(coco) == [
    [10, 20, 2, 0, 0, 0, 5, 6, 1],
    [0, 0, 0, 11, 12, 2, 5, 6, 2],
  ]
  assert _convert(coco, back, "--to", "lightning-pose") == 0
  assert "occlusions" not in capsys.readouterr().out
  assert "coords,x,y,visible" in back.read_text()
  assert formats.read(back).images == formats.read(source).images


def test_a_visibility_of_another_kind_is_refused(tmp_path):
  path = tmp_path / "lp.csv"
  path.write_text(LIGHTNING_POSE.replace("20,2", "20,3"))
  with pytest.raises(ValueError, match="visibility 3, expected 0"):
    formats.read(path)


@pytest.mark.parametrize("kind", MACHINE)
def test_what_a_machine_doubts_is_no_label_and_is_counted(kind, images, capsys, caplog):
  source = images / "machine.csv"
  source.write_text(MACHINE[kind])
  for target, said in (("coco", "kept, but no labels"), ("cvat", "left out")):
    out = images / f"out.{'json' if target == 'coco' else 'xml'}"
    assert _convert(source, out, "--images", images, "--to", target) == 0
    assert f"{said}: 1 keypoints that a machine placed" in capsys.readouterr().out
  assert _keypoints(images / "out.json") == [[10, 20, 2, 30, 15, 0]]
  (found,) = keypoint_files.read(source, images / "v" / "img0.png")
  assert found.keypoints == {"nose": (10, 20), "ear": None}
  assert "left out: ear" in caplog.text
  all_of_them = images / "all.json"
  more = ["--images", images, "--min-likelihood", "0"]
  assert _convert(source, all_of_them, *more) == 0
  assert _keypoints(all_of_them) == [[10, 20, 2, 30, 15, 2]]
