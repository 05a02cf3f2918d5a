"""The door to the disk: whole files or none, appended lines, hostile JSON."""

import resource
import threading

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from fskd_jax import files


@pytest.fixture
def full_disk():
  """Lets no file of this process grow beyond 100 bytes."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _content(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_comes_whole_with_its_folder(tmp_path):
  path = tmp_path / "a" / "b" / "x.json"
  files.write_json(path, {"é": [1, None]})
  assert files.read_json(path) == {"é": [1, None]}
  files.write_json(path, [1, 2], indent=None)
  assert _content(path.parent) == {"x.json": b"[1, 2]\n"}


def test_what_fails_leaves_the_file_before_it(tmp_path, full_disk):
  path = tmp_path / "x.txt"
  files.write_text(path, "before")
  with pytest.raises(OSError, match=r"x\.txt cannot be written: File too large"):
    files.write_bytes(path, bytes(1000))
  assert _content(tmp_path) == {"x.txt": b"before"}


def test_a_reader_never_sees_half_a_file(tmp_path):
  path, contents = tmp_path / "x", [b"a" * 10**6, b"b" * 10**6]
  files.write_bytes(path, contents[0])

  def write():
    for number in range(50):
      files.write_bytes(path, contents[number % 2])

  writer = threading.Thread(target=write)
  writer.start()
  while writer.is_alive():
    assert path.read_bytes() in contents
  writer.join()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(OSError, match=r"file/x\.txt cannot be written"):
    files.write_text(tmp_path / "file" / "x.txt", "")


def test_an_atomic_path_takes_files_and_folders_but_no_missing_parent(tmp_path):
  with files.atomic_path(tmp_path / "folder") as unfinished:
    unfinished.mkdir()
    (unfinished / "x").write_text("1")
  with pytest.raises(RuntimeError):
    with files.atomic_path(tmp_path / "other") as unfinished:
      unfinished.mkdir()
      raise RuntimeError
  assert [path.name for path in tmp_path.iterdir()] == ["folder"]
  with pytest.raises(FileNotFoundError, match="there is no folder"):
    with files.atomic_path(tmp_path / "none" / "x"):
      pass


@pytest.mark.parametrize("name", ("x.png", "x", "x.JPG", "x.webp"))
def test_pictures_have_the_format_of_their_suffix(tmp_path, name):
  pixels = np.full((8, 12, 3), (200, 30, 60), np.uint8)
  formats = {".jpg": "JPEG", ".webp": "WEBP"}
  for picture in (pixels, Image.fromarray(pixels)):
    files.write_picture(tmp_path / name, picture)
    with Image.open(tmp_path / name) as image:
      assert image.format == formats.get((tmp_path / name).suffix.lower(), "PNG")
      assert np.abs(np.asarray(image).astype(int) - pixels).max() < 8


def test_figures_are_drawn_in_any_format(tmp_path):
  figure = matplotlib.figure.Figure((2, 1))
  files.write_picture(tmp_path / "x.png", figure)
  files.write_picture(tmp_path / "x.svg", figure)
  assert Image.open(tmp_path / "x.png").size == (200, 100)
  assert b"<svg" in (tmp_path / "x.svg").read_bytes()
  with pytest.raises(ValueError, match="xyz"):
    files.write_picture(tmp_path / "x.xyz", figure)


def test_lines_are_appended_by_several_writers_at_once(tmp_path):
  path = tmp_path / "new" / "x.jsonl"
  with pytest.raises(FileNotFoundError, match="there is no file"):
    files.read_lines(path)
  expected = {
    f"{writer} {'x' * 500} {line}" for writer in range(4) for line in range(50)
  }

  def write(writer):
    for line in range(50):
      files.append_text(path, f"{writer} {'x' * 500} {line}\n")

  writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
  for thread in writers:
    thread.start()
  for thread in writers:
    thread.join()
  assert {line.decode() for line in files.read_lines(path)} == expected


def test_a_new_folder_is_there_once_it_is_whole(tmp_path):
  path = tmp_path / "above" / "new"
  with pytest.raises(KeyError), files.new_folder(path) as folder:
    (folder / "a").write_bytes(b"1")
    raise KeyError
  assert list(path.parent.iterdir()) == []
  with files.new_folder(path) as one, files.new_folder(path.with_name("b")) as other:
    (one / "a").write_bytes(b"1")
    assert not path.exists() and one != other
  assert _content(path) == {"a": b"1"}
  with pytest.raises(OSError), files.new_folder(path) as folder:
    (folder / "a").write_bytes(b"2")
  assert _content(path) == {"a": b"1"}
  assert sorted(x.name for x in path.parent.iterdir()) == ["b", "new"]


def test_a_line_that_is_cut_off_is_an_error(tmp_path, full_disk):
  files.append_text(tmp_path / "x", "a" * 80 + "\n")
  with pytest.raises(OSError, match=r"x cannot be written: it was cut off"):
    files.append_text(tmp_path / "x", "b" * 80 + "\n")


@pytest.mark.parametrize("content", (b"{", b"\xff", b"[" * 10**5, b""))
def test_json_that_is_none_names_its_file(tmp_path, content):
  (tmp_path / "x.json").write_bytes(content)
  with pytest.raises(ValueError, match=r"x\.json: not valid JSON"):
    files.read_json(tmp_path / "x.json")
