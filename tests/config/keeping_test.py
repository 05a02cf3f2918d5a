"""What is kept is made once for settings that are alike, and for no others."""

import dataclasses

import pytest

from fskd_jax.config import ModelConfig, keeping


@pytest.fixture(autouse=True)
def nothing_kept():
  keeping.forget()
  yield
  keeping.forget()


def test_the_same_settings_share_and_any_other_field_does_not():
  made = []

  def of(config, name="it"):
    return keeping.kept((name, config), lambda: made.append(config) or len(made))

  config = ModelConfig()
  assert [of(config), of(ModelConfig()), of(dataclasses.replace(config))] == [1, 1, 1]
  config.temperature *= 2  # the same object, which is another configuration now
  assert of(config) == 2
  assert of(config, "another") == 3
  assert [of(ModelConfig()), of(config)] == [1, 2]


def test_what_was_not_asked_for_longest_goes_first():
  made = []
  ask = lambda number: keeping.kept((number,), lambda: made.append(number))
  for number in range(keeping.MOST):
    ask(number)
  ask(0)
  ask(-1)
  assert len(made) == keeping.MOST + 1
  ask(0)
  assert len(made) == keeping.MOST + 1
  ask(1)
  assert made[-1] == 1


def test_what_fails_is_not_kept():
  with pytest.raises(ZeroDivisionError):
    keeping.kept(("it",), lambda: 1 // 0)
  assert keeping.kept(("it",), lambda: 1) == 1
