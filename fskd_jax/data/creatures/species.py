"""Proportions, colours, patterns and ornaments of the synthetic species.

Lengths are in units of the distance between hip and shoulder joints, angles in
degrees, colours RGB in 0..255.
"""

import dataclasses

Color = tuple[int, int, int]

WHITE: Color = (232, 228, 220)
BLACK: Color = (40, 37, 36)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Coat:
  """One colouring of a species.

  Attributes:
    base: The colour of the body.
    mark: The second colour, of the pattern.
    belly: The colour of the underside of body and neck; None for that of the base.
    feet: The colour of the lower legs; None for that of the base.
    head: The colour of head and ears; None for that of the base.
    face: The colour of the muzzle; None for that of the head.
  """

  base: Color
  mark: Color = BLACK
  belly: Color | None = None
  feet: Color | None = None
  head: Color | None = None
  face: Color | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Species:
  """Proportions and looks of one species.

  Attributes:
    name: The name of the category.
    coats: The colourings, one of which is drawn at random.
    pattern: "plain", "stripes", "spots", "patches" or "net", in the `mark` colour.
    pattern_size: The length of one period.
    chest, belly, hip: The radii of the trunk.
    front_leg, back_leg: The lengths from elbow or stifle to the ground.
    leg: The radius of the upper legs; lower ones are thinner.
    foot: The length of the hind foot; the front foot is at most 0.1.
    neck, neck_angle, neck_base, neck_top: The neck's length, elevation and radii.
    skull, muzzle, muzzle_tip, head_angle: The radius of the skull; the length, radius
      of the tip and elevation of the muzzle.
    nose, nose_size: The colour of the nose, and its radius over that of the muzzle's
      tip.
    ear, ear_base, ear_tip: The length and radii of an ear.
    ear_direction: (forward, up, outward) in the frame of the head.
    tail, tail_base, tail_tip: The length and radii of the tail.
    tail_angle, tail_curl: The elevation at the base, and the bend along the tail.
    tail_hair: Whether the whole tail has the coat's `mark` colour.
    tuft: The colour and radius of the end of the tail, or None.
    ornament: "none", "horns", "antlers", "ossicones", "mane" or "wool".
    grazes: Whether the animal sometimes lowers its head to the ground.
  """

  name: str
  coats: tuple[Coat, ...]
  pattern: str = "plain"
  pattern_size: float = 0.3
  chest: float
  belly: float
  hip: float
  front_leg: float
  back_leg: float
  leg: float
  foot: float = 0.08
  neck: float
  neck_angle: float
  neck_base: float
  neck_top: float
  skull: float
  muzzle: float
  muzzle_tip: float
  head_angle: float
  nose: Color = BLACK
  nose_size: float = 0.45
  ear: float
  ear_base: float
  ear_tip: float
  ear_direction: tuple[float, float, float]
  tail: float
  tail_base: float
  tail_tip: float
  tail_angle: float
  tail_curl: float = 0.0
  tail_hair: bool = False
  tuft: tuple[Color, float] | None = None
  ornament: str = "none"
  grazes: bool = False


CAT = Species(
  name="cat",
  coats=(
    Coat(base=(206, 138, 72), mark=(140, 76, 32), belly=(236, 214, 184)),
    Coat(base=(146, 140, 132), mark=(66, 62, 60), belly=(214, 210, 204)),
  ),
  pattern="stripes", pattern_size=0.15,
  chest=0.2, belly=0.2, hip=0.2, front_leg=0.46, back_leg=0.5, leg=0.085,
  neck=0.2, neck_angle=40, neck_base=0.15, neck_top=0.13,
  skull=0.21, muzzle=0.2, muzzle_tip=0.09, head_angle=-12,
  ear=0.2, ear_base=0.1, ear_tip=0.015, ear_direction=(0.0, 1.0, 0.35),
  tail=0.9, tail_base=0.05, tail_tip=0.04, tail_angle=15, tail_curl=75,
)  # fmt: skip

COW = Species(
  name="cow",
  coats=(
    Coat(base=WHITE, mark=BLACK, face=(214, 168, 156)),
    Coat(base=WHITE, mark=(126, 70, 38), face=(214, 168, 156)),
  ),
  pattern="patches", pattern_size=0.85,
  chest=0.31, belly=0.35, hip=0.29, front_leg=0.5, back_leg=0.52, leg=0.1,
  neck=0.34, neck_angle=18, neck_base=0.22, neck_top=0.16,
  skull=0.17, muzzle=0.34, muzzle_tip=0.115, head_angle=-38,
  ear=0.19, ear_base=0.055, ear_tip=0.03, ear_direction=(-0.15, 0.05, 1.0),
  tail=0.6, tail_base=0.03, tail_tip=0.025, tail_angle=-65, tail_curl=-15,
  tuft=((60, 52, 48), 0.055), ornament="horns", grazes=True,
)  # fmt: skip

HORSE = Species(
  name="horse",
  coats=(
    Coat(base=(134, 78, 42), mark=(38, 30, 28), feet=(52, 38, 32)),
    Coat(base=(84, 56, 42), mark=(28, 24, 24), feet=(210, 204, 196)),
    Coat(base=(176, 122, 72), mark=(222, 200, 160)),
  ),
  chest=0.26, belly=0.26, hip=0.26, front_leg=0.76, back_leg=0.78, leg=0.09,
  neck=0.56, neck_angle=48, neck_base=0.19, neck_top=0.12,
  skull=0.145, muzzle=0.42, muzzle_tip=0.085, head_angle=-42,
  ear=0.13, ear_base=0.045, ear_tip=0.01, ear_direction=(0.1, 1.0, 0.25),
  tail=0.72, tail_base=0.06, tail_tip=0.075, tail_angle=-48, tail_curl=-30,
  tail_hair=True, ornament="mane", grazes=True,
)  # fmt: skip

SHEEP = Species(
  name="sheep",
  coats=(
    Coat(base=(226, 218, 200), feet=(56, 50, 48), head=(52, 46, 44)),
    Coat(base=(204, 194, 172), feet=(190, 172, 148), head=(198, 178, 152)),
  ),
  chest=0.31, belly=0.33, hip=0.32, front_leg=0.36, back_leg=0.38, leg=0.07,
  neck=0.26, neck_angle=32, neck_base=0.2, neck_top=0.15,
  skull=0.15, muzzle=0.24, muzzle_tip=0.08, head_angle=-32,
  ear=0.17, ear_base=0.05, ear_tip=0.03, ear_direction=(-0.1, -0.25, 1.0),
  tail=0.16, tail_base=0.07, tail_tip=0.06, tail_angle=-60,
  ornament="wool", grazes=True,
)  # fmt: skip

MOUSE = Species(
  name="mouse",
  coats=(
    Coat(base=(136, 122, 108), feet=(216, 164, 152), belly=(190, 178, 164)),
    Coat(base=(108, 106, 108), feet=(212, 160, 150), belly=(160, 156, 154)),
    Coat(base=(224, 220, 214), feet=(226, 170, 160)),
  ),
  chest=0.22, belly=0.31, hip=0.31, front_leg=0.17, back_leg=0.18, leg=0.075,
  foot=0.16,
  neck=0.14, neck_angle=8, neck_base=0.2, neck_top=0.17,
  skull=0.2, muzzle=0.32, muzzle_tip=0.05, head_angle=-14,
  ear=0.14, ear_base=0.1, ear_tip=0.13, ear_direction=(-0.3, 0.9, 0.6),
  tail=1.15, tail_base=0.04, tail_tip=0.015, tail_angle=-12, tail_curl=35,
  tuft=((214, 160, 150), 0.015),
)  # fmt: skip

BEAR = Species(
  name="bear",
  coats=(
    Coat(base=(96, 62, 40), face=(164, 124, 86)),
    Coat(base=(50, 44, 42), face=(150, 116, 84)),
  ),
  chest=0.34, belly=0.35, hip=0.35, front_leg=0.42, back_leg=0.4, leg=0.14,
  foot=0.14,
  neck=0.26, neck_angle=14, neck_base=0.26, neck_top=0.2,
  skull=0.22, muzzle=0.25, muzzle_tip=0.095, head_angle=-18,
  ear=0.06, ear_base=0.075, ear_tip=0.075, ear_direction=(-0.1, 0.8, 0.6),
  tail=0.08, tail_base=0.06, tail_tip=0.05, tail_angle=-50,
)  # fmt: skip

GIRAFFE = Species(
  name="giraffe",
  coats=(
    Coat(base=(170, 106, 50), mark=(236, 216, 170), feet=(226, 206, 164)),
    Coat(base=(132, 80, 42), mark=(224, 196, 146), feet=(214, 190, 148)),
  ),
  pattern="net", pattern_size=0.5,
  chest=0.3, belly=0.27, hip=0.25, front_leg=1.05, back_leg=0.98, leg=0.09,
  neck=1.3, neck_angle=60, neck_base=0.18, neck_top=0.095,
  skull=0.13, muzzle=0.32, muzzle_tip=0.07, head_angle=-26,
  ear=0.16, ear_base=0.045, ear_tip=0.02, ear_direction=(-0.2, 0.25, 1.0),
  tail=0.55, tail_base=0.03, tail_tip=0.02, tail_angle=-70,
  tuft=((50, 42, 38), 0.045), ornament="ossicones",
)  # fmt: skip

DACHSHUND = Species(
  name="dachshund",
  coats=(
    Coat(base=(62, 44, 36), feet=(176, 112, 62), face=(168, 106, 58)),
    Coat(base=(158, 86, 46)),
  ),
  chest=0.17, belly=0.155, hip=0.16, front_leg=0.15, back_leg=0.16, leg=0.06,
  neck=0.24, neck_angle=45, neck_base=0.115, neck_top=0.1,
  skull=0.135, muzzle=0.28, muzzle_tip=0.055, head_angle=-12,
  ear=0.22, ear_base=0.05, ear_tip=0.075, ear_direction=(-0.25, -1.0, 0.35),
  tail=0.45, tail_base=0.045, tail_tip=0.015, tail_angle=22, tail_curl=25,
)  # fmt: skip

DEER = Species(
  name="deer",
  coats=(
    Coat(base=(164, 104, 58), mark=(238, 222, 194), belly=(222, 200, 168)),
    Coat(base=(138, 96, 64), mark=(230, 216, 192), belly=(206, 186, 160)),
  ),
  pattern="spots", pattern_size=0.17,
  chest=0.22, belly=0.21, hip=0.22, front_leg=0.74, back_leg=0.76, leg=0.07,
  neck=0.46, neck_angle=56, neck_base=0.14, neck_top=0.095,
  skull=0.13, muzzle=0.26, muzzle_tip=0.052, head_angle=-24,
  ear=0.21, ear_base=0.05, ear_tip=0.02, ear_direction=(-0.2, 0.5, 1.0),
  tail=0.16, tail_base=0.05, tail_tip=0.03, tail_angle=-40,
  tuft=(WHITE, 0.045), ornament="antlers", grazes=True,
)  # fmt: skip

RABBIT = Species(
  name="rabbit",
  coats=(
    Coat(base=(164, 142, 116), belly=(226, 218, 206)),
    Coat(base=(222, 218, 212), face=(200, 188, 178)),
    Coat(base=(122, 116, 112), belly=(190, 186, 182)),
  ),
  chest=0.23, belly=0.3, hip=0.33, front_leg=0.26, back_leg=0.2, leg=0.1,
  foot=0.3,
  neck=0.16, neck_angle=42, neck_base=0.18, neck_top=0.15,
  skull=0.2, muzzle=0.19, muzzle_tip=0.1, head_angle=-18,
  ear=0.52, ear_base=0.06, ear_tip=0.05, ear_direction=(-0.45, 1.0, 0.25),
  tail=0.1, tail_base=0.1, tail_tip=0.1, tail_angle=25, tuft=(WHITE, 0.1),
)  # fmt: skip

FOX = Species(
  name="fox",
  coats=(
    Coat(base=(204, 98, 38), belly=(238, 226, 210), feet=(48, 38, 36), face=WHITE),
    Coat(base=(182, 106, 58), belly=(226, 210, 190), feet=(62, 46, 40), face=WHITE),
  ),
  chest=0.19, belly=0.175, hip=0.18, front_leg=0.46, back_leg=0.48, leg=0.07,
  neck=0.24, neck_angle=36, neck_base=0.14, neck_top=0.12,
  skull=0.165, muzzle=0.29, muzzle_tip=0.045, head_angle=-14,
  ear=0.23, ear_base=0.085, ear_tip=0.012, ear_direction=(0.0, 1.0, 0.35),
  tail=0.78, tail_base=0.06, tail_tip=0.13, tail_angle=-28, tail_curl=35,
  tuft=(WHITE, 0.08),
)  # fmt: skip

ZEBRA = Species(
  name="zebra",
  coats=(Coat(base=(232, 228, 218), mark=(38, 36, 38), face=(70, 64, 62)),),
  pattern="stripes", pattern_size=0.17,
  chest=0.27, belly=0.28, hip=0.27, front_leg=0.66, back_leg=0.68, leg=0.085,
  neck=0.46, neck_angle=44, neck_base=0.19, neck_top=0.125,
  skull=0.145, muzzle=0.36, muzzle_tip=0.085, head_angle=-38,
  ear=0.15, ear_base=0.05, ear_tip=0.025, ear_direction=(0.0, 1.0, 0.3),
  tail=0.58, tail_base=0.03, tail_tip=0.025, tail_angle=-62,
  tuft=((44, 40, 40), 0.055), ornament="mane", grazes=True,
)  # fmt: skip

PIG = Species(
  name="pig",
  coats=(
    Coat(base=(226, 164, 152), mark=(214, 148, 138)),
    Coat(base=(222, 168, 154), mark=(66, 56, 54)),
  ),
  pattern="patches", pattern_size=1.0,
  chest=0.31, belly=0.35, hip=0.33, front_leg=0.24, back_leg=0.25, leg=0.1,
  neck=0.16, neck_angle=4, neck_base=0.27, neck_top=0.23,
  skull=0.22, muzzle=0.3, muzzle_tip=0.11, head_angle=-20,
  nose=(232, 140, 134), nose_size=0.85,
  ear=0.2, ear_base=0.09, ear_tip=0.03, ear_direction=(0.7, 0.5, 0.6),
  tail=0.34, tail_base=0.03, tail_tip=0.018, tail_angle=60, tail_curl=330,
)  # fmt: skip

SPECIES = (
  CAT, COW, HORSE, SHEEP, MOUSE, BEAR, GIRAFFE, DACHSHUND, DEER,
  RABBIT, FOX, ZEBRA, PIG,
)  # fmt: skip
"""All species; the order is part of the random seed of every picture."""

LENGTHS = tuple(
  field.name
  for field in dataclasses.fields(Species)
  if field.type is float and not field.name.endswith(("_angle", "_curl"))
)
"""The fields that vary from one creature of a species to the next."""
