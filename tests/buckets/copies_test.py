"""Buckets of S3 and Google on this machine, which fail now and then."""

import pathlib

import pytest

from fskd_jax.buckets import copies

BOTH = pytest.mark.parametrize("store", ["s3", "gs"], indirect=True)


def _write(folder: pathlib.Path):
  contents = {"a.txt": b"one", "deep/b.bin": bytes(range(256)) * 40, "deep/c": b""}
  for name, content in contents.items():
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
  return contents


def _sent(scheme, folder):
  contents = _write(folder)
  bucket = copies.Bucket(f"{scheme}://store/data")
  for name in contents:
    bucket.write(name, folder / name)
  return bucket, contents


@BOTH
def test_a_folder_there_is_a_folder_here_and_is_read_once(store, tmp_path):
  scheme, proxy = store
  bucket, contents = _sent(scheme, tmp_path / "own")
  place = copies.local(f"{scheme}://store/data")
  assert {n: (place / n).read_bytes() for n in contents} == contents
  assert place.name == "data"
  (place / "a.txt").write_bytes(
    b"two"
  )  # as it is, as long as the bucket does not change
  assert (copies.local(f"{scheme}://store/data") / "a.txt").read_bytes() == b"two"
  (tmp_path / "own" / "a.txt").write_bytes(b"three")
  bucket.write("a.txt", tmp_path / "own" / "a.txt")
  assert (copies.local(f"{scheme}://store/data") / "a.txt").read_bytes() == b"three"
  one = copies.local(pathlib.PurePosixPath(f"{scheme}://store/data/deep/b.bin"))
  assert one.name == "b.bin" and one.read_bytes() == contents["deep/b.bin"]


@BOTH
@pytest.mark.parametrize("fault", ["503", "cut", "lost"])
def test_a_store_that_fails_now_and_then_loses_nothing(store, tmp_path, fault):
  scheme, proxy = store
  folder = tmp_path / "own"
  contents = _write(folder)
  bucket = copies.Bucket(f"{scheme}://store/data")
  name, back = "deep/b.bin", tmp_path / "back"
  proxy.plan = [fault]
  bucket.write(name, folder / name)
  proxy.plan = ["", fault]
  bucket.read(name, back)
  assert back.read_bytes() == contents[name]
  assert len(proxy.happened) == 2 and not [*tmp_path.rglob("*.part")]
  assert bucket.listing()[name][0] == len(contents[name])


@BOTH
def test_what_is_not_there_is_named(store, tmp_path):
  scheme, _ = store
  with pytest.raises(
    FileNotFoundError, match=f"there is nothing at {scheme}://store/no"
  ):
    copies.local(f"{scheme}://store/no")
  with pytest.raises(FileNotFoundError, match=f"cannot read {scheme}://store/x/y"):
    copies.Bucket(f"{scheme}://store/x").read("y", tmp_path / "y")


def test_a_library_that_is_missing_is_named(monkeypatch):
  monkeypatch.setitem(copies._LIBRARIES, "s3", "s3fs_that_is_not_there")
  with pytest.raises(ImportError, match=r"pip install -e '.\[s3\]'"):
    copies.local("s3://store/x")


@pytest.mark.parametrize("path", ["runs/x", "/a/gs://b", "C:/run", "a b:/c"])
def test_paths_of_this_machine_stay_as_they_are(path):
  assert not copies.is_address(path)
  assert copies.local(path) == pathlib.Path(path)
