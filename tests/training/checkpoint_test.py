import dataclasses
import gc
import itertools
import json
import logging
import os
import pathlib
import resource
import shutil
import tempfile
import threading
from concurrent import futures

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fskd_jax.config import Config
from fskd_jax.training import plain_path
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.state import TrainState

CONFIG = dataclasses.asdict(Config())


def _state(seed=0, tx=None, width=300):
  rng = np.random.default_rng(seed)
  params = {
    "encoder": {"kernel": jnp.asarray(rng.normal(size=(40, width)), jnp.float32)},
    "head": {"half": jnp.asarray(rng.normal(size=7), jnp.bfloat16)},
  }
  tx = tx or optax.partition(
    {
      "trained": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)),
      "frozen": optax.set_to_zero(),
    },
    {"encoder": "trained", "head": "frozen"},
  )
  opt_state = tx.init(params)
  # Gradients that differ from seed to seed, so that the moments do, too.
  _, opt_state = tx.update(params, opt_state, params)
  statistics = {"encoder": {"mean": jnp.float32([1 / 3, -0.0, 1e-42])}}
  return TrainState(jnp.int32(seed), params, statistics, opt_state)


def _write(workdir, *steps, keep=3):
  store = CheckpointStore(workdir, keep)
  for step in steps:
    store.save(step, _state(step), CONFIG)
  return store


def _assert_same(state, expected):
  assert jax.tree.structure(state) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(expected)):
    assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def _largest_file(folder):
  return max(
    (f for f in folder.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size
  )


@pytest.mark.slow
def test_the_newest_state_comes_back_bit_for_bit(tmp_path):
  store = _write(tmp_path, 1, 2, 3, 4)
  state, step, _ = store.restore_latest(_state(9))
  assert step == 4
  _assert_same(state, _state(4))
  kept = {p.name for p in store.directory.iterdir()}
  assert kept == {"2", "3", "4"}
  store.save(4, _state(7), CONFIG)  # there already
  _assert_same(store.restore_latest(_state(9))[0], _state(4))


def test_another_process_reads_model_and_config_alone(tmp_path):
  _write(tmp_path, 5).close()
  shutil.rmtree(tmp_path / "checkpoints" / "5" / "optimizer")
  model = CheckpointStore(tmp_path).restore_model()
  assert model.step == 5
  assert model.config == json.loads(json.dumps(CONFIG))
  expected = _state(5)
  _assert_same(model.variables["params"], expected.params)
  _assert_same(model.variables["batch_stats"], expected.batch_stats)


def test_a_state_without_statistics_and_moments(tmp_path):
  params = {"w": jnp.ones(3)}
  state = TrainState(jnp.int32(1), params, {}, optax.sgd(0.1).init(params))
  store = CheckpointStore(tmp_path, 2)
  store.save(1, state, CONFIG)
  _assert_same(store.restore_latest(state)[0], state)


def test_an_empty_workdir(tmp_path):
  store = CheckpointStore(tmp_path / "new", 2)
  assert store.restore_latest(_state()) is None
  store.check_config(CONFIG)
  with pytest.raises(FileNotFoundError, match="no checkpoint"):
    store.restore_model()
  with pytest.raises(FileNotFoundError, match="misspelt"):
    CheckpointStore(tmp_path / "misspelt")
  assert not (tmp_path / "misspelt").exists()


def _truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip_a_bit(path):
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncate, _flip_a_bit, lambda path: path.unlink()])
def test_a_damaged_checkpoint_falls_back_to_the_previous(tmp_path, caplog, damage):
  _write(tmp_path, 1, 2).close()
  damage(_largest_file(tmp_path / "checkpoints" / "2"))
  store = CheckpointStore(tmp_path, 3)
  with caplog.at_level(logging.WARNING, "absl"):
    state, step, _ = store.restore_latest(_state(9))
  assert step == 1
  _assert_same(state, _state(1))
  assert "Falling back from step 2 to step 1" in caplog.text
  assert (store.directory / "2.unreadable").is_dir()
  store.save(2, _state(2), CONFIG)
  _assert_same(store.restore_latest(_state(9))[0], _state(2))


def test_a_step_that_is_damaged_twice(tmp_path):
  for _ in range(2):
    store = _write(tmp_path, 1, 2)
    _truncate(_largest_file(store.directory / "2"))
    assert store.restore_latest(_state(9))[1] == 1
    store.close()
  names = {path.name for path in (tmp_path / "checkpoints").iterdir()}
  assert names == {"1", "2.unreadable"}


@pytest.mark.slow
@pytest.mark.parametrize(
  "name", ["about", "model/_METADATA", "model/manifest.ocdbt", "_CHECKPOINT_METADATA"]
)
def test_any_missing_or_empty_file_is_survived(tmp_path, name):
  _write(tmp_path, 1, 2, 3).close()
  missing, empty = (tmp_path / "checkpoints" / step / name for step in ("3", "2"))
  shutil.rmtree(missing) if missing.is_dir() else missing.unlink()
  for file in empty.iterdir() if empty.is_dir() else [empty]:
    file.write_bytes(b"")
  state, step, _ = CheckpointStore(tmp_path, 3).restore_latest(_state(9))
  if name != "_CHECKPOINT_METADATA":  # which holds nothing of ours
    assert step == 1
  _assert_same(state, _state(step))


def test_reading_alone_changes_nothing(tmp_path):
  _write(tmp_path, 1, 2).close()
  _truncate(_largest_file(tmp_path / "checkpoints" / "2"))
  unfinished = tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp"
  unfinished.mkdir()
  before = sorted(tmp_path.rglob("*"))
  assert CheckpointStore(tmp_path).restore_model().step in (1, 2)
  CheckpointStore(tmp_path).check_config(CONFIG)
  assert sorted(tmp_path.rglob("*")) == before


def test_nothing_readable_is_an_error(tmp_path):
  store = _write(tmp_path, 1, 2)
  for step in ("1", "2"):
    _truncate(_largest_file(store.directory / step))
  with pytest.raises(ValueError, match=r"none of the checkpoints \[2, 1\]"):
    store.restore_latest(_state(9))


def test_what_a_killed_save_leaves_is_ignored(tmp_path):
  store = _write(tmp_path, 1, 2)
  (store.directory / "2").rename(store.directory / "2.orbax-checkpoint-tmp")
  store.close()
  store = CheckpointStore(tmp_path, 3)
  assert store.restore_latest(_state(9))[1] == 1
  store.save(2, _state(2), CONFIG)
  assert store.restore_latest(_state(9))[1] == 2


def test_a_failed_write_is_one_oserror_and_keeps_the_earlier(tmp_path):
  store = _write(tmp_path, 1, keep=1)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
  try:
    with pytest.raises(OSError, match="checkpoint of step 2"):
      store.save(2, _state(2), CONFIG)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  state, step, _ = store.restore_latest(_state(9))
  assert step == 1
  _assert_same(state, _state(1))
  store.save(3, _state(3), CONFIG)
  assert CheckpointStore(tmp_path).restore_model().step == 3


def test_another_model_is_named_not_skipped(tmp_path):
  store = _write(tmp_path, 1)
  with pytest.raises(ValueError, match=r"params.encoder.kernel: float32\[40, 300\]"):
    store.restore_latest(_state(width=10))
  with pytest.raises(ValueError, match="does not fit"):
    store.restore_latest(_state(tx=optax.adam(1e-3)))
  assert store.restore_latest(_state())[1] == 1


def test_another_config_is_listed_field_by_field(tmp_path):
  store = _write(tmp_path, 1)
  store.check_config(CONFIG)
  other = Config()
  other.train.steps = 7
  other.eval.settings = ("seen/base",)
  other.optim.learning_rate = 0.5
  other = dataclasses.asdict(other)
  with pytest.raises(ValueError) as error:
    store.check_config(other, may_differ=("train.step", "eval"))
  assert "optim.learning_rate: 0.0001 there, 0.5 now" in str(error.value)
  assert "train.steps: 20000 there, 7 now" in str(error.value)
  assert "eval" not in str(error.value).split("values:")[1]
  store.check_config(other, may_differ=("train.steps", "eval", "optim.learning_rate"))


def test_fields_younger_than_the_run_have_their_defaults(tmp_path):
  old = dataclasses.asdict(Config())
  del old["optim"]["rates"], old["train"]["init_patterns"]
  store = CheckpointStore(tmp_path, 1)
  store.save(1, _state(1), old)
  now = Config()
  store.check_config(dataclasses.asdict(now))
  now.optim.rates = (("encoder/", 0.5),)
  with pytest.raises(
    ValueError, match=r"optim.rates: \[\] there, \[\['encoder/', 0.5\]\]"
  ):
    store.check_config(dataclasses.asdict(now))


def test_replicated_device_arrays_are_saved_once(tmp_path):
  mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
  everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
  store = CheckpointStore(tmp_path, 1)
  store.save(2, jax.device_put(_state(2), everywhere), CONFIG)
  _assert_same(store.restore_latest(_state())[0], _state(2))


NAMES = (
  "run [1]",
  "lr=[1e-3,2]",
  "[",
  "[!a]*",
  "a*",
  "a?b",
  "{a,b}",
  "a\\b",
  "a\nb",
  "a\tb ",
  "-rf",
  "~",
  "a%41#b&c",
  "$HOME",
  "\"a' b",
  "größe 大",
  os.fsdecode(b"a\xe9b"),  # no UTF-8
)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["here", "above"])
@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_workdir_is_taken_as_it_is(tmp_path, monkeypatch, name, place):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
  os.mkdir(tempfile.gettempdir())
  workdir = tmp_path / name if place == "here" else tmp_path / name / "run"
  _write(workdir, 1, 2, keep=1).close()
  store = CheckpointStore(workdir, 1)
  _assert_same(store.restore_latest(_state(9))[0], _state(2))
  store.close()
  assert CheckpointStore(workdir).restore_model().step == 2
  assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"2"}
  assert {path.name for path in tmp_path.iterdir()} == {name, "temporary"}
  assert not os.listdir(tempfile.gettempdir())  # nothing stays behind


def test_a_pattern_takes_nothing_from_its_neighbours(tmp_path):
  """The unfinished save of another run, of the same step, matches `*`."""
  unfinished = tmp_path / "run" / "checkpoints" / "2.orbax-checkpoint-tmp"
  store = CheckpointStore(tmp_path / "run", 1)
  store.save(2, _state(2, width=310), CONFIG)
  store.close()
  (tmp_path / "run" / "checkpoints" / "2").rename(unfinished)
  for name in ("model", "optimizer"):
    (unfinished / name).rename(unfinished / f"{name}.orbax-checkpoint-tmp")
  before = {path for path in unfinished.rglob("*")}
  _write(tmp_path / "*", 2).close()
  assert CheckpointStore(tmp_path / "*").restore_model().step == 2
  assert before == {path for path in unfinished.rglob("*")}


def test_messages_name_the_workdir_not_the_link_to_it(tmp_path, caplog):
  workdir = tmp_path / "run [1]"
  _write(workdir, 1, 2).close()
  (workdir / "checkpoints" / "2" / "model" / "_METADATA").unlink()
  with caplog.at_level(logging.WARNING):
    assert CheckpointStore(workdir).restore_model().step == 1
  assert str(workdir) in caplog.text and tempfile.gettempdir() + "/fskd" not in (
    caplog.text
  )


def test_no_plain_path_at_all_is_said(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "[t]"))
  os.mkdir(tempfile.gettempdir())
  with pytest.raises(ValueError, match="name another workdir or TMPDIR"):
    CheckpointStore(tmp_path / "run [1]", 1)
  assert not plain_path.is_plain(pathlib.Path("/gs/run"))  # gs://run to etils
  assert plain_path.is_plain(pathlib.Path("/data/runs/lr=0.1,2 x"))


def test_a_checkpoint_that_cannot_be_read_back_costs_no_older_one(
  tmp_path, monkeypatch
):
  store = _write(tmp_path, 1, keep=1)
  write = store._files._writer.save

  def written_badly(path, args):
    write(path, args=args)
    _flip_a_bit(_largest_file(store.directory / "2"))

  with monkeypatch.context() as patch:
    patch.setattr(store._files._writer, "save", written_badly)
    with pytest.raises(OSError, match="step 2 .*cannot be read back.*untouched"):
      store.save(2, _state(2), CONFIG)
  state, step, _ = store.restore_latest(_state(9))
  assert step == 1
  _assert_same(state, _state(1))


def test_a_checkpoint_is_written_beside_the_training(tmp_path, monkeypatch):
  store, go = _write(tmp_path, 1, keep=1), threading.Event()
  write = store._files.write
  monkeypatch.setattr(store._files, "write", lambda *args: go.wait(9) and write(*args))
  state = _state(2)
  store.begin_saving(2, state, CONFIG)
  jax.tree.map(lambda x: x.delete(), state)  # as the next step does
  store.check()
  assert store._files.steps() == [1]  # not yet there, nor is the one before it dropped
  go.set()
  store.finish()
  assert store._files.steps() == [2]
  _assert_same(store.restore_latest(_state(9))[0], _state(2))


def test_what_the_thread_meets_is_raised_at_the_next_look(
  tmp_path, monkeypatch, caplog
):
  def full(*args, **kwargs):
    raise OSError(28, "No space left on device")

  store = _write(tmp_path, 1)
  with monkeypatch.context() as patch:
    patch.setattr(store._files._writer, "save", full)
    for step, raise_it in ((2, store.check), (3, store.finish)):
      store.begin_saving(step, _state(step), CONFIG)
      futures.wait([store._begun[1]])
      with pytest.raises(OSError, match=f"checkpoint of step {step} .*No space left"):
        raise_it()
    store.begin_saving(4, _state(4), CONFIG)
    store.close()
  assert "checkpoint of step 4" in caplog.text
  assert CheckpointStore(tmp_path).restore_model().step == 1


def test_every_process_must_see_what_process_0_has_written(tmp_path):
  store = _write(tmp_path, 1)
  store._check_seen(1)
  with pytest.raises(OSError, match="step 2.*must see the same workdir"):
    store._check_seen(2)


def test_reading_leaves_nothing_in_memory(tmp_path):
  store = _write(tmp_path, 1)

  def objects():
    store.restore_latest(_state(9))
    gc.collect()
    return len(gc.get_objects())

  counts = [objects() for _ in range(5)]
  # The least of all: a cache that fills once is no leak.
  assert np.diff(counts[1:]).min() < 10


def _flips(text):
  """Returns the text with one bit changed, for every bit of a sample."""
  for position in range(0, 8 * len(text), 149):
    changed = bytearray(text)
    changed[position // 8] ^= 1 << position % 8
    yield bytes(changed)


@pytest.mark.slow
def test_a_flipped_bit_in_the_configuration_is_noticed_or_harmless(tmp_path):
  _write(tmp_path, 1, 2).close()
  about = tmp_path / "checkpoints" / "2" / "about" / "metadata"
  text, expected = about.read_bytes(), json.loads(json.dumps(CONFIG))
  fallen_back = 0
  for changed in _flips(text):
    about.write_bytes(changed)
    store = CheckpointStore(tmp_path)
    found = store.restore_model()
    store.close()
    assert found.config == expected
    fallen_back += found.step == 1
  assert fallen_back > 100


@pytest.mark.parametrize("old, new", [(b"20000", b"30000"), (b"false", b"true ")])
def test_another_number_in_the_configuration_falls_back(tmp_path, caplog, old, new):
  _write(tmp_path, 1, 2).close()
  about = tmp_path / "checkpoints" / "2" / "about" / "metadata"
  assert old in about.read_bytes()
  about.write_bytes(about.read_bytes().replace(old, new, 1))
  store = CheckpointStore(tmp_path, 3)
  with caplog.at_level(logging.WARNING):
    store.check_config(CONFIG)
  assert "checksum of 'config' differs" in caplog.text
  assert store.restore_latest(_state())[1] == 1


def test_a_checkpoint_from_before_checksums_of_what_is_beside_the_arrays(tmp_path):
  _write(tmp_path, 1).close()
  about = tmp_path / "checkpoints" / "1" / "about" / "metadata"
  content = json.loads(about.read_text())
  assert set(content["checksums"]) == {"model", "optimizer", "config", "progress"}
  for name in ("config", "progress"):
    del content["checksums"][name]
  del content["progress"]
  about.write_text(json.dumps(content))
  assert CheckpointStore(tmp_path).restore_latest(_state(9))[1:] == (1, {})


def test_progress_comes_back_and_is_checksummed(tmp_path):
  progress = {"unwritten": {"steps": [{"loss": 0.1}], "seconds": 1e-3}, "due": []}
  store = CheckpointStore(tmp_path, 3)
  store.save(1, _state(1), CONFIG)
  store.save(2, _state(2), CONFIG, progress)
  assert store.restore_latest(_state(9))[1:] == (2, progress)
  about = tmp_path / "checkpoints" / "2" / "about" / "metadata"
  about.write_text(about.read_text().replace("0.1", "0.2"))
  assert store.restore_latest(_state(9))[1:] == (1, {})


def _before_reading(store, monkeypatch, change):
  read = store._files.read

  def late(*args):
    change()
    return read(*args)

  monkeypatch.setattr(store._files, "read", late)


def test_a_reader_follows_a_training_that_drops_what_it_reads(
  tmp_path, monkeypatch, caplog
):
  writer = _write(tmp_path, 1, keep=1)
  reader = CheckpointStore(tmp_path)
  steps = iter([2, 3, 4])
  _before_reading(
    reader,
    monkeypatch,
    lambda: [writer.save(s, _state(s), CONFIG) for s in [*itertools.islice(steps, 1)]],
  )
  with caplog.at_level(logging.WARNING):
    assert reader.restore_model().step == 4
  assert not caplog.records  # nothing was wrong


def test_a_reader_that_is_always_too_late_gives_up(tmp_path, monkeypatch):
  writer = _write(tmp_path, 1, keep=1)
  reader = CheckpointStore(tmp_path)
  steps = itertools.count(2)

  def replace():
    newest = next(steps)
    (writer.directory / str(newest - 1)).rename(writer.directory / str(newest))

  _before_reading(reader, monkeypatch, replace)
  with pytest.raises(ValueError, match="none of the checkpoints"):
    reader.restore_model()
  assert next(steps) < 100


@pytest.mark.slow
def test_reading_while_a_thread_writes(tmp_path):
  writer, ended = _write(tmp_path, 1, keep=1), threading.Event()

  def write():
    for step in itertools.count(2):
      writer.save(step, _state(step), CONFIG)
      if ended.is_set():
        return

  thread = threading.Thread(target=write)
  thread.start()
  try:
    found = []
    for _ in range(40):
      reader = CheckpointStore(tmp_path)
      found.append(reader.restore_model())
      reader.close()
  finally:
    ended.set()
    thread.join()
  steps = [model.step for model in found]
  assert steps == sorted(steps) and steps[-1] > steps[0]
  for model in found:
    _assert_same(model.variables["params"], _state(model.step).params)
