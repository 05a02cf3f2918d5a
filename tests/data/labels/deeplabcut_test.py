"""DeepLabCut: tables of every layout, H5 of both kinds, whole and renamed projects."""

import pickle

import h5py
import numpy as np
import pytest
from PIL import Image

from fskd_jax.data.labels import deeplabcut_project, formats, individuals, plain_pickle

POINTS = {"nose": (10, 20), "tail": (3.5, 4)}
BODY = "10,20,3.5,4"


def _csv(index, *, blanks=0, separator=",", row=BODY):
  cells = ["", *[""] * blanks]
  rows = [
    ["scorer", *cells[1:], "me", "me", "me", "me"],
    ["bodyparts", *cells[1:], "nose", "nose", "tail", "tail"],
    ["coords", *cells[1:], "x", "y", "x", "y"],
  ]
  lines = [separator.join(cells) for cells in rows]
  if separator != ",":
    row = row.replace(",", separator).replace(".", ",")
  return "\n".join([*lines, f"{index}{separator}{row}"]) + "\n"


def _points(labels, place=0):
  (found,) = labels.images[place].objects
  return {name: (point.x, point.y) for name, point in found.keypoints.items()}


@pytest.mark.parametrize(
  "index, blanks, separator",
  [
    ("labeled-data/clip/a.png", 0, ","),
    ("labeled-data\\clip\\a.png", 0, ","),
    ("C:\\Users\\me\\project\\labeled-data\\clip\\a.png", 0, ","),
    ("labeled-data/clip,a.png", 1, ","),
    ("labeled-data,clip,a.png", 2, ","),
    ("labeled-data;clip;a.png", 2, ";"),
    ("labeled-data\tclip\ta.png", 2, "\t"),
  ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_index_of_one_two_and_three_levels(
  index, blanks, separator, encoding, tmp_path
):
  path = tmp_path / "CollectedData_me.csv"
  text = _csv(index, blanks=blanks, separator=separator)
  path.write_text(text, encoding=encoding)
  labels = formats.read(path)
  assert [image.name for image in labels.images] == ["labeled-data/clip/a.png"]
  assert _points(labels) == POINTS


def test_a_row_that_names_the_index_is_no_image(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text(_csv("a.png").replace("a.png", "image,,,,\na.png"))
  assert [image.name for image in formats.read(path).images] == ["a.png"]


def _several(parts, rows):
  """Returns a table of individuals that have all the body parts, as DeepLabCut does."""
  animals = [*dict.fromkeys(animal for row in rows for animal in row)]
  columns = [(a, p, axis) for a in animals for p in parts for axis in "xy"]
  lines = [
    ",".join([level, *cells])
    for level, cells in zip(("individuals", "bodyparts", "coords"), zip(*columns))
  ]
  for number, row in enumerate(rows):
    cells = [
      str(i) if p in row.get(a, ()) else "" for i, (a, p, _) in enumerate(columns)
    ]
    lines.append(",".join([f"labeled-data/clip/{number}.png", *cells]))
  return "\n".join(["scorer" + ",me" * len(columns), *lines]) + "\n"


def test_individuals_with_parts_of_their_own_are_species(tmp_path):
  rows = [{"arm": ("joint", "base"), "person": ("head", "hip")}] * 9
  rows.append({"arm": ("joint", "base", "head"), "person": ("head",)})  # one mistake
  path = tmp_path / "a.csv"
  path.write_text(_several(["joint", "base", "head", "hip"], rows))
  labels = formats.read(path)
  assert labels.categories["person"].keypoints == ("head", "hip")
  assert labels.categories["arm"].keypoints == ("joint", "base", "head")
  for image, row in zip(labels.images, rows):
    assert {o.species: tuple(o.keypoints) for o in image.objects} == row


@pytest.mark.parametrize("names", [("black", "white"), ("mouse1", "mouse2")])
def test_individuals_that_share_parts_are_one_species(names, tmp_path):
  one, two = names
  rows = [{one: ("nose", "tail"), two: ("tail", "ear")}, {one: ("ear",)}]
  path = tmp_path / "a.csv"
  path.write_text(_several(["nose", "tail", "ear"], rows))
  labels = formats.read(path)
  assert [*labels.categories] == [""]
  assert [len(image.objects) for image in labels.images] == [2, 1]


def test_numbered_individuals_may_have_no_label_in_common():
  parts = {"m1": ["a", "b"], "m2": ["a", "b"], "single": ["c"]}
  found = individuals.species_of(parts, {"m1": {"a": 1}, "m2": {"b": 9}, "single": {}})
  assert found.of == {"m1": "", "m2": "", "single": "single"}
  assert found.parts == {"": ("a", "b"), "single": ("c",)}


def _table(path, columns, rows, index, protocol=0):
  """Writes the "table" kind as pandas did: column names are pickled lists."""

  def pickled(value):
    return np.bytes_(pickle.dumps(value, protocol))

  names = ["scorer", "bodyparts", "coords"]
  kind = [("index", index.dtype.str), ("values_block_0", "<f8", (len(columns),))]
  records = np.zeros(len(rows), kind)
  records["index"], records["values_block_0"] = index, rows
  with h5py.File(path, "w") as file:
    group = file.create_group("df_with_missing")
    group.attrs["pandas_type"] = np.bytes_("frame_table")
    group.attrs["non_index_axes"] = pickled([(1, columns)])
    group.attrs["info"] = pickled({1: {"names": names, "type": "MultiIndex"}})
    group.attrs["values_cols"] = pickled(["values_block_0"])
    data = group.create_dataset("table", data=records)
    data.attrs["values_block_0_kind"] = pickled(columns[::-1])


COLUMNS = [("me", name, axis) for name in POINTS for axis in ("x", "y")]
REVERSED = [[4, 3.5, 20, 10]]


def test_the_table_kind_of_h5_is_read_by_the_columns_of_its_blocks(tmp_path):
  path = tmp_path / "CollectedData_me.h5"
  _table(path, COLUMNS, REVERSED, np.array([b"labeled-data\\clip\\a.png"]))
  labels = formats.read(path)
  assert labels.images[0].name == "labeled-data/clip/a.png"
  assert _points(labels) == POINTS
  _table(path, COLUMNS, REVERSED, np.array([7]))  # of `analyze_videos`
  assert formats.read(path).images[0].name == 7


def test_the_table_kind_of_h5_is_what_pandas_writes(tmp_path):
  pytest.importorskip("tables", reason="pandas writes H5 with PyTables: not installed")
  pandas = pytest.importorskip("pandas", reason="pandas is not installed")
  columns = pandas.MultiIndex.from_tuples(
    COLUMNS, names=["scorer", "bodyparts", "coords"]
  )
  index = ["labeled-data/clip/a.png", "labeled-data/clip/b.png"]
  frame = pandas.DataFrame([[10, 20, 3.5, 4], [1, 2, np.nan, np.nan]], index, columns)
  frame[COLUMNS[0]] = frame[COLUMNS[0]].astype(int)
  path = tmp_path / "a.h5"
  frame.to_hdf(path, key="df_with_missing", format="table")
  labels = formats.read(path)
  assert [image.name for image in labels.images] == index
  assert (_points(labels), _points(labels, 1)) == (POINTS, {"nose": (1, 2)})


class _Calls:
  def __reduce__(self):
    return (print, ("called",))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_pickles_are_parsed_and_others_refused(protocol, capsys):
  names = ["é", "a" * 300, ""]
  value = {1: {"names": names, "type": None}, "b": [(1, [("a", "x"), ("a", "y")])]}
  value["c"] = (1.5, -3, 2**40, True, (), {}, [], names)
  assert plain_pickle.parse(pickle.dumps(value, protocol)) == value
  for harmful in (_Calls(), [_Calls()], np.float64, {1: {2}}):
    with pytest.raises(ValueError, match="instruction"):
      plain_pickle.parse(pickle.dumps(harmful, protocol))
  assert capsys.readouterr().out == ""
  data = pickle.dumps(value, protocol)
  for end in range(len(data)):
    with pytest.raises(ValueError):
      plain_pickle.parse(data[:end])


def test_a_table_whose_names_are_no_texts_is_refused(tmp_path):
  path = tmp_path / "a.h5"
  _table(path, [_Calls()] * 4, REVERSED, np.array([7]))
  with pytest.raises(ValueError, match=r"a\.h5: .*instruction"):
    formats.read(path)
  _table(path, [1, 2, 3, 4], REVERSED, np.array([7]))
  with pytest.raises(ValueError, match="not texts"):
    formats.read(path)


@pytest.fixture
def project(tmp_path):
  """A project of two clips, one with CSV and H5, one with CSV only."""
  for clip in ("one", "two"):
    folder = tmp_path / "project" / "labeled-data" / clip
    folder.mkdir(parents=True)
    Image.new("RGB", (40, 30)).save(folder / "a.png")
    index = f"labeled-data/{clip}/a.png"
    (folder / "CollectedData_me.csv").write_text(_csv(index))
  folder = tmp_path / "project" / "labeled-data" / "one"
  _table(
    folder / "CollectedData_me.h5",
    COLUMNS,
    REVERSED,
    np.array([b"labeled-data\\one\\a.png"]),
  )
  config = "scorer: me\nskeleton:\n- - nose\n  - tail\n- - nose\n  - wing\n"
  (tmp_path / "project" / "config.yaml").write_text(config)
  return tmp_path / "project"


def test_a_project_is_its_folder_its_config_and_its_labeled_data(project):
  for path in (project, project / "config.yaml", project / "labeled-data"):
    assert deeplabcut_project.root(path) == project
    labels = deeplabcut_project.read(path)
    names = ["labeled-data/one/a.png", "labeled-data/two/a.png"]
    assert [image.name for image in labels.images] == names
    assert [_points(labels, i) for i in range(2)] == [POINTS] * 2
    assert labels.categories[""].skeleton == (("nose", "tail"),)
  assert deeplabcut_project.root(project / "labeled-data" / "one" / "a.png") is None


def test_renamed_clips_are_those_beside_their_tables(project):
  clips = project / "labeled-data"
  (clips / "one").rename(clips / "renamed")
  labels = deeplabcut_project.read(project)
  names = ["labeled-data/renamed/a.png", "labeled-data/two/a.png"]
  assert [image.name for image in labels.images] == names


def test_an_image_that_may_be_either_of_two_is_refused(project):
  one, two = (project / "labeled-data" / clip for clip in ("one", "two"))
  (two / "CollectedData_me.csv").write_text(_csv("labeled-data/one/a.png"))
  labels = formats.read(two / "CollectedData_me.csv")  # the same picture in both
  assert labels.images[0].name == "labeled-data/two/a.png"
  Image.new("RGB", (40, 30), "red").save(one / "a.png")
  with pytest.raises(ValueError, match="which one was labelled"):
    formats.read(two / "CollectedData_me.csv")


def test_the_h5_wins_over_the_csv_with_a_warning(project, caplog):
  path = project / "labeled-data" / "one" / "CollectedData_me.csv"
  path.write_text(_csv("labeled-data/one/a.png", row="11,20,3.5,4"))
  assert _points(deeplabcut_project.read(project)) == POINTS
  assert "differs from the .csv" in caplog.text
  path.with_suffix(".h5").write_bytes(b"no HDF5")
  assert _points(deeplabcut_project.read(project))["nose"] == (11, 20)
  assert "is read instead" in caplog.text


def test_of_several_scorers_that_of_the_project_is_read(project):
  folder = project / "labeled-data" / "two"
  (folder / "CollectedData_other.csv").write_text(
    _csv("labeled-data/two/a.png", row="1,2,3,4")
  )
  assert _points(deeplabcut_project.read(project), 1) == POINTS
  (project / "config.yaml").unlink()
  with pytest.raises(ValueError, match="two has CollectedData_me, CollectedData_other"):
    deeplabcut_project.read(project)


@pytest.mark.parametrize(
  "text, problem",
  [("a: &a [x]\nb: [*a, *a]\n", "aliases"), ("[1, 2]", "names"), ("a: [", "YAML")],
)
def test_settings_that_are_no_plain_yaml_are_refused(text, problem, project):
  (project / "config.yaml").write_text(text)
  with pytest.raises(ValueError, match=problem) as error:
    deeplabcut_project.read(project)
  assert "\n" not in str(error.value) and "config.yaml" in str(error.value)


def test_the_table_of_lightning_pose_beside_the_clips(project):
  for clip in ("one", "two"):
    for table in (project / "labeled-data" / clip).glob("CollectedData*"):
      table.unlink()
  (project / "CollectedData.csv").write_text(_csv("labeled-data/one/a.png"))
  assert _points(deeplabcut_project.read(project)) == POINTS


def test_columns_of_visibility_are_read_by_their_short_names(tmp_path):
  path = tmp_path / "a.csv"
  path.write_text("image, nose_x, nose_y, nose_v\na.png, 3, 4, 1\nb.png, 0, 0, 0\n")
  first, second = formats.read(path).images
  assert first.objects[0].keypoints["nose"].occluded and not second.objects
