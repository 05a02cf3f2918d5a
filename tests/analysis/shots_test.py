"""1 to K shots: the same keypoints for all, and paired differences between them."""

import dataclasses
import json

import numpy as np
import pytest

from fskd_jax.analysis import shots
from fskd_jax.cli import main
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import plan_batch
from fskd_jax.episode import valid_queries
from fskd_jax.few_shot.pools import evaluation_sampler


def test_every_number_of_shots_is_asked_for_the_same_keypoints(trained):
  cfg = trained[0]
  feed = Feed.open(cfg.data)
  drawn = dataclasses.replace(cfg.eval, shots=3)
  sampler = evaluation_sampler(feed, "all/base", drawn)
  indices = list(range(20))
  plain = plan_batch(sampler, indices, 20)
  batch = plan_batch(shots.SameTypes(sampler), indices, 20)
  wanted = valid_queries(shots.first_shots(batch, 1))
  for k in (1, 2, 3):
    part = shots.first_shots(batch, k)
    assert part.support.images.shape[1] == k
    np.testing.assert_array_equal(part.query.images, batch.query.images)
    np.testing.assert_array_equal(valid_queries(part), wanted)
  assert wanted.sum() < valid_queries(plain).sum()  # there was something to leave out
  np.testing.assert_array_equal(
    wanted, plain.query.visible & plain.support.visible[:, :1]
  )


def test_gains_are_of_the_same_run_and_episode():
  rng = np.random.default_rng(0)
  one = rng.random((3, 40))
  runs = [
    shots.ShotScores("a", np.stack([x, x + 0.1 + 0.001 * rng.random(40)])) for x in one
  ]
  first, second = shots.gains(runs)
  assert (first.shots, second.shots) == (1, 2)
  assert first.gain == (0, 0, 0)
  np.testing.assert_allclose(first.pck.mean, one.mean())
  assert 0.1 < second.gain.low < second.gain.high < 0.101
  assert second.pck.high - second.pck.low > 0.05


def test_runs_of_other_episodes_are_refused():
  runs = [shots.ShotScores(name, np.ones((2, 3))) for name in "ab"]
  with pytest.raises(ValueError, match="different episodes"):
    shots.gains(runs)


@pytest.mark.slow
def test_the_command_writes_numbers_and_a_picture(trained, tmp_path, capsys):
  _, workdir, _ = trained
  arguments = ["--shots", "2", "--episodes", "6", "--out", str(tmp_path / "out")]
  command = ["experiment", "shots", "--workdirs", str(workdir), *arguments]
  assert main.main(command) == 0
  found = json.loads((tmp_path / "out" / "shots.json").read_text())
  assert set(found["settings"]) == {"unseen/base", "unseen/novel"}
  for rows in found["settings"].values():
    assert [row["shots"] for row in rows] == [1, 2]
    np.testing.assert_allclose(
      rows[1]["gain"][0], rows[1]["pck"][0] - rows[0]["pck"][0], atol=1e-6
    )
  assert (tmp_path / "out" / "shots.png").stat().st_size > 1000
  assert "unseen/novel, PCK@0.1" in capsys.readouterr().out
  assert main.main([*command, "--shots", "1"]) == 2
  assert "--shots 1" in capsys.readouterr().err
