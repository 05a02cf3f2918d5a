"""Labels belong to paths: equal file names in two folders never share labels."""

import itertools
import json
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import formats, paths, row_names
from fskd_jax.prediction import box_files, inputs, keypoint_files

DEEPLABCUT = """scorer,,,me,me
bodyparts,,,nose,nose
coords,,,x,y
labeled-data,clip1,img001.png,10,20
labeled-data,clip2,img001.png,30,5
"""


def _coco(*names):
  """Returns a file whose n-th image has its nose at (n + 1, 2)."""
  return json.dumps(
    {
      "images": [
        {"id": i, "file_name": name, "width": 40, "height": 30}
        for i, name in enumerate(names)
      ],
      "categories": [{"id": 1, "name": "cat", "keypoints": ["nose"]}],
      "annotations": [
        {
          "id": i,
          "image_id": i,
          "category_id": 1,
          "bbox": [0, 0, 20, 20],
          "keypoints": [i + 1, 2, 2],
        }
        for i in range(len(names))
      ],
    }
  )


def _write(path, text):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  return path


def _image(path, color):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", (40, 30), color).save(path)
  return path


def _nose(file, image, **more):
  (found,) = keypoint_files.read(file, image, **more)
  return found.keypoints["nose"]


@pytest.fixture
def clips(tmp_path):
  """Two clips with different images of one name."""
  folders = [tmp_path / "labeled-data" / name for name in ("clip1", "clip2")]
  return [_image(f / "img001.png", i) for i, f in enumerate(folders)]


@pytest.mark.parametrize(
  "name, content",
  [
    ("l.csv", DEEPLABCUT),
    ("l.csv", DEEPLABCUT.replace("labeled-data,clip", "x\\\\labeled-data,clip")),
    ("l.json", _coco("clip1/img001.png", "clip2/img001.png")),
  ],
)
def test_each_image_gets_the_labels_of_its_folder(
  name, content, clips, tmp_path, monkeypatch
):
  file = _write(tmp_path / name, content)
  expected = [point.keypoints["nose"][:2] for i in formats.read(file).images
              for point in i.objects]  # fmt: skip
  assert expected[0] != expected[1]
  assert [_nose(file, clip) for clip in clips] == expected
  both = inputs.read_supports(clips, [file])
  assert [x.marked.keypoints["nose"] for x in both] == expected
  monkeypatch.chdir(clips[1].parent)
  assert _nose(pathlib.Path(f"../../{name}"), "img001.png") == expected[1]
  # and through the converter, whatever folder holds the images
  for number, images in enumerate((tmp_path, tmp_path / "labeled-data")):
    out = tmp_path / f"out{number}.json"
    arguments = [str(file), "--images", str(images), "--out", str(out)]
    assert main.main(["data", "convert", *arguments]) == 0
    assert [_nose(out, clip) for clip in clips] == expected


def test_what_may_be_two_images_is_refused_by_both_names(clips, tmp_path, capsys):
  file = _write(tmp_path / "l.json", _coco("img001.png"))
  arguments = [str(file), "--images", str(tmp_path), "--out", str(tmp_path / "o.json")]
  assert main.main(["data", "convert", *arguments]) == 2
  told = capsys.readouterr().err
  assert "clip1/img001.png" in told and "clip2/img001.png" in told
  file = _write(tmp_path / "m.json", _coco("a/img001.png", "b/img001.png"))
  with pytest.raises(ValueError, match=r"may be 'a/img001.png' or 'b/img001.png'"):
    keypoint_files.read(file, clips[0])


def test_labels_of_another_picture_are_refused(clips, tmp_path):
  for name in ("img001.png", "clip1/img001.png"):
    file = _write(clips[0].parent / "l.json", _coco("img001.png"))
    if "/" in name:
      file = _write(tmp_path / "l.json", _coco(name))
    assert _nose(file, clips[0]) == (1, 2)
    with pytest.raises(ValueError, match="another picture"):
      keypoint_files.read(file, clips[1])
    copy = tmp_path / "elsewhere" / "img001.png"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(clips[0].read_bytes())
    assert _nose(file, copy) == (1, 2)


def test_a_file_for_several_images_must_name_each(clips, tmp_path, caplog):
  file = _write(tmp_path / "l.json", _coco("clip1/other.png"))
  assert _nose(file, clips[0]) == (1, 2)
  assert "clip1/other.png are taken for" in caplog.text
  with pytest.raises(ValueError, match="has nothing for"):
    inputs.read_supports(clips, [file])


def test_boxes_go_by_as_much_of_the_path_as_is_needed(clips, tmp_path):
  queries = inputs.gather_queries([tmp_path / "labeled-data" / "*" / "*.png"])
  for name in ("clip2/img001.png", "labeled-data/clip2/img001.png", str(clips[1])):
    file = _write(tmp_path / "b.json", json.dumps({name: [1, 2, 3, 4]}))
    assert box_files.read(file, queries, 1) == {clips[1]: [(1, 2, 3, 4)]}
  for name in ("img001.png", "clip3/img001.png"):
    file = _write(tmp_path / "b.json", json.dumps({name: [1, 2, 3, 4]}))
    with pytest.raises(ValueError, match="clip1/img001.png"):
      box_files.read(file, queries, 1)


def test_files_of_equal_names_in_several_sources_stay_apart(clips, tmp_path):
  files = [_write(clip.parent / "l.json", _coco("img001.png")) for clip in clips]
  content = json.loads(_coco("img001.png"))
  content["annotations"][0]["keypoints"] = [9, 9, 2]
  files[1].write_text(json.dumps(content))
  out = tmp_path / "out.json"
  arguments = [*map(str, files), "--images", str(tmp_path), "--out", str(out)]
  assert main.main(["data", "convert", *arguments]) == 0
  assert [_nose(out, clip) for clip in clips] == [(1, 2), (9, 9)]


def test_labels_of_projects_name_their_folders_once(tmp_path):
  files = []
  for project in ("a", "b"):
    folder = tmp_path / project / "labeled-data" / "clip1"
    files.append(_write(folder / "CollectedData.csv", DEEPLABCUT))
  told = formats.read_all(files)
  assert [image.name for image in told.images] == [
    f"{project}/labeled-data/{clip}/img001.png"
    for project in ("a", "b")
    for clip in ("clip1", "clip2")
  ]


def test_a_renamed_folder_is_found_and_told_but_no_other_label_is_taken():
  names = ["labeled-data/old/1.png", "labeled-data/old/2.png"]
  found = paths.match(names, ["new/1.png", "new/2.png"])
  assert found.files == ("new/1.png", "new/2.png") and len(found.guesses) == 2
  # the folder belongs to other labels
  names = ["old/1.png", "new/1.png", "old/3.png"]
  found = paths.match(names, ["new/1.png", "new/2.png", "new/3.png"])
  assert found.files == (None, "new/1.png", None) and not found.guesses
  # an image that was removed, and its mask
  assert paths.match(["1.png", "2.png"], ["1.png", "masks/2.png"]).files == (
    "1.png",
    None,
  )
  assert paths.match(["00112233-a.png"], ["b/a.png"]).files == ("b/a.png",)


_PATH = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.lists(_PATH, unique=True, max_size=5), st.lists(_PATH, unique=True))
def test_names_share_no_file_unless_both_may_be_it(names, files):
  """Compared with all pairs: the longest end, and no file for two sure names."""
  try:
    found = paths.match(names, files).files
  except ValueError:
    return
  for name, file in zip(names, found):
    if name in files:
      assert file == name
    elif file is not None:
      assert _common(name, file) == max(_common(name, other) for other in files)
  for (a, of_a), (b, of_b) in itertools.combinations(zip(names, found), 2):
    if of_a is not None and of_a == of_b:
      assert _common(a, of_a) == _common(b, of_b)
      assert all(_is_end(name, of_a) for name in (a, b))


def _common(a, b):
  pairs = zip(a.split("/")[::-1], b.split("/")[::-1])
  return len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))


def _is_end(a, b):
  return f"/{a}".endswith(f"/{b}") or f"/{b}".endswith(f"/{a}")


def test_videos_are_known_by_file_and_frame(tmp_path):
  text = "image,frame,nose.x,nose.y,nose.confidence\na.mp4,0,1,2,.9\nb.mp4,0,5,6,.9\n"
  file = _write(tmp_path / "predictions.csv", text)
  assert [image.name for image in formats.read(file).images] == [
    "a.mp4/000000.png",
    "b.mp4/000000.png",
  ]
  frames = [
    _image(tmp_path / v / "000000.png", i) for i, v in enumerate(("b.mp4", "x"))
  ]
  assert _nose(file, frames[0]) == (5, 6)
  with pytest.raises(ValueError, match="a.mp4/000000.png' or 'b.mp4/000000.png"):
    keypoint_files.read(file, frames[1])


def test_the_number_of_a_frame_is_told_or_refused(tmp_path):
  assert row_names.frame_numbers("frame_000012.png") == (12,)
  assert row_names.frame_numbers("20240105_012.png") == (12,)
  assert row_names.frame_numbers("cam1_000012_left2.png") == (2, 12)
  names = [f"cam1_{i:06d}_left2.png" for i in (12, 13)]
  assert row_names.frames_of(names) == [12, 13]
  rows = "".join(f"{i},{i},{i}\n" for i in range(20))
  header = "scorer,me,me\nbodyparts,nose,nose\ncoords,x,y\n"
  file = _write(tmp_path / "l.csv", header + rows)
  assert _nose(file, "clip/img0007.png") == (7, 7)
  with pytest.raises(ValueError, match="may be 2 or 12"):
    keypoint_files.read(file, "cam1_000012_left2.png")
