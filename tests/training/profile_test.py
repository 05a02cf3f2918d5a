import jax
import jax.numpy as jnp
import pytest

from fskd_jax.training.profile import Profiler


@pytest.fixture
def calls(monkeypatch):
  """The calls of the profiler; nothing is recorded."""
  made = []
  monkeypatch.setattr(jax.profiler, "start_trace", lambda path: made.append("start"))
  monkeypatch.setattr(jax.profiler, "stop_trace", lambda: made.append("stop"))
  return made


def _train(profiler, calls, first, last):
  with profiler.opened(first - 1):
    for step in range(first, last + 1):
      calls.append(step)
      profiler.after_step(step, jnp.zeros(()))


@pytest.mark.parametrize(
  "steps, first, expected",
  (
    ("2:3", 1, [1, "start", 2, 3, "stop", 4]),
    ("1:1", 1, ["start", 1, "stop", 2, 3, 4]),
    ("4:4", 1, [1, 2, 3, "start", 4, "stop"]),
    ("3:4", 3, ["start", 3, 4, "stop"]),  # resumed
    ("", 1, [1, 2, 3, 4]),
  ),
)
def test_the_steps_of_the_range_are_recorded_whole(
  calls, tmp_path, steps, first, expected
):
  _train(Profiler(steps, tmp_path, 4), calls, first, 4)
  assert calls == expected


def test_a_resumed_run_past_the_range_warns(calls, tmp_path, caplog):
  _train(Profiler("2:3", tmp_path, 4), calls, 3, 4)
  assert calls == [3, 4]
  assert "step 2 is done already" in caplog.text


def test_an_error_within_the_range_ends_the_recording(calls, tmp_path):
  with pytest.raises(FloatingPointError):
    with Profiler("1:3", tmp_path, 3).opened(0):
      raise FloatingPointError
  assert calls == ["start", "stop"]


@pytest.mark.parametrize("steps", ("7", "0:3", "5:4", "a:b", "1:2:3", "-1:2"))
def test_another_range_is_refused(steps, tmp_path):
  with pytest.raises(ValueError, match="expected the first and the last step"):
    Profiler(steps, tmp_path, 4)


def test_a_range_beyond_the_training_is_refused(tmp_path):
  with pytest.raises(ValueError, match="3:5: the training ends at step 4"):
    Profiler("3:5", tmp_path, 4)


def test_jax_writes_the_profile_into_the_folder(tmp_path):
  profiler = Profiler("1:1", tmp_path / "profile", 1)
  with profiler.opened(0):
    profiler.after_step(1, jax.jit(lambda x: x @ x)(jnp.ones((8, 8))))
  assert list(profiler.folder.glob("plugins/profile/*/*.xplane.pb"))
