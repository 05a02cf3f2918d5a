"""A workdir in a bucket: complete there, or as if it were not there."""

import fsspec
import pytest
from helpers import shapes

from fskd_jax import experiment
from fskd_jax.buckets import copies, lease, mirror
from fskd_jax.training.runs import load_run

RUN = "s3://store/runs/one"


def _checkpoint(folder, step, name=str):
  place = folder / "checkpoints" / name(step)
  (place / "model").mkdir(parents=True)
  (place / "model" / "array").write_bytes(bytes([step]) * 1000)
  (place / "_CHECKPOINT_METADATA").write_text("{}")


def _there():
  found = fsspec.filesystem("s3", use_listings_cache=False).find("store/runs/one")
  return {key.removeprefix("store/runs/one/") for key in found}


def _move(monkeypatch, tmp_path):
  """Goes on as another machine, which has no copy."""
  monkeypatch.setenv("FSKD_BUCKETS", str(tmp_path / "another"))


def test_what_is_written_is_found_by_another_machine(store, tmp_path, monkeypatch):
  with mirror.mirrored(RUN, is_training=True) as folder:
    (folder / "metrics.jsonl").write_text("1\n")
    for step in (1, 2):
      _checkpoint(folder, step)
    _checkpoint(folder, 3, "{}.orbax-checkpoint-tmp-1".format)
    (folder / "x.part").touch()
  complete = {f"checkpoints/{s}/{n}" for s in (1, 2) for n in ("model/array",)}
  complete |= {f"checkpoints/{s}/_CHECKPOINT_METADATA" for s in (1, 2)}
  assert _there() == complete | {"metrics.jsonl"}
  _move(monkeypatch, tmp_path)
  with mirror.mirrored(RUN, is_training=True) as other:
    assert other != folder and (other / "metrics.jsonl").read_text() == "1\n"
    assert (other / "checkpoints/2/model/array").read_bytes() == b"\2" * 1000
    (other / "metrics.jsonl").write_text("1\n2\n")
    _checkpoint(other, 4)
    for path in sorted((other / "checkpoints" / "1").rglob("*"), reverse=True):
      path.unlink() if path.is_file() else path.rmdir()
  assert {n.split("/")[1] for n in _there() if "/" in n} == {"2", "4"}
  with mirror.mirrored(RUN) as read:
    assert (read / "metrics.jsonl").read_text() == "1\n2\n"


def test_a_checkpoint_that_was_cut_off_does_not_count(store, tmp_path, monkeypatch):
  with mirror.mirrored(RUN, is_training=True) as folder:
    _checkpoint(folder, 1)
    _checkpoint(folder, 2)
  bucket = copies.Bucket(RUN)
  bucket.remove("checkpoints/2/_CHECKPOINT_METADATA")
  _move(monkeypatch, tmp_path)
  with mirror.mirrored(RUN) as other:
    assert [path.name for path in (other / "checkpoints").iterdir()] == ["1"]


def test_a_store_that_went_away_gets_what_it_missed_the_next_time(store, monkeypatch):
  def fail(bucket, name, source):
    raise OSError(f"cannot write {bucket.address}/{name}: gone")

  last = "checkpoints/7/_CHECKPOINT_METADATA"
  with monkeypatch.context() as away, pytest.raises(OSError, match=f"{RUN}.*gone"):
    with mirror.mirrored(RUN, is_training=True) as folder:
      _checkpoint(folder, 7)
      away.setattr(copies.Bucket, "write", fail)
  assert last not in _there()
  with mirror.mirrored(RUN, is_training=True) as again:
    assert again == folder
  assert last in _there()


def test_one_training_writes(store, tmp_path, monkeypatch):
  gone = pytest.raises(FileNotFoundError, match="another training has taken over and")
  with gone, mirror.mirrored(RUN, is_training=True):
    _move(monkeypatch, tmp_path)
    monkeypatch.setattr(lease, "_machine", lambda: "elsewhere")
    with pytest.raises(ValueError, match="training is running in s3://store.*ago"):
      with mirror.mirrored(RUN, is_training=True):
        pass
    monkeypatch.setattr(lease, "_PERIODS", 0)  # its lease has run out
    with mirror.mirrored(RUN, is_training=True):
      pass


@pytest.mark.slow
def test_a_run_goes_on_from_the_bucket_with_labels_from_the_bucket(
  store, shapes_folder, tmp_path, monkeypatch
):
  labels = copies.Bucket("s3://store/labels")
  for path in filter(lambda path: path.is_file(), shapes_folder.rglob("*")):
    labels.write(path.relative_to(shapes_folder).as_posix(), path)
  cfg = shapes.config(shapes_folder, steps=4, log_every=1, checkpoint_every=2)
  cfg.data.path, cfg.data.validation_species = labels.address, ()
  experiment.train(cfg, RUN)
  expected = shapes.metrics(copies.local(RUN))
  copies.Bucket(RUN).remove("checkpoints/4/_CHECKPOINT_METADATA")  # a killed training
  _move(monkeypatch, tmp_path)
  store[1].plan = ["503", "", "cut", "", "lost"]
  experiment.train(cfg, RUN)
  assert load_run(RUN)[1] == 4 and len(expected) == 4
  assert shapes.metrics(copies.local(RUN)) == expected
