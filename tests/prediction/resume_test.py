"""A run that was killed goes on to the files of one without a break."""

import csv
import json

import numpy as np
import pytest
from helpers.blob_detector import NAMES, BlobDetector, frame
from PIL import Image

from fskd_jax.cli import main
from fskd_jax.prediction import folders
from fskd_jax.prediction.journal import JOURNAL, Journal

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Images, and a video at a variable rate in which two objects move."""
  av = pytest.importorskip("av", reason="videos need PyAV")
  root = tmp_path_factory.mktemp("clips")
  (root / "in").mkdir()
  for i in range(11):
    Image.fromarray(frame([(20 + 5 * i, 30)])).save(root / "in" / f"{i:02d}.png")
  with av.open(str(root / "in" / "clip.mp4"), "w") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width, stream.height = 120, 90
    time = 0
    for i in range(30):
      picture = frame([(15 + 2 * i, 25), (100 - 2 * i, 65)])
      drawn = av.VideoFrame.from_ndarray(picture, format="rgb24")
      drawn.pts, time = time, time + (1 if i % 3 else 2)
      container.mux(stream.encode(drawn))
    container.mux(stream.encode())
  marks = dict(zip(NAMES, [(12, 22), (28, 38), (20, 30)]))
  (root / "s.json").write_text(json.dumps(marks))
  return root


@pytest.fixture
def run(folder, monkeypatch):
  """Runs the command with a detector."""

  def run(out, *more, fail_at=None):
    detector = BlobDetector(fail_at)
    monkeypatch.setattr(folders, "load", lambda _: detector)
    command = ["predict", "--support", str(folder / "in" / "00.png"), "--keypoints"]
    command += [str(folder / "s.json"), "--query", str(folder / "in"), "--objects", "2"]
    status = main.main([*command, "--out", str(folder / out), "--smooth", *more])
    return status, detector

  return run


def content(folder):
  return {
    path.relative_to(folder): path.read_bytes()
    for path in folder.rglob("*")
    if path.is_file()
  }


@pytest.mark.parametrize("fail_at", [2, 5, 20])
def test_the_files_are_those_without_a_break(fail_at, run, folder):
  whole, broken = f"whole{fail_at}", f"broken{fail_at}"
  status, detector = run(whole)
  assert status == 0
  with pytest.raises(KeyboardInterrupt):
    run(broken, fail_at=fail_at)
  # A kill may cut the last line.
  journal = folder / broken / JOURNAL
  lines = journal.read_bytes()
  journal.write_bytes(lines[: -len(lines.splitlines()[-1]) // 2])
  status, rest = run(broken, "--resume")
  assert status == 0
  assert content(folder / broken) == content(folder / whole)
  assert {"smoothed.csv", "clips.json", "predictions.csv"} < {
    str(path) for path in content(folder / whole)
  }
  assert rest.looks <= detector.looks - fail_at + 3  # nothing is computed twice


def test_an_unfinished_run_is_not_written_over(run, folder, capsys):
  with pytest.raises(KeyboardInterrupt):
    run("begun", fail_at=5)
  before = content(folder / "begun")
  assert run("begun")[0] == 2
  assert "which did not end: go on with --resume" in capsys.readouterr().err
  assert run("begun", "--resume", "--objects", "3")[0] == 2
  assert "had objects = 2, now it is 3" in capsys.readouterr().err
  assert run("begun", "--resume", "--min-confidence", "0.9")[0] == 2
  assert "had thresholds" in capsys.readouterr().err  # pictures would be of both
  assert content(folder / "begun") == before
  assert run("begun", "--resume")[0] == 0
  assert run("begun", "--resume")[0] == 2
  assert "which ended: name another folder" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["Journal", "Pictures", "PredictionFiles"])
def test_a_run_killed_before_its_first_image_goes_on(part, tmp_path, monkeypatch):
  Image.fromarray(frame([(20, 30)])).save(tmp_path / "a.png")
  (tmp_path / "a.json").write_text(
    json.dumps(dict(zip(NAMES, [(12, 22), (28, 38), (20, 30)])))
  )
  image, out = tmp_path / "a.png", tmp_path / "out"
  monkeypatch.setattr(folders, "load", lambda _: BlobDetector())

  def predict():
    marks = [tmp_path / "a.json"]
    folders.predict_folder(None, [image], marks, [image], out, resume=True)

  def kill(*_):
    raise KeyboardInterrupt

  with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
    patched.setattr(folders, part, kill)
    predict()
  predict()
  assert (out / "predictions.json").exists() and not (out / JOURNAL).exists()


def test_numbers_come_back_bit_by_bit(tmp_path):
  rng = np.random.default_rng(0)
  step = {
    "points": rng.normal(0, 1e3, (3, 2)),
    "none": np.zeros((0, 4)),
    "missing": np.array([np.nan, 1e-320, -0.0]),
    "flags": np.array([True, False]),
    "numbers": np.arange(3),
  }
  first = Journal(tmp_path, {"a": (1, 2)})
  first.step("x", lambda: step)
  again = Journal(tmp_path, {"a": [1, 2]}).step("x", None)
  for key, array in step.items():
    assert again[key].dtype == array.dtype and again[key].shape == array.shape
    assert again[key].tobytes() == array.tobytes()
  with pytest.raises(ValueError, match="the next step was 'x', now it is 'y'"):
    Journal(tmp_path, {"a": [1, 2]}).step("y", None)


def test_the_report_and_the_smoothed_keypoints_tell_the_clip(run, folder):
  assert run("told")[0] == 0
  (report,) = json.loads((folder / "told" / "clips.json").read_text())
  assert report["video"] == "clip.mp4" and report["frames"] == 30
  assert [x["object"] for x in report["objects"]] == [1, 2]
  assert report["seconds"] == pytest.approx(0.1 * (29 + 10), abs=0.01)
  table = (folder / "told" / "smoothed.csv").read_text().splitlines()
  assert table[0].startswith("image,frame,time,object,north west.x")
  assert len(table) == 1 + sum(
    x["frames"] + sum(b - a + 1 for a, b in x["missing"]) for x in report["objects"]
  )


def test_some_frames_of_a_video_keep_their_numbers_and_times(run, folder, capsys):
  clip = str(folder / "in" / "clip.mp4")
  tables = {}
  for out, frames in (("all", "0:"), ("some", "6:25:3")):
    assert run(out, "--query", clip, "--frames", frames)[0] == 0
    with (folder / out / "predictions.csv").open() as file:
      tables[out] = {(row["frame"], row["object"]): row for row in csv.DictReader(file)}
  every, some = tables["all"], tables["some"]
  assert sorted(some) == [
    (str(n), k) for n in sorted(map(str, range(6, 25, 3))) for k in "12"
  ]
  for key, row in some.items():
    assert row["time"] == every[key]["time"]
    for name in ("north west.x", "north west.y"):
      assert float(row[name]) == pytest.approx(float(every[key][name]), abs=1)
  (report,) = json.loads((folder / "some" / "clips.json").read_text())
  assert report["frames"] == len(some) // 2
  assert run("none", "--query", clip, "--frames", "90:")[0] == 1
  told = capsys.readouterr().err
  assert "has none of the frames that were asked for" in told
  assert "no picture" not in told  # of a video without frames
  with pytest.raises(SystemExit):
    run("wrong", "--frames", "5:2")


def test_a_link_to_nowhere_stops_no_others(tmp_path, monkeypatch):
  Image.fromarray(frame([(20, 30)])).save(tmp_path / "a.png")
  (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
  marks = tmp_path / "a.json"
  marks.write_text(json.dumps(dict(zip(NAMES, [(12, 22), (28, 38), (20, 30)]))))
  monkeypatch.setattr(folders, "load", lambda _: BlobDetector())
  found = folders.predict_folder(
    None, [tmp_path / "a.png"], [marks], [tmp_path], tmp_path / "out"
  )
  assert (found.queries, found.predicted) == (2, 1)
  assert "b.png" in found.problems["not predicted"][0]
