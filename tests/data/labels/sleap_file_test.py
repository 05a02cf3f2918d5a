"""Project files of SLEAP by sleap-io, the extra [sleap]."""

import importlib

import h5py
import numpy as np
import pytest
from helpers.label_formats import without_sleap_io
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import formats, kinds, schema, sleap_file
from fskd_jax.data.labels.schema import Keypoint

pytestmark = without_sleap_io

NODES = ["nose", "tail"]
POINTS = [[10.25, 20], [3, 4.5]]


@pytest.fixture
def sio():
  return importlib.import_module("sleap_io")


def _project(sio, videos, frames=(0,)):
  skeleton = sio.Skeleton([*NODES], edges=[("nose", "tail")])
  labelled = []
  for video in videos:
    for number in frames:
      person = sio.Instance.from_numpy(np.array(POINTS), skeleton=skeleton)
      labelled.append(
        sio.LabeledFrame(video=video, frame_idx=number, instances=[person])
      )
  return sio.Labels(labelled, videos=[*videos], skeletons=[skeleton])


def _places(labels):
  return [
    [{n: tuple(p[:2]) for n, p in o.keypoints.items()} for o in image.objects]
    for image in labels.images
  ]


def test_frames_of_one_video_are_numbers_and_of_several_are_paths(sio, tmp_path):
  videos = [sio.Video(f"C:\\a\\{v}.mp4", open_backend=False) for v in ("left", "right")]
  for number in (1, 2):
    path = tmp_path / f"{number}.slp"
    sio.save_slp(_project(sio, videos[:number], (0, 12)), str(path), verbose=False)
    labels = formats.read(path)
    expected = [0, 12] if number == 1 else [
      f"{v}/{i:06d}.png" for v in ("left", "right") for i in (0, 12)
    ]  # fmt: skip
    assert [image.name for image in labels.images] == expected
    assert _places(labels) == [[dict(zip(NODES, map(tuple, POINTS)))]] * 2 * number
    assert labels.categories[""] == schema.Category(
      ("nose", "tail"), (("nose", "tail"),)
    )
  assert kinds.of(path).name == "SLEAP project"


def test_persons_supersede_machines_and_invisible_points_are_missing(sio, tmp_path):
  project = _project(sio, [sio.Video("v.mp4", open_backend=False)])
  (frame,), (skeleton,) = project.labeled_frames, project.skeletons
  by_machine = [
    sio.PredictedInstance.from_numpy(
      np.array(POINTS) + i, point_scores=np.array([0.75, 0.25]), score=0.5,
      skeleton=skeleton,
    )
    for i in range(2)
  ]  # fmt: skip
  person = frame.instances[0]
  person.points["visible"][1] = False
  person.from_predicted = by_machine[0]
  frame.instances += by_machine
  path = tmp_path / "a.slp"
  sio.save_slp(project, str(path), verbose=False)
  one, other = formats.read(path).images[0].objects
  assert one.keypoints == {"nose": Keypoint(10.25, 20)}
  assert other.keypoints["nose"] == Keypoint(11.25, 21, confidence=0.75)
  assert other.keypoints["tail"] == Keypoint(4, 5.5, confidence=0.25)


def test_images_inside_a_package_are_written_beside_the_labels(sio, tmp_path):
  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (2, 30, 40, 3), np.uint8)
  for number, picture in enumerate(pixels):
    Image.fromarray(picture).save(tmp_path / f"{number}.png")
  files = [str(tmp_path / f"{number}.png") for number in range(2)]
  path, out = tmp_path / "a.pkg.slp", tmp_path / "set" / "annotations.json"
  out.parent.mkdir()
  project = _project(sio, [sio.Video.from_filename(files)], (0, 1))
  project.save(str(path), embed=True, verbose=False)
  assert main.main(["data", "convert", str(path), "--out", str(out)]) == 0
  found = sorted((out.parent / "images").rglob("*.png"))
  assert [file.name for file in found] == ["000000.png", "000001.png"]
  for file, picture in zip(found, pixels):
    np.testing.assert_array_equal(np.asarray(Image.open(file)), picture)
  again = ["data", "convert", str(path), "--out", str(tmp_path / "set" / "b.json")]
  assert main.main(again) == 2  # images/ is there
  assert main.main([*again, "--images", str(out.parent / "images")]) == 0


def test_sleap_opens_what_is_written(sio, tmp_path):
  sure = {"nose": Keypoint(1, 2, confidence=0.5), "tail": Keypoint(3, 4)}
  person = schema.LabelledObject({"nose": Keypoint(5.5, 6)}, "cat", (0, 0, 9, 9))
  machine = schema.LabelledObject(sure, "cat", (0, 0, 9, 9))
  images = tuple(
    schema.LabelledImage(f"clip/{i}.png", size, (person, machine))
    for i, size in enumerate([(40, 30), (40, 30), (20, 10)])
  )
  category = schema.Category(("nose", "tail"), (("nose", "tail"),))
  labels, path = schema.Labels(images, {"cat": category}), tmp_path / "a.slp"
  formats.FORMATS["slp"].write(labels, path, path)
  project = sio.load_slp(str(path), open_videos=False)
  assert [v.filename for v in project.videos] == [
    ["clip/0.png", "clip/1.png"],
    ["clip/2.png"],
  ]
  assert project.skeletons[0].edge_names == [("nose", "tail")]
  for frame in project.labeled_frames:
    (user,), (predicted,) = frame.user_instances, frame.predicted_instances
    np.testing.assert_array_equal(user.numpy(), [[5.5, 6], [np.nan, np.nan]])
    np.testing.assert_array_equal(predicted.numpy(), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(predicted.points["score"], [0.5, np.nan])
  assert _places(formats.read(path)) == _places(labels)


def test_files_that_declare_more_than_they_hold_are_refused(sio, tmp_path):
  path = tmp_path / "a.slp"
  video = sio.Video("v.mp4", open_backend=False)
  sio.save_slp(_project(sio, [video]), str(path), verbose=False)
  with h5py.File(path, "r+") as file:
    kind = file["points"].dtype
    del file["points"]
    file.create_dataset("points", (2**40,), kind, chunks=(1000,))
  with pytest.raises(ValueError, match=r"a\.slp: 'points' declares"):
    formats.read(path)
  with h5py.File(path, "r+") as file:
    del file["points"]
    file["points"] = h5py.ExternalLink("other.h5", "points")
  with pytest.raises(ValueError, match="link to another file"):
    formats.read(path)
  path.write_bytes(b"no HDF5")
  with pytest.raises(ValueError, match="not an HDF5 file"):
    formats.read(path)


def test_other_h5_files_of_sleap_io_are_recognised(sio, tmp_path):
  path = tmp_path / "labels.h5"
  video = sio.Video("v.mp4", open_backend=False)
  sio.save_slp(_project(sio, [video]), str(tmp_path / "a.slp"), verbose=False)
  (tmp_path / "a.slp").rename(path)
  assert kinds.of(path).name == "SLEAP project"
  assert _places(formats.read(path)) == [[dict(zip(NODES, map(tuple, POINTS)))]]


def test_without_sleap_io_the_message_names_two_ways(sio, tmp_path, monkeypatch):
  path = tmp_path / "a.slp"
  video = sio.Video("v.mp4", open_backend=False)
  sio.save_slp(_project(sio, [video]), str(path), verbose=False)

  def missing(name):
    raise ModuleNotFoundError(name)

  monkeypatch.setattr(sleap_file.importlib, "import_module", missing)
  with pytest.raises(ImportError, match=r"\.\[sleap\].*analysis HDF5"):
    formats.read(path)
