import json

import numpy as np
import pytest
from helpers import shapes

from configs import quickstart
from fskd_jax import config
from fskd_jax.analysis.ablation import report, run
from fskd_jax.analysis.ablation.run import BASELINE, VARIANTS


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_configuration(name):
  cfg = quickstart.get_config()
  changed = run.with_overrides(cfg, VARIANTS[name])
  flat, before = config.flatten(changed), config.flatten(cfg)
  assert {k for k in flat if flat[k] != before[k]} <= set(VARIANTS[name])
  assert name == BASELINE or flat != before


def test_a_field_that_is_not_there_is_named():
  with pytest.raises(ValueError, match=r"loss\.heatmaps"):
    run.with_overrides(quickstart.get_config(), {"loss.heatmaps": "mse"})


def test_unknown_variants_are_refused_before_anything_runs(tmp_path):
  with pytest.raises(ValueError, match="no such variant"):
    run.run(quickstart.get_config(), [BASELINE, "no such variant"], [0], tmp_path)
  assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_run_again_and_shards_share_the_rest(
  tmp_path, monkeypatch
):
  ran = []

  def run_one(cfg, name, seed, folder):
    ran.append((name, seed))
    return _line(name, seed, [1.0])

  monkeypatch.setattr(run, "run_one", run_one)
  variants = [BASELINE, "MDS", "S = {3}"]
  (tmp_path / run.FILE).write_text(json.dumps(_line("MDS", 1, [0.5])) + "\n")
  for index in range(2):
    run.run(quickstart.get_config(), variants, [0, 1], tmp_path, (index, 2))
  expected = {(v, s) for v in variants for s in (0, 1)} - {("MDS", 1)}
  assert len(ran) == len(expected) and set(ran) == expected
  assert len(run.read(tmp_path)) == 6


def test_a_damaged_line_is_named(tmp_path):
  (tmp_path / run.FILE).write_text('{"variant": "baseline"}\n{"vari')
  with pytest.raises(ValueError, match="line 2"):
    run.read(tmp_path)


@pytest.mark.slow
def test_a_variant_is_trained_and_scored(tmp_path, shapes_folder):
  cfg = shapes.config(shapes_folder, steps=16, validate_every=16, picture_every=16)
  cfg.eval.settings = ("unseen/novel",)
  line = run.run_one(cfg, BASELINE, 3, tmp_path)
  assert line["config"]["train"]["seed"] == 3
  scores = line["settings"]["unseen/novel"]["pck"]["0.1"]
  assert len(scores) == cfg.eval.episodes


def _line(variant, seed, scores, manifest="same"):
  return {
    "variant": variant,
    "seed": seed,
    "train_seconds": 10.0 + seed,
    "parameters": 7,
    "settings": {"unseen/novel": {"manifest": manifest, "pck": {"0.1": scores}}},
  }


def test_differences_are_of_the_same_seeds_and_episodes():
  rng = np.random.default_rng(0)
  base, other = rng.random((2, 3, 40))
  other = base + 0.1 + 0.01 * other
  lines = [_line(BASELINE, s, base[s].tolist()) for s in range(3)]
  lines += [_line("MDS", s, other[s].tolist()) for s in (2, 0)]  # seed 1 is missing
  found = {x.variant: x for x in report.differences(lines[::-1])}
  assert list(found) == [BASELINE, "MDS"]  # in the order of VARIANTS
  row = found["MDS"]
  assert row.seeds == 2
  expected = np.mean([other[s] - base[s] for s in (0, 2)])
  np.testing.assert_allclose(row.less_baseline.mean, expected)
  assert row.less_baseline.low > 0.1  # far narrower than the scores themselves
  assert row.pck.high - row.pck.low > 10 * (
    row.less_baseline.high - row.less_baseline.low
  )
  assert "**+10" in report.markdown(list(found.values()))


def test_other_episodes_are_refused():
  lines = [_line(BASELINE, 0, [0.0, 1.0]), _line("MDS", 0, [1.0, 1.0], "b")]
  with pytest.raises(ValueError, match="other episodes"):
    report.differences(lines)


def test_without_a_baseline_it_says_so():
  with pytest.raises(ValueError, match="baseline"):
    report.differences([_line("MDS", 0, [1.0])])
