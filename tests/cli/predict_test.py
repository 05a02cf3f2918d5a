"""What `fskd predict` leaves, whatever happens; a detector of random numbers."""

import csv
import dataclasses
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.predictions import of_points
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.data.labels import formats
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.prediction import folders, keypoint_files, pictures, rows, session, videos
from fskd_jax.prediction.supports import Support

NAMES = ("nose", "left eye", "tail, base", "never shown")
SIZE = (40, 30)
TARGETS = {
  "coco": "coco.json",
  "deeplabcut": "CollectedData_me.csv",
  "deeplabcut-h5": "CollectedData_me.h5",
  "lightning-pose": "lp.csv",
  "sleap": "analysis.h5",
  "labelme": "labelme",
  "label-studio": "tasks.json",
  "cvat": "cvat.xml",
}


FITTED = Calibration(
  mass_slope=1.0, peak_slope=0.0, offset=0.0, covariance_scale=1.0, split="validation",
  shots=1, keypoints=100, step=1,
)  # fmt: skip


class Detector:
  """Guesses, also beyond the edges; as sure as it is told."""

  def __init__(self, least=0.0, most=1.0, calibration=FITTED, pause=0.0):
    self.calibration, self._range, self._pause = calibration, (least, most), pause
    self._rng = np.random.default_rng(0)
    self.boxes = []

  def support(self, images, keypoints, boxes):
    shown = np.array([name != "never shown" for name in NAMES])
    return Support(NAMES, shown, np.zeros((1, len(NAMES), 2)), (), None)

  def predict(self, support, images, boxes, objects=1):
    time.sleep(self._pause)
    shape = (len(images), len(NAMES))
    points = self._rng.uniform(-20, 60, (*shape, 2))
    confidence = self._rng.uniform(*self._range, shape)
    points[:, ~support.shown], confidence[:, ~support.shown] = np.nan, 0
    self.boxes += [
      box for entry in boxes for box in ([None] if entry is None else entry)
    ]
    return of_points(points, confidence, NAMES)

  def locate(self, support, images, boxes, labels, objects=1):
    return rows.placed([(0, 0, *SIZE)], [SIZE], labels, None)

  def detect(self, support, images, rows):
    return self.predict(support, images, [None]), np.ones(1)


@pytest.fixture
def folder(tmp_path):
  """Two folders with images of the same names, and a marked one."""
  for number, place in enumerate(("a/img1.png", "a/img2.png", "b/img1.png", "s.png")):
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", SIZE, (60 * number, 90, 120)).save(path)
  marks = {name: [5 + 3 * i, 9] for i, name in enumerate(NAMES)}
  (tmp_path / "s.json").write_text(json.dumps({**marks, "never shown": None}))
  return tmp_path


def command(folder, *queries, out="out", more=()):
  paths = [str(folder / query) for query in queries]
  return [
    *("predict", "--weights", "x", "--support", str(folder / "s.png"), "--keypoints"),
    *(str(folder / "s.json"), "--query", *paths, "--out", str(folder / out), *more),
  ]


@pytest.fixture
def run(folder, monkeypatch):
  """Runs the command with a detector."""

  def run(*queries, detector=None, out="out", more=()):
    monkeypatch.setattr(folders, "load", lambda _: detector or Detector())
    return main.main(command(folder, *queries, out=out, more=more))

  return run


def rows_of(out):
  with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def points_of(path):
  """Returns {image: [(name, x, y, confidence)]} of any file of labels."""
  return {
    str(image.name): [
      (name, round(p.x, 3), round(p.y, 3), p.confidence and round(p.confidence, 3))
      for found in image.objects
      for name, p in found.keypoints.items()
    ]
    for image in formats.read(path).images
  }


def video(path, count=20):
  av = pytest.importorskip("av", reason="videos need PyAV")
  rng = np.random.default_rng(0)
  with av.open(str(path), "w") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width, stream.height = SIZE
    for _ in range(count):
      noise = rng.integers(0, 255, (*SIZE[::-1], 3), np.uint8)
      container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
    container.mux(stream.encode())


def test_the_threshold_marks_and_drops_nothing(run, folder):
  found = []
  for least in ("0", "0.6", "1"):
    assert run("a", "b", out=least, more=["--min-confidence", least]) == 0
    content = json.loads((folder / least / "predictions.json").read_text())
    triples = np.reshape([a["keypoints"] for a in content["annotations"]], (3, 4, 3))
    confidences = np.array([a["confidences"] for a in content["annotations"]], object)
    assert (confidences[:, 3] == None).all()  # noqa: E711
    sure = confidences[:, :3].astype(float)
    np.testing.assert_array_equal(triples[:, :3, 2], 2 * (sure >= float(least)))
    assert not triples[:, 3].any()
    found.append((triples[..., :2], sure, (folder / least / "predictions.csv")))
  for places, sure, table in found[1:]:
    np.testing.assert_array_equal(places, found[0][0])
    np.testing.assert_array_equal(sure, found[0][1])
    assert table.read_bytes() == found[0][2].read_bytes()


def test_both_files_say_the_same_of_every_image_inside_it(run, folder):
  assert run("a", "b", "a/img1.png") == 0  # each once
  table, coco = (
    points_of(folder / "out" / f"predictions.{s}") for s in ("csv", "json")
  )
  assert table == coco and [*table] == ["a/img1.png", "a/img2.png", "b/img1.png"]
  assert all(row["never shown.x"] == "" for row in rows_of(folder / "out"))
  every = np.array([point[1:3] for points in table.values() for point in points])
  assert len(every) == 9
  assert (every >= 0).all() and (every <= np.array(SIZE) - 1).all()
  assert (every == 0).any() or (every == np.array(SIZE) - 1).any()


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("suffix", ["csv", "json"])
def test_every_format_takes_what_was_written(suffix, target, run, folder, capsys):
  assert run("a") == 0
  source, out = folder / "out" / f"predictions.{suffix}", folder / TARGETS[target]
  capsys.readouterr()
  convert = ["data", "convert", str(source), "--out", str(out), "--to", target]
  assert main.main(convert) == 0
  told = capsys.readouterr().out
  before, after = points_of(source), points_of(out)
  every = [point for points in before.values() for point in points]
  kept = [p for p in every if p[3] >= 0.5]
  assert 0 < len(kept) < len(every) == 6
  found = [point for points in after.values() for point in points]
  if "confidence" in formats.FORMATS[target].keeps:
    assert sorted(found) == sorted(every)
    assert f"kept, but no labels: {len(every) - len(kept)} keypoints" in told
  else:
    np.testing.assert_allclose(
      sorted(p[1:3] for p in found), sorted(p[1:3] for p in kept), atol=2e-3
    )
    assert f"left out: {len(every) - len(kept)} keypoints that a machine" in told
    assert f"{len(kept)} confidences" in told
  if target != "coco":  # the road goes on
    back = ["data", "convert", str(out), "--out", str(folder / "back.json")]
    assert main.main([*back, "--images", str(folder / "a")]) == 0
    assert len(json.loads((folder / "back.json").read_text())["images"]) == 2


def test_the_least_likelihood_of_labels_is_the_users(run, folder, capsys):
  assert run("a") == 0
  source, images = folder / "out" / "predictions.csv", []
  sure = sorted(p[3] for points in points_of(source).values() for p in points)
  for number, least in enumerate(["0", "1", str((sure[1] + sure[2]) / 2)]):
    out = folder / f"{number}.json"
    more = ["--out", str(out), "--min-likelihood", least]
    assert main.main(["data", "convert", str(source), *more]) == 0
    entries = json.loads(out.read_text())["annotations"]
    seen = np.reshape([e["keypoints"] for e in entries], (2, 4, 3))[..., 2]
    images.append(int((seen == 2).sum()))
  assert images == [6, 0, 4]
  with pytest.raises(SystemExit, match="2"):
    main.main(["data", "convert", str(source), *more[:2], "--min-likelihood", "50"])
  assert "expected a probability" in capsys.readouterr().err


def test_what_a_machine_doubts_is_no_support(run, folder, caplog):
  assert run("a") == 0
  for suffix in ("csv", "json"):
    path = folder / "out" / f"predictions.{suffix}"
    (marked,) = keypoint_files.read(path, "img1.png")
    sure = {name: c for name, _, _, c in points_of(path)["img1.png"]}
    for name, point in marked.keypoints.items():
      assert (point is not None) == (sure.get(name, 0) >= 0.5)
    assert "with a confidence below 0.5" in caplog.text
    caplog.clear()


ODD = {
  "a newline": b"z\nline.png",
  "Latin-1": b"z\xe9.png",
  "253 letters": b"z" * 249 + b".png",
  "an escape": b"z\x1b[31m.png",
  "many bytes": ("é" * 120 + ".png").encode(),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_file_name_costs_nothing(kind, run, folder, capsys):
  odd = os.path.join(os.fsencode(folder / "a"), ODD[kind])
  try:
    pathlib.Path(os.fsdecode(odd)).write_bytes((folder / "s.png").read_bytes())
  except OSError:
    pytest.skip("the file system refuses such a name")
  assert run("a") == 0
  assert capsys.readouterr().err == ""
  assert len(rows_of(folder / "out")) == 3
  table, coco = (
    points_of(folder / "out" / f"predictions.{s}") for s in ("csv", "json")
  )
  assert table == coco and len(table) == 3
  assert len([*(folder / "out" / "overlays").iterdir()]) == 3
  assert (
    main.main(
      ["data", "convert", str(folder / "out" / "predictions.csv"), "--to", "cvat"]
      + ["--out", str(folder / "x.xml")]
    )
    == 0
  )
  assert points_of(folder / "x.xml").keys() == table.keys()


def test_odd_names_of_keypoints_cost_nothing(run, folder, monkeypatch):
  odd = ("a.x", 'say "b", c', "尾 ", "never shown")
  monkeypatch.setattr(sys.modules[__name__], "NAMES", odd)
  (folder / "s.json").write_text(json.dumps(dict.fromkeys(odd, [3, 4])))
  assert run("a") == 0
  table, coco = (
    points_of(folder / "out" / f"predictions.{s}") for s in ("csv", "json")
  )
  assert table == coco and len(table) == 2
  assert len([*(folder / "out" / "overlays").iterdir()]) == 2


def test_pictures_never_stop_results(run, folder, monkeypatch, capsys):
  def fail(*_, **__):
    raise RuntimeError("raqm_layout() failed")

  for name in ("draw_prediction", "draw_contact_sheet"):
    monkeypatch.setattr(pictures, name, fail)
  assert run("a") == 1
  said = capsys.readouterr()
  assert "no picture: img1.png: RuntimeError: raqm_layout() failed" in said.err
  assert "2 of 2 queries predicted" in said.out
  assert len(rows_of(folder / "out")) == 2


@pytest.mark.parametrize("value", ["50", "nan", "-0.1", "half"])
def test_a_confidence_is_a_probability(value, run, folder, capsys):
  with pytest.raises(SystemExit, match="2"):
    run("a", more=["--min-confidence", value])
  assert f"'{value}': expected a probability, 0 to 1" in capsys.readouterr().err
  assert not (folder / "out").exists()


BOXES = {
  "typo": ({"img3.png": [0, 0, 9, 9]}, "'img3.png' is the name of 0 of the 3 queries"),
  "ambiguous": ({"img1.png": [0, 0, 9, 9]}, "is the name of 2 of the 3 queries; exp"),
  "twice": ({"img2.png": [0, 0, 9, 9], "a/img2.png": [0, 0, 9, 9]}, "two boxes for"),
  "short": ({"img2.png": [0, 0, 9]}, "'img2.png' is [0, 0, 9], expected"),
  "huge": ({"img2.png": [0, 0, 9, 10**400]}, "'img2.png' is [0, 0, 9, "),
  "a list": ([1], "entry 0 is 1, expected"),
  "too many": (
    {"img2.png": [[0, 0, 9, 9]] * 2},
    "2 boxes for 'img2.png', but 1 object",
  ),
}


@pytest.mark.parametrize("name", BOXES)
def test_boxes_belong_to_queries(name, run, folder, capsys):
  content, message = BOXES[name]
  (folder / "boxes.json").write_text(json.dumps(content))
  assert run("a", "b", more=["--boxes", str(folder / "boxes.json")]) == 2
  assert message in capsys.readouterr().err
  assert not (folder / "out").exists()


def test_boxes_are_found_by_name_or_path_and_fail_alone(run, folder, capsys):
  boxes = {
    "b/img1.png": [1, 2, 9, 9],
    str(folder / "a" / "img1.png"): [3, 4, 9, 9],
    "img2.png": [100, 100, 9, 9],
  }
  (folder / "boxes.json").write_text(json.dumps(boxes))
  detector = Detector()
  more = ["--boxes", str(folder / "boxes.json")]
  assert run("a", "b", detector=detector, more=more) == 1
  assert detector.boxes == [(3, 4, 9, 9), (1, 2, 9, 9)]
  assert "img2.png: box (100.0, 100.0, 9.0, 9.0) is empty or outside" in (
    capsys.readouterr().err
  )
  assert [row["image"] for row in rows_of(folder / "out")] == [
    "a/img1.png",
    "b/img1.png",
  ]


def test_results_of_an_earlier_run_are_kept_apart(run, folder, capsys):
  assert run("a") == 0
  before = {p: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}
  assert run("b") == 2
  assert "holds the results of an earlier run (predictions.csv" in (
    capsys.readouterr().err
  )
  assert before == {
    p: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()
  }
  (folder / "mine").mkdir()
  (folder / "mine" / "notes.txt").write_text("mine")
  assert run("b", out="mine") == 0


def test_the_bar_counts_what_is_written(run, folder, monkeypatch):
  seen = []

  class Bar(session.tqdm):
    def update(self, n=1):
      super().update(n)
      self.n = self.n if self.disable is False else self.n + n
      seen.append((self.n, len(rows_of(folder / "out"))))

  monkeypatch.setattr(session, "tqdm", Bar)
  for number in range(20):
    Image.new("RGB", SIZE).save(folder / "a" / f"x{number}.png")
  (folder / "a" / "broken.png").write_text("no image")
  assert run("a") == 1
  assert seen[-1] == (23, 22)
  assert all(rows in (count, count - 1) for count, rows in seen)


@pytest.mark.parametrize(
  "least, most, calibration, unlike",
  [(0.0, 0.29, FITTED, True), (0.31, 1, FITTED, False), (0.0, 0.29, None, False)],
)
def test_the_last_line_counts_and_warns(
  least, most, calibration, unlike, run, folder, capsys
):
  assert run("a", detector=Detector(least, most, calibration)) == 0
  *_, last = capsys.readouterr().out.splitlines()
  rows = rows_of(folder / "out")
  sure = [float(row[f"{n}.confidence"]) for row in rows for n in NAMES[:3]]
  above = sum(value >= 0.5 for value in sure)
  nothing = ", nothing found in 2 of 2 images" * (not above)
  assert f"2 of 2 queries predicted{nothing}, {above} of 6 keypoints above 0.5" in last
  assert f"(median confidence {np.median(sure):.2f})" in last
  assert ("unlike those that the detector was trained on" in last) == unlike


def test_a_detector_of_many_data_sets_says_once_what_its_confidence_is(
  run, folder, capsys
):
  of_many = dataclasses.replace(FITTED, sources=("creatures", "lips"))
  assert run("a", detector=Detector(0.5, 1.0, of_many)) == 0
  said = "Confidence was fitted on creatures, lips; of other kinds of things it is"
  assert capsys.readouterr().out.count(said) == 1
  about = json.loads((folder / "out" / "predictions.json").read_text())["info"]
  assert about["description"].startswith(said)


def test_an_interrupted_run_closes_its_files(run, folder):
  class Interrupted(Detector):
    calls = itertools.count()

    def predict(self, *args, **options):
      if next(self.calls):
        raise KeyboardInterrupt
      return super().predict(*args, **options)

  for number in range(20):
    Image.new("RGB", SIZE).save(folder / "a" / f"x{number}.png")
  with pytest.raises(KeyboardInterrupt):
    run("a", detector=Interrupted())
  table, coco = (
    points_of(folder / "out" / f"predictions.{s}") for s in ("csv", "json")
  )
  assert table == coco and len(table) == 8


KILLED = """
import sys
sys.path[:0] = sys.argv[1:3]
import predict_test
from fskd_jax.cli import main
from fskd_jax.prediction import folders
folders.load = lambda _: predict_test.Detector(pause=0.3)
main.main(sys.argv[3:])
"""


@pytest.mark.slow
def test_a_killed_run_leaves_readable_rows(folder):
  for number in range(200):
    Image.new("RGB", SIZE).save(folder / "a" / f"x{number}.png")
  here, helpers = map(str, pathlib.Path(__file__).parents[:2])
  process = subprocess.Popen(
    [sys.executable, "-c", KILLED, here, helpers, *command(folder, "a")],
    stderr=subprocess.DEVNULL,
  )
  table = folder / "out" / "predictions.csv"
  while process.poll() is None:
    if table.exists() and table.read_bytes().count(b"\n") > 20:
      break
    time.sleep(0.05)
  process.send_signal(signal.SIGKILL)
  assert process.wait() == -signal.SIGKILL
  rows = rows_of(folder / "out")
  assert 20 <= len(rows) < 202
  assert all(row["tail, base.confidence"] for row in rows)
  out = folder / "coco.json"
  assert main.main(["data", "convert", str(table), "--out", str(out)]) == 0
  assert len(json.loads(out.read_text())["images"]) == len(rows)


def test_frames_belong_to_their_video(run, folder, capsys):
  for place in ("a/clip.avi", "b/clip.avi"):
    video(folder / place, 5)
  assert run("a/clip.avi", "b/clip.avi", "s.png") == 0
  assert capsys.readouterr().err == ""
  table, coco = (
    points_of(folder / "out" / f"predictions.{s}") for s in ("csv", "json")
  )
  assert table == coco and len(table) == 11
  assert [*table][:2] == ["s.png", "a/clip.avi/000000.png"]
  images = json.loads((folder / "out" / "predictions.json").read_text())["images"]
  assert images[-1]["video"] == "b/clip.avi" and images[-1]["frame"] == 4
  rows = [(row["image"], row["frame"]) for row in rows_of(folder / "out")]
  assert rows[-1] == ("b/clip.avi", "4") and rows[0] == ("s.png", "")


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_a_cut_video_is_told_and_its_frames_are_kept(suffix, run, folder, capsys):
  path = folder / f"clip.{suffix}"
  video(path)
  assert run(path.name, out="whole") == 0
  path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
  assert run(path.name) == 1
  said = capsys.readouterr()
  count = len(rows_of(folder / "out"))
  assert 0 < count < 20 and len(rows_of(folder / "whole")) == 20
  assert f"predicted in part: {path}: {count} of 20 frames are there" in said.err
  assert "1 of 1 queries predicted" in said.out
  with videos.reading(folder / "out" / "0001_clip.mp4") as drawn:
    assert len([*drawn.frames]) == count
