"""Which frames are suggested, and that tools read back what is written."""

import json
import pathlib

import numpy as np
import pytest
from helpers import shapes
from PIL import Image

from fskd_jax.data.annotations import read_coco
from fskd_jax.data.labels import formats
from fskd_jax.own_labels import suggesting, suggestion_files
from fskd_jax.own_labels.suggestion_files import Suggestion
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.results import Prediction


def _at(*degrees):
  angles = np.deg2rad(degrees)
  return np.stack([np.cos(angles), np.sin(angles)], -1)


def test_the_least_sure_of_the_frames_that_differ_most_are_chosen_first():
  features, labelled = _at(0, 3, 40, 50, 85, 90), _at(0)
  sure = np.array([0.0, 0.0, 0.1, 0.8, 0.7, 0.9])
  chosen = suggesting.choose(sure, features, labelled, 2)
  # Of 50, 85 and 90 degrees it is 85; then 40 is farther away than the others.
  assert [frame for frame, _ in chosen] == [4, 2]
  assert chosen[0][1] == pytest.approx(2 * np.sin(np.deg2rad(42.5)))
  assert chosen[1][1] == pytest.approx(2 * np.sin(np.deg2rad(20)))
  every = suggesting.choose(sure, _at(0, 0, 0, 0, 90, 90), labelled, 5)
  assert len(every) == 1  # the others are copies


def test_evenly_keeps_both_ends():
  assert suggesting.evenly([*range(10)], 4) == [0, 3, 6, 9]
  assert suggesting.evenly("ab", 4) == ["a", "b"]


@pytest.mark.parametrize("name", suggestion_files.TOOLS)
def test_tools_read_the_predicted_points_back(name, tmp_path):
  if name == "sleap.slp":
    pytest.importorskip("sleap_io", reason="SLEAP's files need the extra `sleap`")
  dataset = read_coco(shapes.write_folder(tmp_path / "labels", images_per_species=1))
  count = len(dataset.keypoint_names)
  points = np.random.default_rng(0).uniform(5, 40, (count, 2)).round(1)
  found = Prediction(
    np.zeros(1, int), np.array([[0, 0, 60, 48.0]]), points[None],
    np.full((1, count), 0.3), np.ones((1, count, 2, 2)), dataset.keypoint_names,
  )  # fmt: skip
  path = tmp_path / "labels" / "images" / "001.png"
  frame = Suggestion(Query(path, "images/001.png"), shapes.SIZE, found, 0.3, 1.0)
  out = tmp_path / "out"
  out.mkdir()
  suggestion_files.write([frame], dataset, out)
  assert {p.name for p in out.iterdir()} <= {*suggestion_files.NAMES}
  file = out / name
  if name == "deeplabcut":  # for refinement, beside what persons placed
    (file,) = file.rglob("machinelabels-iter0.csv")
  read = formats.read(file)
  (image,) = read.images
  assert pathlib.PurePosixPath(str(image.name)).name == "001.png"
  got = image.objects[0].keypoints
  for point, key in zip(points, dataset.keypoint_names):
    np.testing.assert_allclose((got[key].x, got[key].y), point, atol=0.02)


class _Detector:
  """Guesses at the middle of the boxes that it is given."""

  calibration = None

  def support(self, images, keypoints, boxes, names):
    self.names = names
    return None

  def predict(self, support, images, boxes):
    box = np.array([boxes[0] or (0, 0, 60, 48)], float)
    n = len(self.names)
    points = np.repeat(box[:, None, :2] + box[:, None, 2:] / 2, n, 1)
    sure, spread = np.full((1, n), 0.4), np.ones((1, n, 2, 2))
    return Prediction(np.zeros(1, int), box, points, sure, spread, self.names)

  def features(self, images, boxes):
    return np.stack([[x, y, 1] / np.linalg.norm([x, y, 1]) for x, y, _, _ in boxes])


def test_what_is_labelled_or_cannot_be_read_is_not_suggested(
  tmp_path, monkeypatch, caplog
):
  labels = shapes.write_folder(tmp_path / "labels", images_per_species=1)
  monkeypatch.setattr(suggesting, "load", lambda path: _Detector())
  frames = tmp_path / "frames"
  for name in ("copy.png", "below/new.png", "broken.png", "clip.mp4"):
    (frames / name).parent.mkdir(parents=True, exist_ok=True)
    (frames / name).write_bytes((labels / "images" / "001.png").read_bytes())
  with pytest.raises(ValueError, match="all 1 are labelled"):
    suggesting.suggest(labels, [frames / "copy.png"], tmp_path / "none")
  Image.effect_noise((60, 48), 60).save(frames / "below" / "new.png")
  (frames / "broken.png").write_bytes(b"no image")
  (frames / "clip.mp4").write_bytes(b"no image either")
  found = suggesting.suggest(labels, [frames], tmp_path / "out")
  assert [x.query.name for x in found] == ["below/new.png"]
  assert "broken.png" in caplog.text and "clip.mp4 is a video" in caplog.text
  with pytest.raises(ValueError, match="none of 1"):
    suggesting.suggest(labels, [frames / "broken.png"], tmp_path / "no")


def test_boxes_that_are_given_are_looked_at(tmp_path, monkeypatch):
  labels = shapes.write_folder(tmp_path / "labels", images_per_species=1)
  monkeypatch.setattr(suggesting, "load", lambda path: _Detector())
  boxes = {"001.png": [9, 5, 20, 30], "002.png": [30, 2, 16, 8]}
  (tmp_path / "boxes.json").write_text(json.dumps(boxes))
  frames = [tmp_path / name for name in boxes]
  for frame in frames:
    Image.effect_noise((60, 48), 60).save(frame)
  found = suggesting.suggest(
    labels, frames, tmp_path / "out", boxes=tmp_path / "boxes.json"
  )
  looked_at = {x.query.path.name: x.found.box[0].tolist() for x in found}
  assert looked_at == boxes
