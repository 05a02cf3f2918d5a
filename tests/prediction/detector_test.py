"""One's own images: the numbers of the evaluation, whoever asks, and clear refusals."""

import csv
import dataclasses
import functools
import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.predictions import assert_same
from PIL import Image

import fskd_jax
from fskd_jax import geometry
from fskd_jax.cli import main
from fskd_jax.data import images
from fskd_jax.data.feed import Feed
from fskd_jax.device import compilation_cache, parallel
from fskd_jax.few_shot import fitting
from fskd_jax.few_shot.pools import evaluation_sampler
from fskd_jax.few_shot.scoring import keypoint_reader
from fskd_jax.heatmaps.prior import Prior
from fskd_jax.pictures.predictions import THUMBNAIL
from fskd_jax.prediction import photographs
from fskd_jax.prediction.photographs import Decoded

NAMES = ("north", "east", "middle")
PRIOR = Prior(strength=1.5, sigma=0.08)


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
  """(configuration, workdir with a calibration, final state, feed)."""
  cfg, workdir, state = trained
  copy = tmp_path_factory.mktemp("predictor") / "run"
  shutil.copytree(workdir, copy)
  place = functools.partial(parallel.replicate, backend="single")
  feed = Feed.open(cfg.data)
  variables = {"params": state.params, "batch_stats": state.batch_stats}
  fitting.calibrate(
    functools.partial(keypoint_reader(cfg, feed, "single", PRIOR), place(variables)),
    {},
    cfg=cfg,
    feed=feed,
    samplers=fitting.fitting_samplers(feed, cfg.eval),
    step=int(state.step),
    workdir=copy,
    prior=PRIOR,
  )
  return cfg, copy, variables, feed


@pytest.fixture(scope="module")
def detector(run):
  return fskd_jax.load(run[1])


@pytest.fixture(scope="module")
def instances(run, shapes_folder):
  """[(file, instance, keypoints by name)] of the unseen species."""
  feed = run[3]
  ids = [feed.dataset.keypoint_names.index(name) for name in NAMES]
  return [
    (
      shapes_folder / "images" / feed.dataset.image_names[i.image],
      i,
      {n: tuple(i.keypoints[k]) if i.visible[k] else None for n, k in zip(NAMES, ids)},
    )
    for i in feed.splits.unseen
    if i.visible[ids].any()
  ]


@pytest.fixture(scope="module")
def support(detector, instances):
  path, instance, points = instances[0]
  return detector.support([path], [points], [instance.box])


def _rounded(batch, feed):
  """Gives a batch the pixels that predictions crop, whole grey levels."""

  def crops(views):
    return np.array(
      [
        [
          photographs.crop(
            images.decode(feed.dataset.read_image(number), ""), matrix, side
          )
          for number, matrix in zip(*row)
        ]
        for row in zip(views.images, views.to_original)
      ]
    )

  side = feed.cfg.image_size
  support, query = (v._replace(images=crops(v)) for v in (batch.support, batch.query))
  return batch._replace(support=support, query=query)


@pytest.mark.slow
@pytest.mark.parametrize(
  "pixels, share, pixels_off, confidence_off",
  # Floats may decide otherwise than rounded pixels between two places as likely, of
  # which neither is sure.
  [("rounded", 1.0, 1e-3, 1e-3), ("own", 0.9, 0.3, 0.03)],
)
def test_predictions_are_those_of_the_evaluation(
  run, detector, shapes_folder, pixels, share, pixels_off, confidence_off
):
  """On the same pixels but for rounding errors; those of the evaluation are floats."""
  cfg, _, variables, feed = run
  sampler = evaluation_sampler(feed, "unseen/base", cfg.eval)
  with feed.batches(sampler, [range(4)], cfg.eval.batch_episodes) as batches:
    batch = next(batches)
  if pixels == "own":
    expected = keypoint_reader(cfg, feed, prior=PRIOR)(variables, batch)
  else:
    there, rounded = dataclasses.replace(feed, store=None), _rounded(batch, feed)
    expected = keypoint_reader(cfg, there, prior=PRIOR)(variables, rounded)
    plain = keypoint_reader(cfg, there)(variables, rounded)
    assert np.abs(expected.keypoints - plain.keypoints).max() > 0.5
  expected_keypoints = geometry.apply_affine(
    np.float64(batch.query.to_original), expected.keypoints
  )
  names = feed.dataset.image_names
  by_id = {i.instance_id: i for i in feed.dataset.instances}

  def files(numbers):
    return [shapes_folder / "images" / names[n] for n in numbers]

  off: tuple[list[float], list[float]] = ([], [])
  for episode in range(4):
    (instance,) = batch.support.instance[episode]
    ids = [k for k in batch.keypoint_ids[episode] if k >= 0]
    points = np.where(
      by_id[instance].visible[ids, None], by_id[instance].keypoints[ids], np.nan
    )
    support = detector.support(
      files(batch.support.images[episode]), [points], batch.support.box[episode]
    )
    found = detector.predict(
      support, files(batch.query.images[episode]), batch.query.box[episode]
    )
    count = len(ids)
    shown = batch.support.visible[episode].any(0)[:count]
    away = (found.keypoints - expected_keypoints[episode][:, :count])[:, shown]
    confidence = detector.calibration.confidence(expected.mass, expected.peak)
    sure = confidence[episode][:, :count][:, shown] > 0.6
    doubted = (found.confidence - confidence[episode][:, :count])[:, shown]
    assert (np.abs(away[sure]) <= pixels_off).all()
    assert (np.abs(doubted[sure]) <= confidence_off).all()
    off[0].extend(np.abs(away).ravel())
    off[1].extend(np.abs(doubted).ravel())
    assert np.isnan(found.keypoints[:, ~shown]).all()
    assert (found.confidence[:, ~shown] == 0).all()
  assert np.quantile(off[0], share) <= pixels_off
  assert np.quantile(off[1], share) <= confidence_off


def test_what_was_learned_is_found(detector, support, instances):
  queries = instances[1:]
  found = detector.predict(
    support, [path for path, _, _ in queries], [i.box for _, i, _ in queries]
  )
  assert found.keypoints.shape == (len(queries), 3, 2) and found.names == NAMES
  errors = [
    np.hypot(*(found.keypoints[q, n] - points[name])) / max(instance.box[2:])
    for q, (_, instance, points) in enumerate(queries)
    for n, name in enumerate(NAMES)
    if points[name] and support.shown[n]
  ]
  assert np.median(errors) < 0.1
  assert (np.linalg.eigvalsh(found.covariance[:, support.shown]) > 0).all()


@pytest.mark.slow
def test_the_picture_may_come_in_any_form_and_batch(detector, support, instances):
  paths = [path for path, _, _ in instances[1:]] * 2
  paths = paths[:9]  # a full batch and one alone
  found = detector.predict(support, paths)
  opened = [Image.open(path) for path in paths]
  again = detector.predict(support, opened[:5] + [np.asarray(x) for x in opened[5:]])
  assert_same(found, again)
  read = [Decoded("it", np.asarray(x)) for x in opened]
  assert_same(found, detector.predict(support, read))
  alone = detector.predict(support, paths[:1])
  np.testing.assert_allclose(alone.keypoints[0], found.keypoints[0], atol=1e-3)


def test_an_object_without_a_box_is_searched_for(detector, support, instances):
  shift, size = np.array([85, 68]), (150, 120)
  images, boxes, truth, sides = [], [], [], []
  for path, instance, points in instances[1:]:
    images.append(Image.new("RGB", size, (124, 116, 104)))
    with Image.open(path) as small:
      images[-1].paste(small, tuple(shift))
    boxes.append((*(np.array(instance.box[:2]) + shift), *instance.box[2:]))
    rows = [points[name] or (np.nan, np.nan) for name in NAMES]
    truth.append(np.array(rows) + shift)
    sides.append(max(instance.box[2:]))

  def right(boxes):
    found = detector.predict(support, images, boxes)
    errors = np.linalg.norm(found.keypoints - truth, axis=-1) / np.c_[sides]
    return (errors[np.isfinite(errors)] < 0.15).mean()

  searched = right(None)
  assert searched > right([(0, 0, *size)] * len(images)) + 0.2
  assert 0.5 < searched <= right(boxes)


def test_the_boxes_looked_at_are_told(detector, support, instances):
  """Given ones clipped to the image; and a box found gives the same if it is given."""
  paths = [path for path, _, _ in instances[1:6]]
  given = detector.predict(support, paths[:2], [(-4, 5, 30, 100), (3, 4, 20, 10)])
  np.testing.assert_allclose(given.box, [(0, 5, 26, 43), (3, 4, 20, 10)])
  searched = detector.predict(support, paths)
  assert searched.image.tolist() == [0, 1, 2, 3, 4] and searched.box.shape == (5, 4)
  canvas = [
    np.pad(np.asarray(Image.open(p)), ((50, 50), (50, 50), (0, 0))) for p in paths
  ]
  boxes = searched.box + [50, 50, 0, 0]
  inside = (boxes[:, :2] >= 0).all(1) & (boxes[:, :2] + boxes[:, 2:] <= [160, 148]).all(
    1
  )
  assert inside.any()
  again = detector.predict(support, canvas, boxes)
  np.testing.assert_allclose(again.box, boxes, atol=1e-4)
  # The crop is the same, but for what lies around the image.
  assert np.nanmedian(abs(again.keypoints - 50 - searched.keypoints)) < 2


@pytest.mark.slow
def test_padding_changes_nothing(detector, instances):
  (a, _, points), (b, _, points_b) = instances[:2]
  query = [instances[2][0]]
  two, six = (
    detector.support([a, b] * times, [points, points_b] * times) for times in (1, 3)
  )
  for group, other in zip(two.kernels, six.kernels):
    assert group.taps.shape[1] == 8
    np.testing.assert_allclose(group.taps, other.taps, atol=1e-5)
  place = next(point for point in points.values() if point)
  wide = detector.support([a], [{f"type {i}": place for i in range(9)}])
  assert wide.kernels[0].taps.shape[1] == 16
  found = detector.predict(wide, query, [(0, 0, 60, 48)])
  assert found.keypoints.shape == (1, 9, 2)
  np.testing.assert_allclose(found.keypoints - found.keypoints[:, :1], 0, atol=1e-3)


def test_a_second_start_finds_traces_and_predicts_the_same(
  detector, run, instances, tmp_path, monkeypatch
):
  monkeypatch.setattr(compilation_cache, "traces", tmp_path)
  (path, instance, points), (query, other, _) = instances[:2]
  boxes = [[tuple(other.box)]]

  def predict(detector):
    support = detector.support([path], [points], [tuple(instance.box)])
    return detector.predict(support, [query], boxes)

  first = predict(fskd_jax.load(run[1]))
  kept = sorted(tmp_path.iterdir())
  assert len(kept) == 2
  assert_same(predict(fskd_jax.load(run[1])), first)
  assert sorted(tmp_path.iterdir()) == kept
  monkeypatch.setattr(compilation_cache, "traces", None)
  assert_same(predict(detector), first)


def test_moving_the_picture_moves_the_prediction(detector, support, instances):
  path, instance, _ = instances[1]
  pixels = np.asarray(Image.open(path))
  x, y, w, h = instance.box
  moved = np.pad(pixels, ((7, 0), (11, 0), (0, 0)))
  found = detector.predict(support, [pixels], [(x, y, w, h)])
  shifted = detector.predict(support, [moved], [(x + 11, y + 7, w, h)])
  np.testing.assert_allclose(shifted.keypoints - found.keypoints, [[[11, 7]] * 3], 0, 2)


@pytest.mark.parametrize(
  "arguments, message",
  [
    ({"keypoints": [{"north": None}]}, "without keypoints teaches nothing"),
    ({"keypoints": [{"north": (70, 5)}]}, r"'north' at \(70, 5\) lies outside the "
                                          "image of 60 x 48 pixels"),
    ({"keypoints": [{"north": (-1, 5)}]}, "lies outside"),
    ({"keypoints": [{"north": 5}]}, "'north' is 5, expected"),
    ({"keypoints": [{"north": (1, 2, 2, 9)}]}, "has 4 numbers"),
    ({"keypoints": []}, "got 0 lists for 1 support images"),
    ({"keypoints": [[(5, 5)]], "names": ["a", "b"]}, "1 keypoints for 2 names"),
    ({"keypoints": [[(5, 5)] * 2], "names": ["a", "a"]}, "repeated"),
    ({"boxes": [(100, 5, 10, 10)]}, "is empty or outside the image of 60 x 48"),
    ({"boxes": [(1, 5, 10)]}, "expected 4 numbers"),
    ({"boxes": []}, "boxes: got 0 for 1 images"),
    ({"boxes": [(0, 0, 2, 2)]}, "none has a keypoint in the square"),
    ({"images": "a.jpg"}, "got a single image, expected a list"),
    ({"images": np.zeros((4, 4, 3), np.uint8)}, "got a single image"),
    ({"images": []}, "images: got none"),
  ],
)  # fmt: skip
def test_wrong_supports_are_refused(detector, instances, arguments, message):
  keypoints = [{"north": (30, 30)}]
  given = {"images": [instances[0][0]], "keypoints": keypoints, **arguments}
  with pytest.raises(ValueError, match=message):
    detector.support(**given)


def test_names_may_differ_but_not_wholly(detector, instances, caplog):
  images = [instances[0][0], instances[1][0]]
  points = [{"nose": (5, 5), "tip": (9, 9)}, {"nose": (5, 5), "Tip": (9, 9)}]
  with caplog.at_level(logging.WARNING):
    assert detector.support(images, points).names == ("nose", "tip", "Tip")
  assert f"{images[0]}: not named, so not visible there: Tip" in caplog.text
  with pytest.raises(ValueError, match="shares no keypoint name with the other"):
    detector.support(images, [{"nose": (5, 5)}, {"Nose": (5, 5)}])


def test_the_package_itself_is_imported_at_once():
  code = "import sys, fskd_jax; assert fskd_jax.__all__ and 'jax' not in sys.modules"
  subprocess.run([sys.executable, "-c", code], check=True)


def test_an_image_of_one_pixel_is_harmless(detector, support):
  found = detector.predict(support, [np.zeros((1, 1, 3), np.uint8)])
  assert np.isfinite(found.confidence).all() and (abs(found.keypoints) < 2).all()
  detector.support([np.zeros((1, 1, 3), np.uint8)], [{"only": (0, 0)}])


def test_the_calibration_belongs_to_its_step(run, tmp_path, caplog):
  shutil.copytree(run[1], tmp_path / "run")
  path = tmp_path / "run" / "calibration.json"
  content = json.loads(path.read_text())
  content["calibration"]["step"] = 5
  path.write_text(json.dumps(content))
  with caplog.at_level(logging.WARNING):
    fskd_jax.load(tmp_path / "run")
  assert "calibrated at step 5, but this is step 80" in caplog.text
  path.write_text("{}")
  with pytest.raises(ValueError, match=r"calibration\.json is damaged"):
    fskd_jax.load(tmp_path / "run")


def test_without_a_calibration_the_score_is_raw_and_that_is_told_once(
  trained, support, instances, caplog
):
  detector = fskd_jax.load(trained[1])
  with caplog.at_level(logging.WARNING):
    for _ in range(2):
      found = detector.predict(support, [instances[1][0]])
  assert ((found.confidence >= 0) & (found.confidence <= 1)).all()
  assert caplog.text.count("shapes is not calibrated") == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory, instances):
  """A folder as a user has it: images, a text called .jpg, keypoints of the support."""
  folder = tmp_path_factory.mktemp("own")
  (folder / "images").mkdir()
  for path, _, _ in instances[1:4]:
    shutil.copy(path, folder / "images")
  Image.new("RGB", (1, 1)).save(folder / "images" / "dot.png")
  (folder / "images" / "text.jpg").write_text("no image")
  path, instance, points = instances[0]
  shutil.copy(path, folder / "support.png")
  pixels = {n: p and [float(v) for v in p] for n, p in points.items()}
  content = {"keypoints": pixels, "box": list(instance.box)}
  content["skeleton"] = [["north", "middle"]]
  (folder / "support.json").write_text(json.dumps(content))
  return folder


def _rows(out):
  with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
    return list(csv.DictReader(file))


def _command(folder, run, *more, query="images"):
  shutil.rmtree(folder / "out", ignore_errors=True)
  return ["predict", "--workdir", str(run[1]), "--support", str(folder / "support.png"),
          "--keypoints", str(folder / "support.json"), "--query", str(folder / query),
          "--out", str(folder / "out"), *more]  # fmt: skip


@pytest.mark.slow
def test_the_command_writes_what_the_interface_returns(
  folder, run, detector, instances, capsys
):
  box = {instances[1][0].name: instances[1][1].box}
  (folder / "boxes.json").write_text(json.dumps(box))
  command = _command(
    folder, run, "--min-confidence", "0", "--boxes", str(folder / "boxes.json")
  )
  assert main.main(command) == 1
  said = capsys.readouterr()
  *_, last = said.out.splitlines()
  assert "3 of 5 queries predicted" in last
  assert "text.jpg' cannot be decoded: not an image" in said.err
  assert "dot.png: 1 x 1 pixels, expected 8 x 8 at least" in said.err
  paths = sorted((folder / "images").glob("0*.png"))
  path, instance, points = instances[0]
  support = detector.support([path], [points], [instance.box])
  expected = detector.predict(support, paths, [box.get(p.name) for p in paths])
  content = json.loads((folder / "out" / "predictions.json").read_text())
  rows = _rows(folder / "out")
  assert [e["file_name"] for e in content["images"]] == [p.name for p in paths]
  assert [row["image"] for row in rows] == [p.name for p in paths]
  for q, (entry, row) in enumerate(zip(content["annotations"], rows, strict=True)):
    inside = np.clip(expected.keypoints[q], 0, [59, 47])
    triples = np.c_[inside, expected.confidence[q]]
    found = np.reshape(entry["keypoints"], (-1, 3))
    np.testing.assert_allclose(
      found[support.shown, :2], inside[support.shown], atol=1e-4
    )
    assert found[:, 2].tolist() == np.where(support.shown, 2, 0).tolist()
    for n in np.flatnonzero(support.shown):
      assert entry["confidences"][n] == pytest.approx(triples[n, 2], abs=1e-4)
      cells = [row[f"{NAMES[n]}.{part}"] for part in ("x", "y", "confidence")]
      np.testing.assert_allclose(np.float64(cells), triples[n], atol=1e-4)
  overlays = sorted((folder / "out" / "overlays").iterdir())
  assert len(overlays) == 3
  with Image.open(folder / "out" / "contact_sheet_1.png") as sheet:
    assert sheet.width > 3 * THUMBNAIL and sheet.height > THUMBNAIL


@pytest.mark.slow
def test_predictions_can_be_the_next_support(folder, run, capsys):
  assert main.main(_command(folder, run, "--min-confidence", "0")) == 1
  shutil.rmtree(folder / "before", ignore_errors=True)
  (folder / "out").rename(folder / "before")
  # Machine-placed keypoints need a confidence of 0.5, so the surest image is taken.
  surest = max(_rows(folder / "before"), key=lambda row: row["middle.confidence"])
  first = folder / "images" / surest["image"]
  command = _command(folder, run)
  command[command.index("--support") + 1] = str(first)
  command[command.index("--keypoints") + 1] = str(folder / "before" / "predictions.csv")
  command[command.index("--query") + 1] = str(folder / "images" / "0*.png")
  assert main.main(command) == 0


@pytest.mark.parametrize(
  "change, message",
  [
    (("--query", "nowhere/*.jpg"), "there is no file"),
    (("--query", "empty"), "has no images or videos (.bmp"),
    (("--support", "images/text.jpg"), "cannot be decoded: not an image"),
    (("--keypoints", "none.json"), "there is no keypoint file"),
    (("--workdir", "images"), "no workdir"),
  ],
)
def test_what_stops_the_command_is_one_sentence(folder, run, change, message, capsys):
  (folder / "empty").mkdir(exist_ok=True)
  command = _command(folder, run)
  command[command.index(change[0]) + 1] = str(folder / change[1])
  assert main.main(command) == 2
  said = capsys.readouterr().err
  assert message in said and said.count("fskd: ") == 1 and "Traceback" not in said


def test_the_size_of_the_marked_image_is_checked(folder, run, instances, capsys):
  content = {
    "shapes": [{"label": "nose", "shape_type": "point", "points": [[3, 3]]}],
    "imageWidth": 48,
    "imageHeight": 60,
  }
  (folder / "turned.json").write_text(json.dumps(content))
  command = _command(folder, run)
  command[command.index("--keypoints") + 1] = str(folder / "turned.json")
  assert main.main(command) == 2
  assert "was marked on 48 x 60 pixels, but" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_file_predicts_the_same(folder, run, instances, detector, tmp_path):
  path = str(tmp_path / "detector.safetensors")
  assert main.main(["export", "--workdir", str(run[1]), "--out", path]) == 0
  exported = fskd_jax.load(path)
  assert exported.calibration == detector.calibration
  file, instance, points = instances[0]
  query = [instances[1][0]]
  results = [
    d.predict(d.support([file], [points], [instance.box]), query)
    for d in (detector, exported)
  ]
  assert_same(*results)


@pytest.mark.slow
def test_videos(folder, run, detector, instances, capsys):
  av = pytest.importorskip("av", reason="videos need PyAV")
  frames = [np.asarray(Image.open(path)) for path, _, _ in instances[1:4]]
  with av.open(str(folder / "clip.mp4"), "w") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.height, stream.width = frames[0].shape[:2]
    stream.bit_rate = 10**7
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())
  assert (
    main.main(_command(folder, run, "--min-confidence", "0", query="clip.mp4")) == 0
  )
  rows = _rows(folder / "out")
  assert [(row["image"], row["frame"]) for row in rows] == [
    ("clip.mp4", str(i)) for i in range(3)
  ]
  with av.open(str(folder / "out" / "0001_clip.mp4")) as container:
    drawn = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
  assert len(drawn) == 3 and drawn[0].shape == frames[0].shape
  (folder / "none.mp4").write_bytes((folder / "clip.mp4").read_bytes()[:60])
  assert main.main(_command(folder, run, query="none.mp4")) == 1
  assert "none.mp4: not a video, or a broken one" in capsys.readouterr().err
  with av.open(str(folder / "sound.mp4"), "w") as container:
    stream = container.add_stream("aac", rate=8000)
    silence = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
    )
    silence.sample_rate = 8000
    container.mux(stream.encode(silence))
    container.mux(stream.encode())
  assert main.main(_command(folder, run, query="sound.mp4")) == 1
  assert "sound.mp4: a video without frames" in capsys.readouterr().err
