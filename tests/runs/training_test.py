"""Whole runs: what they write, how they resume, and how they end on bad input."""

import contextlib
import functools
import itertools
import json
import logging
import re
import resource
import shutil

import jax
import numpy as np
import pytest
from helpers import shapes
from helpers.libraries import HOST_EXECUTOR
from PIL import Image

from fskd_jax import config, episode, experiment
from fskd_jax.config import DataConfig, EvalConfig
from fskd_jax.data.feed import Feed
from fskd_jax.experiment import make_task
from fskd_jax.few_shot import evaluation, report
from fskd_jax.few_shot import task as few_shot_task
from fskd_jax.pictures import episodes, style
from fskd_jax.pictures.curves import draw_curves
from fskd_jax.training import starts
from fskd_jax.training.checkpoint import CheckpointStore


def test_a_run_learns_and_leaves_its_records(trained):
  cfg, workdir, state = trained
  assert int(state.step) == cfg.train.steps == 80
  lines = shapes.metrics(workdir)
  steps = [line["step"] for line in lines if "train/loss" in line]
  assert steps == list(range(4, 81, 4))
  losses = [line["train/loss"] for line in lines if "train/loss" in line]
  assert losses[-1] < 0.3 * losses[0]
  scores = [line for line in lines if "val/base/pck@0.1" in line]
  assert [line["step"] for line in scores] == [40, 80]
  assert scores[-1]["val/base/pck@0.1"] > 0.6 and "val/novel/pck@0.1" in scores[-1]
  seconds = [line["train/seconds"] for line in _raw(workdir) if "train/seconds" in line]
  assert 0 < seconds[0] and seconds == sorted(seconds)
  curves = draw_curves({workdir.name: workdir / "metrics.jsonl"})
  np.testing.assert_array_equal(
    style.render(curves), np.asarray(Image.open(workdir / "curves.png"))[..., :3]
  )
  assert len(list(workdir.glob("events.out.tfevents.*"))) == 1
  assert [start["step"] for start in starts.read(workdir)] == [0]
  kept = {path.name for path in (workdir / "checkpoints").iterdir()}
  assert kept == {"48", "64", "80"}


def test_validation_scores_and_draws_the_validation_species_alone(trained, monkeypatch):
  cfg, workdir, state = trained
  feed = Feed.open(cfg.data)
  validator = make_task(cfg).validator(feed)
  seen, rows = [], []

  def watched(owner, name, find):
    original = getattr(owner, name)

    def call(*args, **options):
      seen.append(find(*args))
      return original(*args, **options)

    monkeypatch.setattr(owner, name, call)

  watched(few_shot_task, "score", lambda predictors, feed, sampler, cfg: sampler)
  watched(report, "picture", lambda title, index, sampler, feed, predict: sampler)
  watched(episodes, "draw_episodes", rows.extend)
  scores = validator.scores(state)
  last = shapes.metrics(workdir)[-1]
  assert scores == {name: last[name] for name in scores} and len(scores) == 2
  pixels = validator.picture(state, "step 80")
  saved = np.asarray(Image.open(workdir / "pictures" / "step_0000080.png"))
  np.testing.assert_array_equal(pixels, saved)

  samplers = [sampler for sampler in seen if sampler is not None]
  assert len(samplers) == 4  # base and novel, scored and drawn
  for sampler in samplers:
    views = [episode.all_views(sampler.plan(index)) for index in range(6)]
    assert set(feed.species(np.stack([v.instance for v in views])).flat) == {"crate"}
  # The predictions are on it: elsewhere, they make another picture.
  assert len(rows) == 2 and all(row.valid.any() for row in rows[:1])
  moved = [row._replace(predicted=row.predicted + 4) for row in rows]
  assert (episodes.draw_episodes(moved) != pixels).any()


def _raw(workdir):
  return map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())


class Killed(BaseException):
  """Ends a run as suddenly as Python can."""


def _kill(owner, name, call, *, before):
  """Makes the n-th call of a function kill the run, before or after it worked."""
  original, calls = getattr(owner, name), itertools.count(1)

  @functools.wraps(original)
  def deadly(*args, **kwargs):
    number = next(calls)
    if number == call and before:
      raise Killed
    result = original(*args, **kwargs)
    if number == call:
      raise Killed
    return result

  return owner, name, deadly


KILLS = {
  "in the last validation": (few_shot_task, "score", 3, True, 64),
  "after the last save": (CheckpointStore, "begin_saving", 5, False, 80),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_run_killed_at_the_end_resumes_bit_for_bit(trained, tmp_path, moment):
  cfg, workdir, state = trained
  owner, name, call, before, saved = KILLS[moment]
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(*_kill(owner, name, call, before=before))
    with pytest.raises(Killed):
      experiment.train(cfg, tmp_path)
  assert CheckpointStore(tmp_path).restore_model().step == saved
  resumed = jax.device_get(experiment.train(cfg, tmp_path))
  shapes.assert_identical(resumed, state)  # the optimiser, too
  shapes.assert_same_run(tmp_path, workdir)
  # A start that came after the last step trained nothing.
  begun = [0, saved] if saved < cfg.train.steps else [0]
  assert [start["step"] for start in starts.read(tmp_path)] == begun
  seconds = [line.get("train/seconds", 0) for line in _raw(tmp_path)]
  assert [s for s in seconds if s] == sorted(s for s in seconds if s)


@pytest.fixture
def workdir(trained, tmp_path):
  """A copy of the trained run without its last checkpoint, so 16 steps are left."""
  folder = tmp_path / "run"
  shutil.copytree(trained[1], folder)
  shutil.rmtree(folder / "checkpoints" / "80")
  return folder


def test_a_run_without_validation_resumes_bit_for_bit(shapes_folder, tmp_path):
  cfg = shapes.config(shapes_folder, steps=6, checkpoint_every=3, log_every=1)
  cfg.data.validation_species = ()
  whole, resumed = tmp_path / "whole", tmp_path / "resumed"
  state = jax.device_get(experiment.train(cfg, whole))
  shutil.copytree(whole, resumed)
  shutil.rmtree(resumed / "checkpoints" / "6")
  assert CheckpointStore(resumed).restore_model().step == 3
  shapes.assert_identical(jax.device_get(experiment.train(cfg, resumed)), state)
  shapes.assert_same_run(resumed, whole)


def _files(workdir):
  return {p: p.read_bytes() for p in sorted(workdir.rglob("*")) if p.is_file()}


def test_a_finished_run_is_left_as_it_is(trained, tmp_path):
  cfg, finished, state = trained
  shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
  cfg.train.picture_every = 40  # may differ
  again = jax.device_get(experiment.train(cfg, tmp_path))
  cfg.train.picture_every = 80
  shapes.assert_identical(again, state)
  shapes.assert_same_run(tmp_path, finished)


# orbax leaves callbacks behind when reading or writing fails.
failing_orbax = pytest.mark.filterwarnings(
  "ignore::pytest.PytestUnraisableExceptionWarning"
)


@failing_orbax
def test_a_truncated_checkpoint_costs_the_steps_since_the_one_before(
  trained, workdir, caplog
):
  cfg, finished, _ = trained
  files = (p for p in (workdir / "checkpoints" / "64").rglob("*") if p.is_file())
  largest = max(files, key=lambda p: p.stat().st_size)
  largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
  with caplog.at_level(logging.INFO, "fskd_jax"):
    experiment.train(cfg, workdir)
  assert "Falling back from step 64 to step 48" in caplog.text
  assert "resuming after step 48 of 80" in caplog.text
  shapes.assert_same_run(workdir, finished)


@failing_orbax
def test_a_full_disk_stops_the_run_and_keeps_the_earlier_checkpoint(trained, workdir):
  cfg, finished, _ = trained
  begin = CheckpointStore.begin_saving
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

  def save_on_a_full_disk(store, *args):
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    try:
      begin(store, *args)
      store.finish()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(CheckpointStore, "begin_saving", save_on_a_full_disk)
    with pytest.raises(OSError, match="checkpoint of step 80 .*earlier .* untouched"):
      experiment.train(cfg, workdir)
  assert CheckpointStore(workdir).restore_model().step == 64
  experiment.train(cfg, workdir)
  shapes.assert_same_run(workdir, finished)


def test_a_workdir_of_any_name_is_trained_in_and_read(trained, workdir, tmp_path):
  cfg, finished, _ = trained
  odd = workdir.rename(tmp_path / "_run [1] a\\b $_$ x_{\n*é?")
  experiment.train(cfg, odd)
  shapes.assert_same_run(odd, finished)
  assert CheckpointStore(odd).restore_model().step == 80


def test_a_second_training_changes_nothing(trained, workdir):
  cfg, _, _ = trained
  with contextlib.closing(CheckpointStore(workdir, keep=1)):
    before = _files(workdir)
    with pytest.raises(ValueError, match="another training is running in"):
      experiment.train(cfg, workdir)
    assert _files(workdir) == before
  experiment.train(cfg, workdir)


def test_damaged_metrics_do_not_keep_a_run_from_resuming(trained, workdir):
  cfg, finished, _ = trained
  metrics = workdir / "metrics.jsonl"
  metrics.write_bytes(b"null\n" + metrics.read_bytes() + b'{"step": 4, "\xff": 1}\n')
  experiment.train(cfg, workdir)
  shapes.assert_same_run(workdir, finished)


def test_a_loss_that_is_not_finite_is_never_saved(shapes_folder, tmp_path, monkeypatch):
  monkeypatch.setattr(config, "validate", lambda cfg: None)  # refuses such a rate
  cfg = shapes.config(shapes_folder, steps=5, log_every=1, checkpoint_every=1)
  cfg.optim.learning_rate = 1e30
  with pytest.raises(FloatingPointError, match="step 2 .*last checkpoint is kept"):
    experiment.train(cfg, tmp_path)
  assert CheckpointStore(tmp_path).restore_model().step == 1
  assert [line["step"] for line in shapes.metrics(tmp_path)] == [1]


def _edit(folder, change):
  path = folder / "annotations.json"
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def _truncate_image(folder):
  path = folder / "images" / "007.png"
  path.write_bytes(path.read_bytes()[:-2000])


BAD_DATA = {
  "truncated image": (
    _truncate_image, ValueError, r"image '007\.png' cannot be decoded",
  ),
  "unknown category": (
    lambda folder: _edit(folder, lambda c: c["annotations"][3].update(category_id=9)),
    ValueError, "annotation 1003: category_id is 9",
  ),
  "short keypoints": (
    lambda folder: _edit(folder, lambda c: c["annotations"][3]["keypoints"].pop()),
    ValueError, "annotation 1003: .*14 values, expected 15",
  ),
  "not a number": (
    lambda folder: _edit(
      folder, lambda c: c["annotations"][3]["keypoints"].__setitem__(0, float("nan"))
    ),
    ValueError, "annotation 1003: .*'north' is .*nan",
  ),
  "box outside": (
    lambda folder: _edit(
      folder, lambda c: c["annotations"][3].update(bbox=[70, 0, 5, 5])
    ),
    ValueError, "annotation 1003: .*outside the image of 60 x 48",
  ),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_DATA)
def test_bad_data_is_one_clear_error_and_touches_nothing(trained, workdir, fault):
  spoil, kind, message = BAD_DATA[fault]
  cfg = shapes.config(workdir.parent / "data")
  shutil.copytree(trained[0].data.path, cfg.data.path)
  spoil(workdir.parent / "data")
  before = _files(workdir)
  with pytest.raises(kind, match=message):
    experiment.train(cfg, workdir)
  assert _files(workdir) == before


def _change(section, **fields):
  def change(cfg):
    for name, value in fields.items():
      setattr(getattr(cfg, section), name, value)

  return change


BAD_CONFIGS = {
  "unknown keypoint": (
    _change("data", base=("north", "eest"), auxiliary_paths=()),
    r"unknown keypoint names: 'eest' \(close: .*'east'",
  ),
  "names of a copied configuration": (
    lambda cfg: [
      setattr(cfg.data, field, value)
      for field, value in {
        "base": ("north", "nose"),
        "novel": ("left eye",),
        "auxiliary_paths": (("nose", "left ear"), ("north", "south")),
        "flip_pairs": (("left eye", "right eye"),),
        "unseen_species": ("zebra",),
        "validation_species": ("rabbit", "crate"),
      }.items()
    ],
    "data.base: unknown keypoint names: 'nose'; "
    "data.novel: unknown keypoint names: 'left eye'; "
    "data.auxiliary_paths: unknown keypoint names: 'nose', 'left ear'; "
    "data.flip_pairs: unknown keypoint names: 'left eye', 'right eye'; "
    "the keypoint names of the data set are .'north', .*"
    "data.auxiliary_paths: must join .* not ..'north', 'south'..; "
    "data.unseen_species: species .'zebra'. are not in .*"
    "data.validation_species: species .'rabbit'. are not in "
  ),
  "too few images to evaluate": (
    lambda cfg: [
      setattr(cfg.eval, "queries", 8), setattr(cfg.data, "validation_species", ()),
    ],
    "setting 'unseen/base': no species has the 9 .*set eval.queries = 7 or less.*"
    "images by split: train 20, validation 0, seen 12, unseen 8",
  ),
  "thresholds of the evaluation": (
    lambda cfg: [
      setattr(cfg.data, "crop_margin", 0.1), setattr(cfg.data, "crop", "context"),
      setattr(cfg.data, "validation_species", ()),
    ],
    "setting 'unseen/novel': episode 0: 1000 draws were rejected",
  ),
  "warm-up": (
    _change("optim", warmup_steps=80), "optim.warmup_steps = 80: .*train.steps = 80",
  ),
  "contrasts on one device": (
    lambda cfg: [
      setattr(cfg.train, "backend", "pmap"), setattr(cfg.loss, "mfcl_weight", 0.1),
    ],
    "train.episodes_per_step = 4 on 4 devices: .* set train.episodes_per_step = 8",
  ),
  "too few types": (
    _change("data", min_support_types=4), "3 keypoint types, .*min_support_types=4",
  ),
  "too few images": (
    _change("train", queries=9),
    "no species has the 10 different images .*set train.queries = 4 .*"
    "leaf 5 .5 instances.*15 instances of 3 species",
  ),
  "thresholds": (
    _change("data", shift=100.0), "1000 draws were rejected, .* by min_support_types=1",
  ),
  "too few images to validate": (
    _change("eval", queries=8),
    "setting 'validation/base': no species has the 9 .*crate 8",
  ),
  "episodes per device": (
    _change("train", episodes_per_step=6, backend="pmap"),
    "train.episodes_per_step = 6 .* 4 devices: set train.episodes_per_step = 8",
  ),
  "another choice": (_change("optim", optimizer="sgd"), "optim.optimizer = 'sgd'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", BAD_CONFIGS)
def test_a_wrong_configuration_is_one_clear_error(shapes_folder, tmp_path, fault):
  change, message = BAD_CONFIGS[fault]
  cfg = shapes.config(shapes_folder)
  change(cfg)
  with pytest.raises(ValueError, match=message):
    experiment.train(cfg, tmp_path)
  assert not list(tmp_path.glob("checkpoints/*"))


def test_one_species_without_novel_types_is_trained_and_evaluated_by_default(
  tmp_path, caplog
):
  folder = shapes.write_folder(tmp_path / "data")
  _edit(folder, _make_one_species)
  cfg = shapes.config(folder, steps=2, log_every=1, checkpoint_every=2)
  cfg.data = DataConfig(
    name="coco_keypoints",
    path=str(folder),
    executor="resident",
    image_size=48,
    base=tuple(shapes.COLORS),
    heldout_fraction=0.4,
    min_support_types=1,
    min_query_types=1,
  )
  cfg.eval = EvalConfig(episodes=2, geometric_prior=False)
  with caplog.at_level(logging.WARNING, "fskd_jax"):
    state = experiment.train(cfg, tmp_path / "run")
  told = "left out of the evaluation: 'unseen/novel': .* 0 novel types.*'seen/novel'"
  assert re.search(told, caplog.text)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  caplog.clear()
  results = evaluation.evaluate(cfg, variables, 2, tmp_path / "run")
  assert set(results["settings"]) == {"unseen/base", "seen/base"}
  assert re.search(told, caplog.text)
  cfg.eval.settings = ("seen/novel",)
  with pytest.raises(ValueError, match="nothing to score: 'seen/novel': .* 0 novel"):
    evaluation.evaluate(cfg, variables, 2, tmp_path / "run")


def _make_one_species(content):
  content["categories"] = content["categories"][:1]
  for annotation in content["annotations"]:
    annotation["category_id"] = 0


def test_the_workdir_of_another_configuration_is_refused(shapes_folder, workdir):
  cfg = shapes.config(shapes_folder)
  cfg.optim.learning_rate = 0.5
  before = _files(workdir)
  with pytest.raises(ValueError, match="learning_rate: 0.01 there, 0.5 now"):
    experiment.train(cfg, workdir)
  assert _files(workdir) == before


@pytest.fixture(scope="module")
def first_losses(shapes_folder, tmp_path_factory):
  """Trains 3 steps, once for each backend and executor."""

  @functools.cache
  def train(backend, executor="resident"):
    cfg = shapes.config(shapes_folder, backend=backend)
    cfg.train.steps, cfg.train.log_every = 3, 1
    cfg.data.validation_species = ()
    cfg.data.executor = executor
    cfg.optim.learning_rate = 1e-6  # Adam would enlarge the rounding of zero gradients
    workdir = tmp_path_factory.mktemp("run")
    state = jax.device_get(experiment.train(cfg, workdir))
    names = ("train/loss", "train/loss_main", "train/gradient_norm")
    lines = shapes.metrics(workdir)
    return state, np.array([[line[name] for name in names] for line in lines])

  return train


@pytest.mark.parametrize("backend", ["pmap", "shard_map"])
def test_every_backend_trains_alike(first_losses, backend):
  expected_state, expected = first_losses("single")
  state, found = first_losses(backend)
  assert len(expected) == 3 and expected[0, 0] != expected[1, 0]
  np.testing.assert_allclose(found, expected, rtol=1e-5)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5),
    state.batch_stats,
    expected_state.batch_stats,
  )


def test_both_executors_train_alike(first_losses):
  _, expected = first_losses("single")
  _, found = first_losses("single", HOST_EXECUTOR)
  # tf.data rounds pixels to whole numbers, and the first gradients are steep.
  np.testing.assert_allclose(found[:, :2], expected[:, :2], rtol=5e-3)
  np.testing.assert_allclose(found[:, 2], expected[:, 2], rtol=5e-2)
