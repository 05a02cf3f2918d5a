import copy
import json
import pathlib
import random
import shutil

import numpy as np
import pytest
from helpers import mp100_files
from helpers.mp100_files import CATEGORIES, PER_CATEGORY, SIDE
from PIL import ExifTags, Image

from fskd_jax import geometry
from fskd_jax.analysis.mp100 import evaluation, metrics, pairs
from fskd_jax.analysis.mp100.metrics import Pairs
from fskd_jax.cli import main
from fskd_jax.data import augment
from fskd_jax.data.published import mp100
from fskd_jax.metrics import record as episode_record
from fskd_jax.models.build import Model
from fskd_jax.prediction import batches
from fskd_jax.prediction import detector as prediction_detector


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("mp100")
  content = mp100_files.content()
  (root / "annotations.json").write_text(json.dumps(content))
  mp100_files.write_images(content, root / "images")
  return root


@pytest.fixture(scope="module")
def file(folder):
  return mp100.read(folder / "annotations.json")


def _slow_objects(content):
  """The facts again, in plain loops: {category: [(id, box, keypoints)]}."""
  found = {c["name"]: [] for c in content["categories"]}
  names = {c["id"]: c["name"] for c in content["categories"]}
  for image in content["images"]:
    for entry in content["annotations"]:
      if entry["image_id"] != image["id"]:
        continue
      if entry["iscrowd"] or entry["area"] <= 0 or entry["num_keypoints"] == 0:
        continue
      if not any(entry["keypoints"]):
        continue
      x0, y0 = max(entry["bbox"][0], 0), max(entry["bbox"][1], 0)
      x1, y1 = x0 + entry["bbox"][2] - 1, y0 + entry["bbox"][3] - 1
      x1, y1 = min(x1, image["width"] - 1), min(y1, image["height"] - 1)
      if x1 <= x0 or y1 <= y0:
        continue
      box = (x0, y0, x1 - x0, y1 - y0)
      found[names[entry["category_id"]]].append((entry["id"], box, entry["keypoints"]))
  return found


def test_objects_equal_the_facts(file):
  slow = _slow_objects(mp100_files.content())
  assert list(file.categories) == list(slow)
  for name, objects in file.categories.items():
    assert [(x.object_id, x.box) for x in objects] == [x[:2] for x in slow[name]]
    for ours, (_, _, values) in zip(objects, slow[name]):
      np.testing.assert_array_equal(ours.visible, np.array(values[2::3]) > 0)
      np.testing.assert_array_equal(ours.keypoints[:, 1], values[1::3])
  assert len(list(file.objects())) == CATEGORIES * PER_CATEGORY
  assert any(min(x.box[:2]) == 0 for x in file.categories["category 0"])  # clipped


@pytest.mark.parametrize("shots", [1, 5])
def test_pairs_are_those_of_the_seeded_stream(file, shots):
  found = pairs.draw(file, shots, episodes=7)
  random.seed(1)
  for number, (name, objects) in enumerate(
    _slow_objects(mp100_files.content()).items()
  ):
    for i in range(7):
      ids = [x[0] for x in random.sample(objects, shots + 15)]
      episode = found[7 * number + i]
      assert episode.category == name
      assert [x.object_id for x in episode.support] == ids[:shots]
      assert [x.object_id for x in episode.queries] == ids[shots:]
  assert len(found) == 7 * CATEGORIES


def test_the_manifest_changes_with_one_object(file, tmp_path):
  first = pairs.manifest(pairs.draw(file, 1, 3))
  assert first == pairs.manifest(pairs.draw(file, 1, 3))
  content = mp100_files.content()
  content["images"].pop(50)
  gone = {x["id"] for x in content["images"]}
  content["annotations"] = [x for x in content["annotations"] if x["image_id"] in gone]
  path = tmp_path / "less.json"
  path.write_text(json.dumps(content))
  less = mp100.read(path)
  assert pairs.manifest(pairs.draw(less, 1, 3))["sha256"] != first["sha256"]


def test_too_few_objects_are_named(file):
  with pytest.raises(ValueError, match="'category 0' has 24 objects"):
    pairs.draw(file, 10, 1)


def _random_pairs(file, shots):
  """Pairs whose distances are drawn: half of them near the thresholds."""
  rng, rows = np.random.default_rng(shots), []
  for number, episode in enumerate(pairs.draw(file, shots, 4)):
    seen = np.all([x.visible for x in episode.support], axis=0)
    for query in episode.queries:
      valid = np.zeros(100, bool)
      valid[: len(seen)] = seen & query.visible
      size = max(query.box[2:])
      distances = size * rng.choice([0.0, 0.049, 0.05, 0.12, 0.2, 0.3, 0.9], 100)
      rows.append((distances, valid, size, episode.category, number))
  return Pairs(*map(np.array, zip(*rows)))


@pytest.mark.parametrize("shots", [1, 5])
def test_metrics_equal_a_slow_reference(file, shots):
  given = _random_pairs(file, shots)
  rows = {k: [] for k in ("0.05", "0.2", "mpck", "mpck_to_0.2", "auc", "nme", "epe")}
  for distances, valid, size in zip(given.distances, given.valid, given.size):
    chosen = [d for d, v in zip(distances, valid) if v]

    def part(threshold, chosen=chosen, size=size):
      if not chosen:
        return 0.0
      return sum(d / size < threshold for d in chosen) / len(chosen)

    five = [part(t) for t in (0.05, 0.1, 0.15, 0.2, 0.25)]
    rows["0.05"].append(five[0])
    rows["0.2"].append(five[3])
    rows["mpck"].append(sum(five) / 5)
    rows["mpck_to_0.2"].append(sum(five[:4]) / 4)
    rows["auc"].append(sum(part(i / 20) / 20 for i in range(20)))
    rows["nme"].append(sum(d / size for d in chosen) / max(len(chosen), 1))
    rows["epe"].append(sum(chosen) / max(len(chosen), 1))
  names = {f"category {c}": tuple(f"k{i}" for i in range(3 + c)) for c in range(5)}
  found = metrics.summary(given, names)
  assert found["empty_pairs"] == sum(not v.any() for v in given.valid) > 0
  for name, values in rows.items():
    ours = found["pck"].get(name) or found[name]
    np.testing.assert_allclose(ours["mean"], np.mean(values), rtol=1e-12)
    assert ours["bootstrap95"][0] <= ours["mean"] <= ours["bootstrap95"][1]
  one = found["per_category"]["category 2"]["keypoints"]
  members = given.category == "category 2"
  assert one
  for name, scores in one.items():
    column = int(name[1:])
    valid = given.valid[members, column]
    near = given.distances[members, column] / given.size[members] < 0.2
    assert scores["count"] == valid.sum()
    np.testing.assert_allclose(scores["pck 0.2"], near[valid].mean())


def test_more_shots_leave_fewer_keypoints(file):
  one, five = (_random_pairs(file, shots).valid.mean() for shots in (1, 5))
  assert five < one


@pytest.fixture(scope="module")
def model(trained):
  cfg, _, state = trained
  return Model(cfg, {"params": state.params, "batch_stats": state.batch_stats})


@pytest.mark.slow
@pytest.mark.parametrize("shots", [1, 3])
def test_any_batch_size_gives_the_same_and_equals_pair_by_pair(
  file, folder, model, monkeypatch, shots
):
  episodes, images = pairs.draw(file, shots, 2), folder / "images"
  detector = evaluation.detector_of(model)
  found = evaluation.evaluate(detector, episodes, images)
  for module in (batches, prediction_detector):
    monkeypatch.setattr(module, "QUERY_BATCH", 4)
  again = evaluation.evaluate(evaluation.detector_of(model), episodes, images)
  for ours, theirs in zip(found, again):
    if ours.dtype.kind == "f":
      np.testing.assert_allclose(ours, theirs, atol=1e-3)
    else:
      np.testing.assert_array_equal(ours, theirs)
  # One pair by hand, from files to its distances.
  episode, row = episodes[3], 3 * 15 + 6
  query = episode.queries[6]
  used = [x for x in episode.support if np.isfinite(evaluation._shown(x)).any()]
  support = detector.support(
    [images / x.image for x in used],
    [evaluation._shown(x) for x in used],
    [x.box for x in used],
  )
  alone = detector.predict(support, [images / query.image], [query.box]).keypoints[0]
  number = len(query.visible)
  expected = np.hypot(*(alone - query.keypoints).T)
  shown = np.isfinite(expected)
  np.testing.assert_allclose(
    found.distances[row, :number][shown], expected[shown], atol=1e-3
  )
  seen = np.all([x.visible for x in episode.support], axis=0) & query.visible
  np.testing.assert_array_equal(found.valid[row, :number], seen)
  assert found.size[row] == max(query.box[2:])


def test_validation_files_have_half_the_episodes():
  assert pairs.episodes_of(pathlib.Path("a/mp100_split3_val.json")) == 100
  assert pairs.episodes_of(pathlib.Path("a/mp100_split3_test.json")) == 200


def test_what_no_support_shows_lies_at_the_centre_of_the_crop(file, folder, model):
  """A support whose keypoint is outside its image is of no use, and does no harm."""
  episode = pairs.draw(file, 1, 1)[0]
  support = episode.support[0]
  outside = np.full_like(support.keypoints, SIDE + 1.0)
  lost = support._replace(keypoints=outside, visible=np.ones(len(outside), bool))
  assert np.isnan(evaluation._shown(lost)).all()
  query = episode.queries[0]
  for shown in (query, query._replace(box=(3.0, 2.0, 7.0, 11.0))):
    given = episode._replace(support=(lost,), queries=(shown,))
    data = evaluation.detector_of(model).config.data
    matrix = augment.evaluation_crops(np.array([shown.box]), data)
    middle = np.full((1, 1, 2), (data.image_size - 1) / 2)
    expected = geometry.apply_affine(matrix, middle)[0, 0]
    found = evaluation._predict(evaluation.detector_of(model), given, folder / "images")
    np.testing.assert_allclose(found[0], np.tile(expected, (3, 1)), atol=1e-4)


@pytest.mark.parametrize(
  "place, change, message",
  [
    (
      "annotations",
      {"keypoints": [1, 2, 2, 3]},
      "annotation .*: keypoints is 4 values",
    ),
    ("annotations", {"bbox": [1, 2, 3]}, "annotation .*: bbox is 3 values, expected 4"),
    ("annotations", {"bbox": [1, 2, 3, "x"]}, "annotation .*: bbox holds something"),
    ("annotations", {"image_id": None}, "annotation .*: image_id is None"),
    ("annotations", {"id": None}, "annotation None: id is None"),
    ("annotations", {"area": "x"}, "annotation .*: area is 'x', expected a number"),
    ("images", {"width": None}, "image .*: width is None"),
    ("images", {"file_name": None}, "image .*: file_name is None"),
    ("categories", {"keypoints": []}, "category .*: keypoints is \\[\\], expected 1"),
    (
      "categories",
      {"name": "category 1"},
      "category name 'category 1' occurs more than once",
    ),
  ],
)
def test_a_malformed_file_is_told_in_one_sentence(tmp_path, place, change, message):
  content = mp100_files.content()
  content[place][0] |= change
  path = tmp_path / "damaged.json"
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match=f"damaged.json: {message}") as error:
    mp100.read(path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["bbox", "keypoints"])
def test_objects_without_box_or_keypoints_are_left_out(tmp_path, key):
  content = mp100_files.content()
  whole = next(x for x in content["annotations"] if x["id"] < 5000)
  del whole[key]
  path = tmp_path / "less.json"
  path.write_text(json.dumps(content))
  ids = {x.object_id for x in mp100.read(path).objects()}
  assert whole["id"] not in ids and len(ids) == CATEGORIES * PER_CATEGORY - 1


def test_lost_images_say_why(file, folder, tmp_path):
  shutil.copytree(folder / "images", tmp_path / "images")
  missing, broken, large, turned = [*{x.image for x in file.objects()}][:4]
  (tmp_path / "images" / missing).unlink()
  (tmp_path / "images" / broken).write_bytes(b"no picture")
  Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "images" / large)
  # A viewer turns it: what is annotated is what it shows.
  exif = Image.Exif()
  exif[ExifTags.Base.Orientation] = 6
  picture = Image.new("RGB", (SIDE - 4, SIDE))
  picture.save(tmp_path / "images" / turned, exif=exif)
  assert mp100.lost_images(file, mp100.image_root(folder)) == {}
  assert mp100.lost_images(file, mp100.image_root(tmp_path)) == {
    missing: "missing",
    broken: "unreadable",
    large: "48 x 48 pixels, annotated as 48 x 44",
  }


@pytest.fixture
def command(folder, trained, tmp_path):
  """A function: content of the annotations, and arguments -> exit status."""

  def run(content, *arguments):
    path = tmp_path / "mp100_split1_test.json"
    path.write_text(json.dumps(content))
    paths = ["--annotations", str(path), "--images", str(folder)]
    out = ["--out", str(tmp_path / "out")]
    return main.main(["mp100", "--workdir", str(trained[1]), *paths, *out, *arguments])

  return run


def test_the_command_stops_on_lost_images_and_stamps_the_coverage(
  command, tmp_path, capsys
):
  content, out = mp100_files.content(), tmp_path / "out"
  content["images"][3]["file_name"] = "c3/lost.png"
  assert command(content, "--episodes", "1") == 2
  assert "1 images in" in (told := capsys.readouterr().err) and "c3/lost.png" in told
  assert not out.exists()
  assert command(content, "--episodes", "1", "--coverage") == 0
  results = json.loads((out / "results.json").read_text())
  assert results["protocol"] == "MP-100, not the reference's pairs"
  assert results["coverage"] == {
    "objects": 119, "of": 120, "lost_images": {"c3/lost.png": "missing"}
  }  # fmt: skip
  told = capsys.readouterr().out
  assert "119 of 120 objects used; 1 images cannot be: c3/lost.png (missing)" in told
  manifest = json.loads((out / "manifest.json").read_text())
  assert manifest["sha256"] == results["manifest"]
  assert results["pairs"] == 15 * CATEGORIES
  # What is there is kept.
  assert command(content, "--coverage") == 2
  assert "out exists already" in capsys.readouterr().err
  assert json.loads((out / "results.json").read_text()) == results


def test_only_the_pairs_of_the_reference_are_called_so(
  command, monkeypatch, tmp_path, capsys
):
  monkeypatch.setattr(pairs, "episodes_of", lambda path: 1)
  assert command(mp100_files.content()) == 0
  results = json.loads((tmp_path / "out" / "results.json").read_text())
  assert results["protocol"] == "MP-100 reference pairs" and results["episodes"] == 1
  # The same folder tells `fskd compare-runs` all that it needs.
  records = episode_record.read(tmp_path / "out")
  record = records["settings"]["mp100_split1_test"]
  assert record["species"] == [f"category {i}" for i in range(CATEGORIES)]
  for threshold, values in record["scores"]["detector"]["pck"].items():
    assert np.mean(values) == pytest.approx(results["pck"][threshold]["mean"], abs=1e-6)
  for ours, theirs in (("ne", "nme"), ("auc", "auc")):
    mean = np.mean(record["scores"]["detector"][ours])
    assert mean == pytest.approx(results[theirs]["mean"], abs=1e-6)
  better = copy.deepcopy(records)
  scores = better["settings"]["mp100_split1_test"]["scores"]["detector"]["pck"]
  scores["0.1"] = [x + 0.1 for x in scores["0.1"]]
  (tmp_path / "b").mkdir()
  (tmp_path / "b" / episode_record.FILE).write_text(json.dumps(better))
  capsys.readouterr()
  assert main.main(["compare-runs", str(tmp_path / "out"), str(tmp_path / "b")]) == 0
  told = capsys.readouterr().out
  assert "B is better by 10.0 points (10.0 to 10.0)" in told and "5 species" in told
