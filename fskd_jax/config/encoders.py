"""Table of the encoders: the options of each that a configuration may choose.

With the same keys, `models.encoder.BUILDERS` builds them and
`interop.encoder_names.NAMES` holds the names of their published weights.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from fskd_jax.config.schema import Config, ModelConfig

Triple = tuple[float, float, float]
Rates = tuple[tuple[str, float], ...]
"""Patterns of parameter names, each with the factor on its learning rate."""

IMAGE_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGE_STD: Triple = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet, RGB in 0..1."""


class EncoderSpec(NamedTuple):
  """One encoder.

  Attributes:
    strides: Function from a model to the strides of the feature maps on offer.
    multiple: Function from a model to the number that divides the sides of images.
    stages: Pattern of the module names of each stage, from the image on; regular
      expressions for whole names below `encoder` (or `encoder/backbone`).
    made: Strides of the maps that a pyramid makes of the one on offer, beside its own.
    inner: Whether the inner channels of its blocks are on offer, which are named as
      in `stages`.
    stage_of: Last stage that a feature map depends on, by its stride; by default the
      last of all.
    freezes: Whether `model.freeze_until` takes the stages. Off where there are no
      published weights: random stages would be frozen.
    mean: Mean of the images the encoder expects as zero, RGB in 0..1.
    std: Deviation of the images from `mean` that the encoder expects as one.
  """

  strides: Callable[[ModelConfig], tuple[int, ...]]
  multiple: Callable[[ModelConfig], int]
  stages: Mapping[str, str]
  made: tuple[int, ...] = ()
  inner: bool = False
  stage_of: Mapping[int, str] = MappingProxyType({})
  freezes: bool = True
  mean: Triple = IMAGE_MEAN
  std: Triple = IMAGE_STD


def _small_strides(model: ModelConfig) -> tuple[int, ...]:
  return tuple(2**i for i in range(3, len(model.small_widths) + 1))


_LAYERS = {f"layer{i}": rf"layer{i}(_\d+)?" for i in range(1, 5)}

_EFFICIENTNET_LITE = EncoderSpec(
  strides=lambda model: (4, 8, 16, 32),
  # Nothing is built beyond the last map that is used.
  multiple=lambda model: max(used_strides(model)),
  stages={
    "stem": "conv_stem|bn0",
    **{f"stage{i}": rf"stage{i}_\d+" for i in range(1, 8)},
  },
  stage_of={4: "stage2", 8: "stage3", 16: "stage5", 32: "stage7"},
  inner=True,
  mean=(127 / 255, 127 / 255, 127 / 255),
  std=(128 / 255, 128 / 255, 128 / 255),
)


def _vision_transformer(depth: int) -> EncoderSpec:
  blocks = [f"block{i}" for i in range(depth)]
  return EncoderSpec(
    strides=lambda model: (16,),
    made=(4, 8, 32),
    multiple=lambda model: max(16, *model.strides),
    stages={name: name for name in ("embeddings", *blocks, "norm")},
  )


_RESNET = EncoderSpec(
  strides=lambda model: (4, 8, 16, 32),
  # Nothing is built beyond the last map that is used.
  multiple=lambda model: max(used_strides(model)),
  stages={"stem": "conv1|bn1", **_LAYERS},
  stage_of={4: "layer1", 8: "layer2", 16: "layer3", 32: "layer4"},
)

ENCODERS: dict[str, EncoderSpec] = {
  **dict.fromkeys(("resnet50", "resnet18", "resnet34"), _RESNET),
  "hrnet": EncoderSpec(
    strides=lambda model: (4,),
    multiple=lambda model: 16,
    stages={
      "stem": "(conv|bn)[12]",
      "layer1": r"layer1_\d+",
      "stage2": r"(transition1|stage2)_\d+",
      "stage3": r"(transition2|stage3)_\d+",
    },
  ),
  "small": EncoderSpec(
    strides=_small_strides,
    multiple=lambda model: max(_small_strides(model)),
    stages={"stem": "conv1|bn1", **_LAYERS},
    freezes=False,
  ),
  **{f"efficientnet_lite{i}": _EFFICIENTNET_LITE for i in range(5)},
  **{
    name.format(size): _vision_transformer(depth)
    for name in ("dinov2_vit{}14", "dinov2_vit{}14_reg", "dinov3_vit{}16")
    for size, depth in (("s", 12), ("b", 12), ("l", 24))
  },
}


def encoder_spec(model: ModelConfig) -> EncoderSpec:
  """Returns the row of the encoder of a model.

  Raises:
    ValueError: There is no such encoder.
  """
  if model.encoder not in ENCODERS:
    raise ValueError(next(encoder_problems(model)))
  return ENCODERS[model.encoder]


def used_strides(model: ModelConfig) -> tuple[int, ...]:
  """Returns the strides of the encoder's maps that a model uses, ascending."""
  if not model.pyramid.width:
    return model.strides
  spec = encoder_spec(model)
  if spec.made:
    return spec.strides(model)
  return tuple(sorted({*model.pyramid.inputs, *model.pyramid.beside}))


def is_wrapped(model: ModelConfig) -> bool:
  """Returns whether the encoder's modules lie below `encoder/backbone`.

  They do if a transformer or a pyramid follows, otherwise they lie below `encoder`.
  """
  return bool(model.transformer.layers or model.pyramid.width)


def offered_strides(model: ModelConfig) -> tuple[int, ...]:
  """Returns the strides of the feature maps that the encoder of a model offers.

  Raises:
    ValueError: There is no such encoder.
  """
  return encoder_spec(model).strides(model)


def coarsest_stride(model: ModelConfig) -> int:
  """Returns the stride of the coarsest map computed, which divides the image sides.

  Raises:
    ValueError: There is no such encoder.
  """
  return encoder_spec(model).multiple(model)


def encoder_problems(model: ModelConfig) -> Iterator[str]:
  """Yields the reasons why the encoder of a model cannot be built."""
  if model.encoder not in ENCODERS:
    names = ", ".join(map(repr, ENCODERS))
    yield f"model.encoder = {model.encoder!r}: choose one of {names}"
    return
  spec = ENCODERS[model.encoder]
  offered = spec.strides(model)
  if model.pyramid.width:
    yield from _pyramid_problems(model, spec)
  elif not model.strides or not {*model.strides} <= {*offered}:
    yield f"model.strides = {model.strides}: {model.encoder} offers {offered}"
  if model.transformer.layers and len(model.strides) != 1:
    yield f"model.strides = {model.strides}: the transformer works on one feature map"
  stages = ("", *spec.stages) if spec.freezes else ("",)
  if model.freeze_until not in stages:
    yield (
      f"model.freeze_until = {model.freeze_until!r}: {model.encoder} takes "
      f"{', '.join(map(repr, stages))}"
    )


def _pyramid_problems(model: ModelConfig, spec: EncoderSpec) -> Iterator[str]:
  pyramid = model.pyramid
  for field, more in (("inputs", spec.made), ("beside", ())):
    strides, offered = getattr(pyramid, field), (*spec.strides(model), *more)
    if not {*strides} <= {*offered}:
      yield f"model.pyramid.{field} = {strides}: {model.encoder} offers {offered}"
  if not model.strides or not {*model.strides} <= {*pyramid.inputs}:
    yield (
      f"model.strides = {model.strides}: the pyramid has the strides of "
      f"model.pyramid.inputs = {pyramid.inputs}"
    )
  if model.transformer.layers:
    yield (
      f"model.pyramid.width = {pyramid.width}: a pyramid and a transformer "
      "(model.transformer.layers) do not go together"
    )
  beside = (*pyramid.beside, *pyramid.inner)
  if pyramid.weights and len(pyramid.weights) != len(beside):
    yield f"model.pyramid.weights = {pyramid.weights}: expected {len(beside)} numbers"
  for field, keys in (("beside", pyramid.beside), ("inner", pyramid.inner)):
    if keys:
      yield from _thawed(model, spec, f"model.pyramid.{field} = {keys}", keys)


def _thawed(
  model: ModelConfig, spec: EncoderSpec, said: str, keys: Iterable[int | str]
) -> Iterator[str]:
  """Yields what is wrong with maps, by stride or block, that must be frozen."""
  names, deepest = [*spec.stages], -1
  for key in keys:
    stage = _stage(spec, key)
    if stage is None:
      yield f"{said}: {model.encoder} has no inner map {key!r}"
      return
    deepest = max(deepest, names.index(stage))
  frozen_to = names.index(model.freeze_until) if model.freeze_until in names else -1
  if frozen_to < deepest:
    yield (
      f"{said}: these maps must be frozen, model.freeze_until = {names[deepest]!r} "
      "or a later stage"
    )
  if model.batch_norm != "frozen":
    yield f"{said}: these maps must be frozen, model.batch_norm = 'frozen'"


def _stage(spec: EncoderSpec, key: int | str) -> str | None:
  """Returns the last stage that a map, by stride or block, depends on; None: no map."""
  if isinstance(key, int):
    return spec.stage_of.get(key, [*spec.stages][-1])
  found = (name for name, block in spec.stages.items() if re.fullmatch(block, key))
  return next(found, None) if spec.inner else None


def rates(cfg: Config) -> Rates:
  """Returns the factors on the learning rate: `model.freeze_until`, then `optim.rates`.

  See `training.optim.factors` for how they apply.
  """
  return (*frozen(cfg.model), *cfg.optim.rates)


def layer_rates(model: ModelConfig, decay: float) -> Rates:
  """Returns `optim.rates` that fall from the encoder's last stage to its first.

  The last stage in use learns at `decay` times the learning rate, the one before at
  its square, and so on; what comes after the encoder learns at the rate itself.
  Stages that `model.freeze_until` freezes are left out.

  Args:
    model: The architecture.
    decay: Factor from one stage to the one before.

  Raises:
    ValueError: There is no such encoder, or it has no such stage.
  """
  frozen(model)  # checks the encoder and its stage
  spec = encoder_spec(model)
  names = [*spec.stages]
  first = names.index(model.freeze_until) + 1 if model.freeze_until else 0
  last = max(names.index(spec.stage_of.get(s, names[-1])) for s in used_strides(model))
  learned = names[first : last + 1]
  return tuple(
    (f"encoder/(backbone/)?({spec.stages[name]})/", decay ** (len(learned) - i))
    for i, name in enumerate(learned)
  )


def frozen(model: ModelConfig) -> Rates:
  """Returns `model.freeze_until` as a factor of 0 on the encoder's first stages.

  Raises:
    ValueError: There is no such encoder, or it has no such stage.
  """
  if not model.freeze_until:
    return ()
  if problems := [p for p in encoder_problems(model) if "freeze_until" in p]:
    raise ValueError(problems[0])
  stages = encoder_spec(model).stages
  names = [*stages]
  frozen_stages = names[: names.index(model.freeze_until) + 1]
  patterns = "|".join(stages[name] for name in frozen_stages)
  return ((f"encoder/(backbone/)?({patterns})/", 0.0),)
