"""Files of annotation tools, and how their faults are told."""

import json

import pytest

from fskd_jax.prediction import keypoint_files

POINTS = {"nose": (10.0, 20.0), "left eye": None, "tail, base": (3.5, 4.0)}

COCO = {
  "images": [
    {"id": 7, "file_name": "sub/a.jpg", "width": 40, "height": 30},
    {"id": 8, "file_name": "b.jpg", "width": 40, "height": 30},
    {"id": 9, "file_name": "c.jpg", "width": 40, "height": 30},
  ],
  "categories": [
    {"id": 1, "name": "cat", "keypoints": [*POINTS], "skeleton": [[1, 3]]}
  ],
  "annotations": [
    {
      "id": i,
      "image_id": image,
      "category_id": 1,
      "bbox": [1, 2, 30, 20],
      "keypoints": [10, 20, 2, 0, 0, 0, 3.5, 4, 1],
    }
    for i, image in enumerate((7, 8, 8))
  ],
}
LABELME = {
  "version": "5.0.1",
  "imagePath": "whatever.jpg",
  "imageWidth": 40,
  "imageHeight": 30,
  "shapes": [
    {"label": "nose", "shape_type": "point", "points": [[10.5, 20.5]]},
    {"label": "tail, base", "shape_type": "point", "points": [[4, 4.5]]},
    {"label": "cat", "shape_type": "rectangle", "points": [[31, 2], [1, 22]]},
  ],
}
DEEPLABCUT = """scorer,me,me,me,me,me,me
bodyparts,nose,nose,left eye,left eye,"tail, base","tail, base"
coords,x,y,x,y,x,y
labeled-data/clip/img003.png,1,2,3,4,5,6
labeled-data/clip/a.jpg,10,20,,,3.5,4
"""
DEEPLABCUT_3 = """scorer,,,me,me,me,me,me,me
bodyparts,,,nose,nose,left eye,left eye,"tail, base","tail, base"
coords,,,x,y,x,y,x,y
labeled-data,clip,a.jpg,10,20,,,3.5,4
labeled-data,clip,b.jpg,1,2,3,4,5,6
"""
PREDICTED = """scorer,net,net,net,net,net,net,net,net,net
bodyparts,nose,nose,nose,left eye,left eye,left eye,"tail, base","tail, base",\
"tail, base"
coords,x,y,likelihood,x,y,likelihood,x,y,likelihood
0,1,1,1,1,1,1,1,1,1
12,10,20,0.9,,,0.1,3.5,4,0.8
"""
SLEAP = """track,frame_idx,instance.score,nose.x,nose.y,nose.score,left eye.x,\
left eye.y,left eye.score,"tail, base.x","tail, base.y","tail, base.score"
,5,0.9,1,2,1,3,4,1,5,6,1
,12,0.9,10,20,1,,,0,3.5,4,1
"""
PLAIN = {"nose": [10, 20], "left eye": None, "tail, base": [3.5, 4, 2]}


def _read(tmp_path, content, image="a.jpg", suffix=""):
  is_text = isinstance(content, str)
  path = tmp_path / ("x" + (suffix or (".csv" if is_text else ".json")))
  path.write_text(content if is_text else json.dumps(content))
  return keypoint_files.read(path, image)


@pytest.mark.parametrize(
  "content, image",
  [
    (COCO, "a.jpg"),
    (PLAIN, "a.jpg"),
    ({"keypoints": PLAIN}, "a.jpg"),
    (DEEPLABCUT, "folder/a.jpg"),
    (DEEPLABCUT_3, "a.jpg"),
    (PREDICTED, "img0012.png"),
    (SLEAP, "clip_12.png"),
  ],
)
def test_every_format_says_the_same(content, image, tmp_path):
  (found,) = _read(tmp_path, content, image)
  assert found.keypoints == POINTS


def test_what_else_the_formats_carry(tmp_path):
  (coco,), (labelme,) = _read(tmp_path, COCO), _read(tmp_path, LABELME)
  assert coco.box == (1, 2, 30, 20) and coco.size == (40, 30)
  assert coco.skeleton == (("nose", "tail, base"),)
  # Half a pixel: LabelMe counts from corners.
  assert labelme.keypoints == {"nose": (10.0, 20.0), "tail, base": (3.5, 4.0)}
  assert labelme.box == (1, 2, 30, 20) and labelme.size == (40, 30)
  more = {"box": [1, 2, 3, 4], "skeleton": [["nose", "left eye"]]}
  (plain,) = _read(tmp_path, {"keypoints": PLAIN, **more})
  assert plain.box == (1, 2, 3, 4) and plain.skeleton == (("nose", "left eye"),)


def test_an_image_may_show_several_objects(tmp_path):
  assert len(_read(tmp_path, COCO, "b.jpg")) == 2


@pytest.mark.parametrize(
  "content, image, message",
  [
    (COCO, "d.jpg", "nothing for 'd.jpg'; it has 3: 'sub/a.jpg', 'b.jpg', 'c.jpg'"),
    (COCO, "c.jpg", "image 'c.jpg' has no annotation"),
    (DEEPLABCUT, "d.jpg", "has nothing for 'd.jpg'"),
    ({"nose": [1]}, "a.jpg", r"'nose' is \[1\], expected \[x, y\] or null"),
    ({"nose": "left"}, "a.jpg", "'nose' is 'left'"),
    ([1, 2], "a.jpg", "JSON of no known format: a list of 2"),
    ({"keypoints": PLAIN, "box": [1]}, "a.jpg", r"box is \[1\]"),
    ({"keypoints": PLAIN, "skeleton": [["nose", "tip"]]}, "a.jpg", "skeleton holds"),
    ({**LABELME, "shapes": LABELME["shapes"][:1] * 2}, "a.jpg", "'nose' occurs twice"),
    ("a,b\n1,2\n", "a.jpg", "columns like nose.x"),
    ("", "a.jpg", "the file is empty"),
    (PREDICTED.replace("20,", "?,"), "12.png", "'nose' is .*, expected numbers"),
  ],
)  # fmt: skip
def test_faults_are_told(content, image, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    _read(tmp_path, content, image)


def test_files_that_are_none_of_these(tmp_path):
  with pytest.raises(ValueError, match="not valid JSON"):
    _read(tmp_path, "{", suffix=".json")
  with pytest.raises(ValueError, match="not an HDF5 file"):
    _read(tmp_path, "x", suffix=".h5")
  with pytest.raises(ValueError, match="expected .* a file .json, .csv, .h5, "):
    _read(tmp_path, "x", suffix=".txt")
  with pytest.raises(FileNotFoundError, match="there is no keypoint file"):
    keypoint_files.read(tmp_path / "none.json", "a.jpg")


def test_a_project_as_a_folder(tmp_path):
  clip = tmp_path / "labeled-data" / "clip"
  clip.mkdir(parents=True)
  (clip / "CollectedData_me.csv").write_text(DEEPLABCUT)
  (found,) = keypoint_files.read(tmp_path, clip / "a.jpg", shared=True)
  assert found.keypoints == {
    "nose": (10, 20), "left eye": None, "tail, base": (3.5, 4),
  }  # fmt: skip
