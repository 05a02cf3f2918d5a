"""fskd train: labels become a run, or the detector stays what it was."""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal

import jax
import numpy as np
import pytest
from helpers import shapes

import fskd_jax
from fskd_jax.cli import main
from fskd_jax.data.annotations import read_coco
from fskd_jax.data.splits import split_instances
from fskd_jax.few_shot import recipe
from fskd_jax.interop.weights import read_config
from fskd_jax.own_labels import adapting, engine, holding_out, training, tuning
from fskd_jax.prediction.run_labels import trained_on
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.records import Records
from fskd_jax.training.runs import load_config, load_run


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
  """A folder of one category, in clips of four frames."""
  folder = tmp_path_factory.mktemp("own") / "labels"
  shapes.write_folder(folder)
  file = folder / "annotations.json"
  content = json.loads(file.read_text())
  content["categories"] = content["categories"][:1]
  for entry in content["annotations"]:
    entry["category_id"] = content["categories"][0]["id"]
  for entry in content["images"]:
    old = entry["file_name"]
    entry["file_name"] = f"clip{entry['id'] // 4}_frame{entry['id'] % 4:03d}.png"
    (folder / "images" / old).rename(folder / "images" / entry["file_name"])
  file.write_text(json.dumps(content))
  return folder


@pytest.fixture(scope="module")
def start(trained, tmp_path_factory):
  """The file of a detector to start from."""
  path = str(tmp_path_factory.mktemp("start") / "start.safetensors")
  assert main.main(["export", "--workdir", str(trained[1]), "--out", path]) == 0
  return path


def test_choices_follow_from_the_labels(labels, start):
  dataset = read_coco(labels)
  chosen = recipe.choose(dataset, str(labels), read_config(start))
  data = chosen.config.data
  assert data.base == dataset.keypoint_names and not data.novel
  assert "20% of 10 clips" in chosen.choices[1]
  assert data.flip_probability == 0.0  # no name has a side: a mirror may exchange them
  names = ("left ear", "right ear", *dataset.keypoint_names[2:])
  sided = dataclasses.replace(dataset, keypoint_names=names)
  chosen = recipe.choose(sided, str(labels), read_config(start))
  assert chosen.config.data.flip_probability == 0.5
  names = ("left ear", *dataset.keypoint_names[1:])
  lone = dataclasses.replace(dataset, keypoint_names=names)
  chosen = recipe.choose(lone, str(labels), read_config(start))
  assert chosen.config.data.flip_probability == 0.0
  assert "left ear would be on the wrong side" in chosen.choices[2]
  for count, kept in ((6, "30% of 6 images"), (8, "20% of 8 images"), (24, "6 clips")):
    some = dataclasses.replace(dataset, instances=dataset.instances[:count])
    chosen = recipe.choose(some, str(labels), read_config(start))
    assert kept in chosen.choices[1]
    splits = split_instances(some, chosen.config.data)
    checked = {instance.image for instance in splits.validation}
    assert 2 <= chosen.config.eval.shots + chosen.config.eval.queries <= len(checked)
  plain = recipe.choose(dataset, str(labels), read_config(start)).config.data
  folder = str(labels / "images")
  mixed = recipe.choose(dataset, str(labels), read_config(start), folder).config.data
  own, photographs = mixed.mixture
  assert own.data == plain and trained_on(plain) == trained_on(mixed) == str(labels)
  assert photographs.data.path == folder
  assert photographs.data.self_supervised.share == 1  # there is nothing else in it
  few = dataclasses.replace(dataset, instances=dataset.instances[:5])
  with pytest.raises(ValueError, match="5 labelled images, expected at least 6"):
    recipe.choose(few, str(labels), read_config(start))


def test_a_run_is_trained_and_checked_and_left_alone_if_that_does_not_help(
  labels, start, trained, tmp_path, monkeypatch, capsys
):
  scores = iter([0.5, 0.5, 0.2])  # before, after, copied
  monkeypatch.setattr(training, "_score", lambda *_: next(scores))
  workdir = tmp_path / "run"
  monkeypatch.chdir(labels.parent)
  command = ["train", "--data", labels.name, "--workdir", str(workdir)]
  command += ["--unlabelled", str(labels / "images")]
  # So short that the least number of steps is taken, however fast the machine is.
  command += ["--minutes", "0.001", "--weights", start]
  with monkeypatch.context() as patch:
    original = Records.after_step

    def asked_to_end(records, step, *args):
      if step == 7:
        os.kill(os.getpid(), signal.SIGTERM)
      original(records, step, *args)

    patch.setattr(Records, "after_step", asked_to_end)
    with pytest.raises(SystemExit) as ended:
      main.main(command)
  assert ended.value.code == 143
  for other in ([*command[:-1], str(tmp_path)], [*command, "--unlabelled", "."]):
    assert main.main(other) == 2
    assert "holds a run from" in capsys.readouterr().err
  assert main.main(command) == 0
  told = capsys.readouterr().out
  assert "going on with" in told and "50 steps" in told
  assert "copied coordinates 20.0%, before training 50.0%, after 50.0%" in told
  assert "holds the detector as it was" in told
  cfg = load_config(str(workdir / "config.py"))
  assert cfg.train.steps == 50 and cfg.train.init_from == start
  # They are the support in any other folder, too.
  assert trained_on(cfg.data) == str(labels)
  assert [source.weight for source in cfg.data.mixture] == [1.0, 0.5]
  steps = [json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()]
  assert steps[-1]["step"] == 50  # it was trained
  with contextlib.closing(CheckpointStore(workdir)) as store:
    saved = store.restore_model()
  for new, old in zip(
    jax.tree.leaves(saved.variables["params"]), jax.tree.leaves(trained[2].params)
  ):
    np.testing.assert_array_equal(new, old)
  assert fskd_jax.load(workdir).calibration is not None
  assert main.main(command) == 2
  assert "holds a run already" in capsys.readouterr().err


def test_only_what_is_better_is_kept():
  better = training.Outcome(pathlib.Path("run"), 0.2, 0.5, 0.6, True)
  assert str(better).endswith("after 60.0%; run holds the trained detector")


def test_adapting_moves_the_detector_or_leaves_it_alone(
  labels, start, trained, tmp_path, monkeypatch
):
  fits, fit = [], tuning.Tuner.fit

  def fit_once(self, rows, steps):
    fits.append(fits[0] if fits else fit(self, rows, steps))
    return fits[0]

  monkeypatch.setattr(tuning.Tuner, "fit", fit_once)
  monkeypatch.setattr(engine, "seconds_per_step", lambda *_: 1.0)
  monkeypatch.setattr(adapting, "LEAST", 2)
  monkeypatch.setattr(holding_out, "best", lambda scores: 2)
  told, unlabelled = [], shutil.copytree(labels / "images", tmp_path / "frames")
  (unlabelled / "broken.png").write_bytes(b"no image")
  monkeypatch.chdir(labels.parent)
  moved = fskd_jax.adapt(
    labels.name, tmp_path / "moved", minutes=0.01, start=start, unlabelled=unlabelled,
    tell=told.append,
  )  # fmt: skip
  assert moved.share == 1 and moved.steps == 2
  assert [line[:4] for line in told[-4:]] == ["turn"] * 3 + ["view"]
  monkeypatch.setattr(holding_out, "best", lambda scores: 0)
  adapter = adapting.Adapter(read_coco(labels), start=start, tell=told.append)
  kept = adapter.adapt(2)
  assert kept.share == 0 and "no sure gain" in str(kept)
  adapter.keep(kept, tmp_path / "kept")
  # Nothing can be left out of a single clip.
  assert "cannot tell" in str(adapter.adapt(2, rows=[0, 1]))
  before = jax.tree.leaves(trained[2].params)
  same, other = (
    [np.array_equal(a, b) for a, b in zip(jax.tree.leaves(x), before)]
    for x in (
      load_run(str(tmp_path / name))[0].variables["params"]
      for name in ("kept", "moved")
    )
  )
  assert all(same) and not all(other)
  adapted = fskd_jax.load(tmp_path / "moved").config
  assert adapted.name == "adapted" and trained_on(adapted.data) == str(labels)
  with pytest.raises(ValueError, match="holds a run already"):
    fskd_jax.adapt(labels, tmp_path / "kept", start=start)
