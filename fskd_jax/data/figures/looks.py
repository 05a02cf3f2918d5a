"""Colours of figures."""

import numpy as np

from fskd_jax.data.creatures.render import Pattern
from fskd_jax.data.creatures.species import Color

_SKINS = (
  (246, 214, 190),
  (228, 184, 150),
  (198, 148, 110),
  (150, 104, 74),
  (92, 62, 46),
)
_HAIRS = ((34, 28, 26), (84, 56, 36), (150, 112, 66), (206, 176, 120), (150, 150, 148))
_PATTERNS = ("plain", "plain", "stripes", "spots", "net", "patches")


def any_pattern(rng: np.random.Generator) -> Pattern:
  """Returns a random pattern, in a third of the cases none."""
  return Pattern(_PATTERNS[rng.integers(len(_PATTERNS))], rng.uniform(0.12, 0.5))


def any_color(rng: np.random.Generator) -> Color:
  """Returns a random colour, often dull as those of cloth and shells are."""
  color = rng.uniform(25, 230) + rng.normal(0, 45, 3)
  return _rgb(color)


def skin(rng: np.random.Generator) -> Color:
  """Returns the colour of a person's skin."""
  return _rgb(np.array(_SKINS[rng.integers(len(_SKINS))]) + rng.normal(0, 8, 3))


def hair(rng: np.random.Generator) -> Color:
  """Returns the colour of a person's hair."""
  return _rgb(np.array(_HAIRS[rng.integers(len(_HAIRS))]) + rng.normal(0, 10, 3))


def shade_of(color: Color, factor: float) -> Color:
  """Returns a darker colour (factor < 1), or a lighter one."""
  return _rgb(np.array(color) * factor)


def _rgb(values: np.ndarray) -> Color:
  red, green, blue = (int(x) for x in values.clip(0, 255))
  return red, green, blue
