import argparse
import contextlib
import copy
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from helpers import shapes

from configs import humans_pose, quickstart
from configs.sweeps import creatures
from fskd_jax import config
from fskd_jax.analysis.sweep import plan, report, run
from fskd_jax.analysis.sweep.plan import Sweep
from fskd_jax.cli.experiment import sweep as sweep_command
from fskd_jax.cli.main import main
from fskd_jax.config import DataConfig, SourceConfig
from fskd_jax.training.runs import run_file

FILES = sorted(pathlib.Path(creatures.__file__).parent.glob("*.py"))
NAMES = ["baseline", "MDS", "S = {3}"]


@pytest.fixture
def sweep():
  """Three variants with two seeds."""
  variants = {name: creatures.VARIANTS[name] for name in NAMES}
  return Sweep(base=quickstart.get_config(), variants=variants, seeds=(0, 1))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_variant_of_every_file_is_another_configuration(path):
  sweep = run_file(str(path), "get_sweep")
  found = [job for job in plan.jobs(sweep) if job.seed == sweep.seeds[0]]
  assert [job.name for job in found] == list(sweep.variants)
  flat = [config.flatten(job.config) for job in found]
  assert not found[0].changes  # the first is the configuration as it is
  for job, values in zip(found[1:], flat[1:]):
    changed = {k for k in values if values[k] != flat[0].get(k)}
    assert changed, job.name
    if not any("*" in name or name == "data.mixture" for name in job.changes):
      assert changed <= set(job.changes)


def test_a_grid_is_crossed_with_variants_and_seeds(sweep):
  sweep = Sweep(
    base=sweep.base,
    variants=sweep.variants,
    grid={"optim.learning_rate": (1e-3, 1e-2), "train.shots": (1, 2)},
    seeds=(5, 6),
  )
  jobs = list(plan.jobs(sweep))
  assert len({(job.name, job.seed) for job in jobs}) == len(jobs) == 3 * 4 * 2
  job = next(x for x in jobs if "MDS, optim.learning_rate = 0.01, " in x.name)
  cfg = job.config
  assert (cfg.model.head, cfg.optim.learning_rate, cfg.train.seed) == ("mds", 1e-2, 5)
  assert sweep.base.train.seed == 0  # the base stays as it is


def test_an_interrupted_training_can_go_on(monkeypatch, sweep):
  monkeypatch.setattr(plan, "run_file", lambda *_: sweep)
  train = plan.load_sweep("a.py", {"train.steps": 600}).base.train
  assert train.checkpoint_every == 120 and train.validate_every == 600
  short = {"train.steps": 3, "optim.warmup_steps": 0}
  assert plan.load_sweep("a.py", short).base.train.checkpoint_every == 1


def test_fields_are_parsed_as_python_or_text():
  found = plan.parse_fields(["a.b=(8, 16)", "a.c=1e-3", "a.d=../x=y", "a.e="])
  assert found == {"a.b": (8, 16), "a.c": 1e-3, "a.d": "../x=y", "a.e": ""}
  with pytest.raises(ValueError, match="FIELD=VALUE"):
    plan.parse_fields(["steps"])


def test_unknown_variants_are_refused_before_anything_runs(tmp_path, sweep):
  with pytest.raises(ValueError, match="no such variant"):
    run.run(sweep, tmp_path, ["baseline", "no such variant"])
  assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_run_again_and_shards_share_the_rest(
  tmp_path, monkeypatch, sweep
):
  ran = []

  def run_one(job, folder, latest):
    ran.append((job.name, job.seed))
    return _line(job.name, job.seed, [1.0])

  monkeypatch.setattr(run, "run_one", run_one)
  there = next(job for job in plan.jobs(sweep) if job[:2] == ("MDS", 1))
  line = _line("MDS", 1, [0.5]) | {"config": config.to_dict(there.config)}
  (tmp_path / run.FILE).write_text(json.dumps(line) + "\n")
  run.run(sweep, tmp_path, shard=(0, 2))
  assert ran and len(ran) < 5
  monkeypatch.setattr(run, "check", lambda sweep, lines: None)  # `_line` has no fields
  run.run(sweep, tmp_path, shard=(1, 2))
  expected = {(v, s) for v in NAMES for s in (0, 1)} - {("MDS", 1)}
  assert len(ran) == len(expected) and set(ran) == expected
  assert len(run.read(tmp_path)) == 6


def test_images_are_decoded_again_for_other_data_alone(monkeypatch, sweep):
  opened = []
  monkeypatch.setattr(run.Feed, "open", lambda *args: opened.append(args) or args)
  latest, jobs = run.LatestFeed(), list(plan.jobs(sweep))
  found = [latest.of(job.config) for job in jobs]
  assert len(opened) == 1 and found == opened * len(jobs)
  cfg = jobs[0].config
  for section, field, value in (
    (cfg.data, "heldout_fraction", 0.3),
    (cfg.train, "backend", "pmap"),
  ):
    setattr(section, field, value)
    assert latest.of(cfg) == (cfg.data, cfg.train.backend) and latest.of(cfg)
  assert len(opened) == 3


def test_a_variant_that_fails_stops_no_other(tmp_path, monkeypatch, sweep):
  def run_one(job, folder, latest):
    if job.name == "MDS":
      raise FloatingPointError("step 3 is not finite")
    return _line(job.name, job.seed, [1.0])

  monkeypatch.setattr(run, "run_one", run_one)
  with pytest.raises(ValueError, match="2 of the trainings failed.*'MDS', seed 0"):
    run.run(sweep, tmp_path)
  done = {(line["variant"], line["seed"]) for line in run.read(tmp_path)}
  assert done == {(v, s) for v in NAMES if v != "MDS" for s in (0, 1)}


def test_a_line_of_other_fields_is_named(tmp_path, sweep):
  job = next(plan.jobs(sweep))
  other = config.to_dict(job.config)
  other["train"]["steps"] = 77
  line = _line(job.name, job.seed, [0.5]) | {"config": other}
  (tmp_path / run.FILE).write_text(json.dumps(line) + "\n")
  with pytest.raises(ValueError, match=r"train\.steps = 77 instead of 8000"):
    run.run(sweep, tmp_path)


DAMAGED = (
  '{"vari',
  "null",
  "{}",
  '["variant"]',
  '{"variant": "baseline"}',
  "\\xff",
  "",
)


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_line_is_named(tmp_path, damaged, monkeypatch):
  monkeypatch.setattr(run, "_ATTEMPTS", 2)
  whole = json.dumps(_line("baseline", 0, [1.0]))
  (tmp_path / run.FILE).write_text(f"{whole}\n{damaged}\n{whole}\n")
  with pytest.raises(ValueError, match="line 2 is damaged: remove it"):
    run.read(tmp_path)
  (tmp_path / run.FILE).write_text(f"{whole}\n{whole}\n{damaged}\n")
  with pytest.raises(ValueError, match="line 3"):
    run.read(tmp_path)


def test_a_line_that_another_process_is_writing_is_waited_for(tmp_path, monkeypatch):
  whole = json.dumps(_line("baseline", 0, [1.0])).encode() + b"\n"
  file = tmp_path / run.FILE
  file.write_bytes(whole + whole[:30])
  monkeypatch.setattr(run.time, "sleep", lambda _: file.write_bytes(whole + whole))
  assert len(run.read(tmp_path)) == 2


def test_a_report_covers_lines_of_the_same_fields_alone(tmp_path, sweep, monkeypatch):
  """Not those of a shorter sweep before, whichever variants run now."""
  monkeypatch.setattr(run, "run_one", lambda job, folder, latest: _run_one(job, folder))
  run.run(sweep, tmp_path, ["baseline"])
  longer = copy.deepcopy(sweep)
  longer.base.train.steps += 1
  for names in (["MDS"], None):
    with pytest.raises(ValueError, match=r"'baseline', seed 0.*train\.steps = 8000"):
      run.run(longer, tmp_path, names)
  with pytest.raises(ValueError, match=r"train\.steps"):
    run.check(longer, run.read(tmp_path))
  assert {line["variant"] for line in run.read(tmp_path)} == {"baseline"}


def test_variants_and_seeds_come_and_go(tmp_path, sweep, monkeypatch, caplog):
  ran = []

  def run_one(job, folder, latest):
    ran.append((job.name, job.seed))
    return _run_one(job, folder)

  monkeypatch.setattr(run, "run_one", run_one)
  few = dataclasses.replace(sweep, variants={"baseline": {}}, seeds=(0,))
  run.run(few, tmp_path)
  # Lists are read back from a line as tuples are; a section is a dictionary there.
  more = {"baseline": {}, "S": {"model.kernel_sizes": [1, 3]}, "same": _MIXTURE}
  more = dataclasses.replace(sweep, variants=more, seeds=(0, 1))
  run.run(more, tmp_path)
  run.run(more, tmp_path)
  assert ran == [("baseline", 0), *((v, 0) for v in ("S", "same"))] + [
    (v, 1) for v in ("baseline", "S", "same")
  ]
  with caplog.at_level("WARNING"):
    run.run(few, tmp_path)
  assert len(ran) == 6 and "left out: S, same" in caplog.text
  found = report.differences(run.read(tmp_path), ["baseline"])
  assert [(x.variant, x.seeds) for x in found] == [("baseline", 2)]


def test_other_episodes_stop_the_sweep_before_the_report(tmp_path, sweep, monkeypatch):
  def run_one(job, folder, latest):
    line = _run_one(job, folder)
    line["settings"]["unseen/novel"]["manifest"] = job.name
    return line

  monkeypatch.setattr(run, "run_one", run_one)
  with pytest.raises(ValueError, match="'MDS' was scored on other episodes"):
    run.run(sweep, tmp_path)
  assert [line["variant"] for line in run.read(tmp_path)] == ["baseline"]


WRONG = {
  "expected a list, got 0.1": {"grid": {"loss.mfcl_weight": 0.1}},
  "expected a list, got 'mds'": {"grid": {"model.head": "mds"}},
  r"expected a list, got \(\)": {"grid": {"loss.mfcl_weight": ()}},
  "name the seeds in": {"grid": {"train.seed": (0, 1)}},
  "train.seed: name": {"variants": {"a": {"train.seed": 1}}},
  "needs a variant": {"variants": {}},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_no_sweep_is_refused(monkeypatch, sweep, message):
  wrong = dataclasses.replace(sweep, **WRONG[message])
  monkeypatch.setattr(plan, "run_file", lambda *_: wrong)
  with pytest.raises(ValueError, match=message):
    plan.load_sweep("a.py", {})


def test_a_wrong_name_in_a_grid_is_refused_before_anything_runs(tmp_path, sweep):
  sweep = dataclasses.replace(sweep, grid={"loss.mfcl_wieght": (0.0,)})
  with pytest.raises(ValueError, match=r"did you mean loss\.mfcl_weight\?"):
    run.run(sweep, tmp_path)
  assert not list(tmp_path.iterdir())


def test_every_training_has_a_folder_of_its_own(tmp_path, sweep):
  paths = ("data.auxiliary_paths", "data.base", "data.novel")
  grid = {path: [("nose", "x" * 90), ("nose", "y" * 90)] for path in paths}
  jobs = [
    plan.Job(", ".join([path, repr(value)] * 3), seed, {}, sweep.base)
    for path, values in grid.items()
    for value in values
    for seed in (0, 1)
  ]
  folders = {run._workdir(job, tmp_path) for job in jobs}
  assert len(folders) == len(jobs)
  for folder in folders:
    folder.mkdir(parents=True)
  names = {"a b": {"loss.mfcl_weight": 0.1}, "a_b": {"loss.mfcl_weight": 0.2}}
  with pytest.raises(ValueError, match="'a_b' and 'a b' would share a folder"):
    run.run(dataclasses.replace(sweep, variants=names), tmp_path)


SWEEP = """
import os, json
from fskd_jax import config
from fskd_jax.analysis.sweep.plan import Sweep

def get_sweep():
  cfg = config.from_dict(json.load(open(os.path.join(os.path.dirname(__file__), "c"))))
  return Sweep(base=cfg, grid={"loss.mfcl_weight": (0.0, 0.1)}, seeds=(3,))
"""


@pytest.mark.slow
def test_the_command_trains_scores_and_reports(tmp_path, shapes_folder, capfd):
  cfg = shapes.config(shapes_folder, steps=16, validate_every=16, picture_every=16)
  cfg.eval.settings = ("unseen/novel",)
  (tmp_path / "c").write_text(json.dumps(config.to_dict(cfg)))
  (tmp_path / "mine.py").write_text(SWEEP)
  out = tmp_path / "out"
  command = ["experiment", "sweep", str(tmp_path / "mine.py"), "--out", str(out)]
  command += ["--set", "train.steps=8"]
  assert main([*command, "--shard", "0/2"]) == 0
  (line,) = run.read(out)
  assert line["config"]["train"]["seed"] == 3 and line["config"]["train"]["steps"] == 8
  assert len(line["settings"]["unseen/novel"]["pck"]["0.1"]) == cfg.eval.episodes
  assert 0 < line["train_seconds"] < line["seconds"]
  other = next(x for x in plan.jobs(plan.load_sweep(command[2], {"train.steps": 8})))
  assert other.name == line["variant"]
  assert main([*command, "--report"]) == 0
  assert "baseline, loss.mfcl_weight = 0.0 | 1" in capfd.readouterr().out
  assert (out / "report.png").is_file()


def test_shards_are_processes_that_get_the_whole_command(tmp_path, monkeypatch):
  started = []

  class Fake(contextlib.nullcontext):
    def __init__(self, command, **_):
      super().__init__(self)
      started.append(command)

    def wait(self):
      return int(started[-1][-1] == "1/2")

  monkeypatch.setattr(sweep_command.subprocess, "Popen", Fake)
  command = ["experiment", "sweep", str(FILES[0]), "--out", str(tmp_path / "out")]
  command += ["--seeds", "4", "--set", "train.steps=80", "--processes", "2"]
  assert main(command) == 2  # the second process failed
  assert [x[-1] for x in started] == ["0/2", "1/2"]
  for whole in started:
    parser = argparse.ArgumentParser()
    sweep_command.add_arguments(parser)
    args = parser.parse_args(whole[whole.index("sweep") + 1 :])
    assert (args.file, args.seeds, args.set) == (str(FILES[0]), [4], ["train.steps=80"])


_MIXTURE = {
  "data.slots": 24,
  "data.mixture": (SourceConfig(name="one", data=DataConfig()),),
}


def _run_one(job, folder):
  line = _line(job.name, job.seed, [1.0])
  return line | {"config": config.to_dict(job.config), "changes": dict(job.changes)}


PARENT = """
import subprocess, sys, os
child = "from fskd_jax.cli.experiment.sweep import _end_with; print(flush=True); "
child += f"_end_with({os.getpid()})"
subprocess.run([sys.executable, "-c", child], stdout=sys.stdout)
"""


@pytest.mark.slow
def test_a_shard_ends_with_the_command_that_started_it():
  command = [sys.executable, "-c", PARENT]
  with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
    parent.stdout.readline()  # the child is at work
    parent.kill()
    # The child holds the other end: this returns once it has ended, too.
    assert parent.communicate(timeout=60)[0] == b""


def _line(variant, seed, scores, manifest="same"):
  return {
    "variant": variant,
    "seed": seed,
    "train_seconds": 10.0 + seed,
    "parameters": 7,
    "config": {},
    "settings": {"unseen/novel": {"manifest": manifest, "pck": {"0.1": scores}}},
  }


def test_differences_are_of_the_same_seeds_and_episodes():
  rng = np.random.default_rng(0)
  base, other = rng.random((2, 3, 40))
  other = base + 0.1 + 0.01 * other
  lines = [_line("baseline", s, base[s].tolist()) for s in range(3)]
  lines += [_line("MDS", s, other[s].tolist()) for s in (2, 0)]  # seed 1 is missing
  found = {x.variant: x for x in report.differences(lines[::-1], NAMES)}
  assert list(found) == ["baseline", "MDS"]  # in the order of the sweep
  row = found["MDS"]
  assert row.seeds == 2
  expected = np.mean([other[s] - base[s] for s in (0, 2)])
  np.testing.assert_allclose(row.less_baseline.mean, expected)
  assert row.less_baseline.low > 0.1  # far narrower than the scores themselves
  assert row.pck.high - row.pck.low > 10 * (
    row.less_baseline.high - row.less_baseline.low
  )
  assert "**+10" in report.markdown(list(found.values()))


def test_what_cannot_be_reported_is_not_trained(sweep, tmp_path):
  people = Sweep(base=humans_pose.get_config())
  sweep.base.eval.thresholds = (0.2,)
  for given, message in ((people, "no episodes to score"), (sweep, "lacks 0.1")):
    with pytest.raises(ValueError, match=message):
      run.run(given, tmp_path)
  assert not list(tmp_path.iterdir())


def test_the_sources_of_a_mixture_are_also_averaged():
  rng = np.random.default_rng(0)
  pck = rng.random((2, 3, 40))  # [variant source episode]
  pck[:, 1, 7] = np.nan  # nothing to score: JSON has null
  names = "unseen/novel@doors", "unseen/novel@faces", "unseen/base"
  lines = []
  for name, scores in zip(NAMES, pck):
    of_settings = [[None if np.isnan(x) else x for x in row] for row in scores]
    line = _line(name, 0, [0.0])
    line["settings"] = {
      setting: {"manifest": setting, "pck": {"0.1": values}}
      for setting, values in zip(names, of_settings)
    }
    lines.append(line)
  found = [x for x in report.differences(lines, NAMES) if x.variant == "MDS"]
  assert [x.setting for x in found] == [*names, "unseen/novel, mean of 2"]
  expected = np.nanmean(np.nanmean(pck[1, :2] - pck[0, :2], axis=0))
  np.testing.assert_allclose(found[-1].less_baseline.mean, expected)
  widths = [float(x.less_baseline.high - x.less_baseline.low) for x in found]
  assert widths[-1] < 0.9 * min(widths[:2])  # twice the episodes


def test_other_episodes_are_refused():
  lines = [_line("baseline", 0, [0.0, 1.0]), _line("MDS", 0, [1.0, 1.0], "b")]
  with pytest.raises(ValueError, match="other episodes"):
    report.differences(lines, NAMES)


def test_without_a_baseline_it_says_so():
  with pytest.raises(ValueError, match="baseline"):
    report.differences([_line("MDS", 0, [1.0])], NAMES)
