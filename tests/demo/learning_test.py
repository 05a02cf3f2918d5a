"""The page hands over what people marked, and shows what came of it."""

import threading
import time
import types

import pytest
from helpers.demo_page import StandIn, marked, png, point

from fskd_jax.data.any_labels import read_dataset
from fskd_jax.demo import learning, marks
from fskd_jax.demo.finding import Finder
from fskd_jax.demo.gallery import Gallery
from fskd_jax.demo.jobs import Jobs


def _over(jobs):
  while not jobs.progress.is_over:
    time.sleep(0.01)
  return jobs.progress


def test_one_piece_of_work_at_a_time():
  jobs, go = Jobs(), threading.Event()

  def work(job):
    for _ in job.counted("ab"):
      go.wait(5)
    return "done"

  jobs.start(work)
  with pytest.raises(ValueError, match="busy"):
    jobs.start(work)
  assert jobs.progress.part in (None, 0.0) and not jobs.progress.is_over
  go.set()
  assert _over(jobs).result == "done"

  def fail(job):
    raise ValueError("too few images")

  jobs.start(fail)
  assert _over(jobs).error == "too few images"
  jobs.start(lambda job: 1 / 0)
  assert "terminal" in _over(jobs).error


@pytest.fixture
def shelf(tmp_path):
  for name in ("a.png", "clip/a.png", "c.png"):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(png())
  return Gallery(tmp_path)


def _marked(shelf, **others):
  first, second, *_ = shelf.folder
  points = {"nose": point(3, 4), "tail": point(30, 20, sure=0.9)}
  content = {first: (points, None), second: ({"nose": point(5, 6)}, None)}
  return marks.from_json(marked(("nose", "tail"), content | others), shelf)


def test_suggestions_are_of_the_pictures_without_labels(shelf, monkeypatch):
  added = shelf.add("d.png", png(seed=5))
  among = [[*shelf.folder.values()][2], added]

  def suggest(labels, frames, out, *, number, detector, whole_images, progress):
    dataset = read_dataset(labels)
    assert len(dataset.image_names) == 2
    assert sum(i.visible.sum() for i in dataset.instances) == 2  # by hand
    assert number == 2 and whole_images and isinstance(detector, StandIn)
    return [
      types.SimpleNamespace(query=types.SimpleNamespace(path=path))
      for path in reversed([*progress(frames)])
    ]

  monkeypatch.setattr(learning.suggesting, "suggest", suggest)
  found = learning.suggest(Finder(StandIn()), _marked(shelf), among, True, Jobs())
  assert found == {"next": [added.key, among[0].key]}


@pytest.mark.parametrize("share", (0.0, 0.5))
def test_an_adapted_detector_is_used_if_it_is_better(
  shelf, monkeypatch, tmp_path, share
):
  jobs, finder, told = Jobs(), Finder(StandIn()), []

  class Outcome(types.SimpleNamespace):
    def __str__(self):
      return "PCK"

  def adapt(labels, workdir, *, unlabelled, minutes, start, tell):
    assert len(read_dataset(labels).instances) == 2 and start == "runs/mine"
    assert len([*unlabelled.iterdir()]) == 1
    tell("turn 1")
    told.append(jobs.progress.told)
    return Outcome(share=share)

  monkeypatch.setattr(learning.adapting, "adapt", adapt)
  monkeypatch.setattr(learning, "load", lambda path: path)
  workdir = tmp_path / "run_1"
  among = [[*shelf.folder.values()][2]]
  found = learning.adapt(finder, _marked(shelf), among, "runs/mine", workdir, jobs)
  assert found == {"told": "PCK. The run is in run_1."} and told == ["turn 1"]
  assert finder.detector == workdir if share else isinstance(finder.detector, StandIn)
