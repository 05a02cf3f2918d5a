"""Checks configurations."""

import copy
import functools
import re
from collections.abc import Iterable, Iterator

from fskd_jax.config import fields
from fskd_jax.config.encoders import coarsest_stride, encoder_problems
from fskd_jax.config.fields import walk
from fskd_jax.config.schema import Config, DataConfig, ModelConfig, OptimConfig

_SETTINGS = {
  "few_shot": tuple(
    f"{split}/{types}"
    for split in ("unseen", "seen", "validation")
    for types in ("novel", "base", "other")
  ),
  "pose": ("unseen/base", "seen/base", "validation/base", "all/base"),
}


def validate(cfg: Config) -> None:
  """Checks a configuration.

  Raises:
    ValueError: A field is wrong. The message lists each with its value and its limits.
  """
  faults = {f.name: problem for f in walk(cfg) if (problem := fields.problem(f))}
  # Fields that depend on others are checked with defaults in place of the faulty ones.
  sound = _with_defaults(cfg, faults) if faults else cfg
  if any(name.startswith("data.mixture.") for name in faults):
    # With defaults, a faulty source would be another one than the user meant.
    raise ValueError("configuration: " + "; ".join(faults.values()))
  related = [
    problem
    for problem in (
      *_data_problems(sound),
      *_run_problems(sound),
      *_task_problems(sound),
    )
    if not any(name in problem for name in faults)
  ]
  if faults or related:
    raise ValueError("configuration: " + "; ".join([*faults.values(), *related]))


def _with_defaults(cfg: Config, names: Iterable[str]) -> Config:
  cfg = copy.deepcopy(cfg)
  for field in walk(Config()):
    if field.name in names:
      *sections, last = field.name.split(".")
      setattr(functools.reduce(getattr, sections, cfg), last, field.default)
  return cfg


def _data_problems(cfg: Config) -> Iterator[str]:
  if cfg.data.mixture:
    yield from _mixture_problems(cfg)
  else:
    yield from _source_problems(cfg.data, "data.")
    if not cfg.data.base and cfg.data.self_supervised.share < 1:
      yield "data.base is empty: name the keypoint types to train on"
    if cfg.data.self_supervised.share and not cfg.data.slots:
      yield "data.slots = 0: data.self_supervised.share needs slots, such as 24"
    if cfg.data.holdout:
      yield f"data.holdout = {cfg.data.holdout}: data.mixture has no source"


def _source_problems(data: DataConfig, prefix: str) -> Iterator[str]:
  """Yields the problems of one data set, whose fields have this prefix."""
  if data.name != "synthetic_creatures" and not data.path:
    needed = {"unlabelled": "images"}.get(data.name, "annotations.json")
    yield f"{prefix}path is empty: name the folder that holds {needed}"
  if data.name == "unlabelled" and data.self_supervised.share < 1:
    yield (
      f"{prefix}self_supervised.share = {data.self_supervised.share:g}: must be 1 for "
      f"{prefix}name = 'unlabelled', which has no keypoints"
    )
  if data.class_mode == "one_group" and not data.group_pattern:
    yield f"{prefix}class_mode = 'one_group': needs {prefix}group_pattern"
  try:
    re.compile(data.group_pattern)
  except re.error as error:
    said = f"{prefix}group_pattern = {data.group_pattern!r}"
    yield f"{said} is no regular expression: {error}"
  for field, (low, high) in (
    ("scale_range", data.scale_range),
    ("self_supervised.scale_range", data.self_supervised.scale_range),
  ):
    if low > high:
      yield f"{prefix}{field} = {(low, high)}: the first must not be above the second"


def _mixture_problems(cfg: Config) -> Iterator[str]:
  data = cfg.data
  names = [source.name for source in data.mixture]
  if not data.slots:
    yield "data.slots = 0: a mixture needs slots, such as 24"
  if len({*names}) < len(names):
    yield f"data.mixture: names of sources must differ, got {names}"
  unknown = [name for name in data.holdout if name not in names]
  if unknown:
    yield f"data.holdout: no source is called {unknown}; data.mixture has {names}"
  if not any(s.weight for s in data.mixture if s.name not in data.holdout):
    yield "data.mixture: no source with a weight above 0 is left to train on"
  for source in data.mixture:
    prefix = f"data.mixture.{source.name}."
    if not re.fullmatch(r"[\w-]+", source.name):
      yield f"{prefix}name: use letters, digits, '_' and '-' alone"
    if source.data.mixture:
      yield f"{prefix}data.mixture: a source is no mixture itself"
    own, shared = zip(*source.aliases) if source.aliases else ((), ())
    if len({*own}) < len(own) or len({*shared}) < len(shared):
      yield f"{prefix}aliases: a name occurs twice in {source.aliases}"
    yield from _source_problems(source.data, f"{prefix}data.")


def _run_problems(cfg: Config) -> Iterator[str]:
  train, warmup = cfg.train, cfg.optim.warmup_steps
  if warmup >= train.steps:
    yield (
      f"optim.warmup_steps = {warmup}: must be below train.steps = {train.steps}; a "
      f"tenth of them is {train.steps // 10}"
    )
  yield from _pattern_problems(cfg.optim, cfg.train.init_patterns)
  if not cfg.eval.thresholds:
    yield "eval.thresholds is empty: name at least one"
  allowed = _SETTINGS[cfg.task]
  if not cfg.eval.settings or not {*cfg.eval.settings} <= {*allowed}:
    yield f"eval.settings = {cfg.eval.settings}: choose of {allowed}"


def _pattern_problems(
  optim: OptimConfig, init_patterns: tuple[tuple[str, str], ...]
) -> Iterator[str]:
  for pattern, factor in optim.rates:
    if not 0 <= factor <= 1e6:
      yield f"optim.rates: the factor {factor:g} of {pattern!r} must lie in [0, 1e+06]"
  for field, pairs in (
    ("optim.rates", optim.rates),
    ("train.init_patterns", init_patterns),
  ):
    for pattern, *_ in pairs:
      try:
        re.compile(pattern)
      except re.error as error:
        yield f"{field}: {pattern!r} is no regular expression: {error}"


def _task_problems(cfg: Config) -> Iterator[str]:
  yield from _model_problems(cfg.model, cfg.data)
  yield from _pose_problems(cfg) if cfg.task == "pose" else _few_shot_problems(cfg)


def _few_shot_problems(cfg: Config) -> Iterator[str]:
  if cfg.data.image_width not in (0, cfg.data.image_size):
    yield (
      f"data.image_width = {cfg.data.image_width}: the few-shot detector takes square "
      f"images, as high as data.image_size = {cfg.data.image_size}"
    )


def _pose_problems(cfg: Config) -> Iterator[str]:
  pose = cfg.pose
  for field in ("mixture", "slots"):
    if getattr(cfg.data, field):
      yield f"data.{field}: is of few-shot detectors"
  if cfg.eval.protocol != "ours":
    yield f"eval.protocol = {cfg.eval.protocol!r}: is one of few-shot detectors"
  if not cfg.model.transformer.layers:
    yield "model.transformer.layers = 0: TransPose has at least one"
  if cfg.model.freeze_until:
    yield f"model.freeze_until = {cfg.model.freeze_until!r}: TransPose trains all ('')"
  unknown = [name for name in pose.lower_body if name not in cfg.data.base]
  if unknown:
    yield f"pose.lower_body: {unknown} are not among data.base = {cfg.data.base}"
  if pose.oks_sigmas and len(pose.oks_sigmas) != len(cfg.data.base):
    yield (
      f"pose.oks_sigmas = {pose.oks_sigmas}: one number for each of the "
      f"{len(cfg.data.base)} types in data.base"
    )
  if pose.detections and cfg.data.name != "coco_keypoints":
    yield f"pose.detections: works with coco_keypoints, not with {cfg.data.name}"


def _model_problems(model: ModelConfig, data: DataConfig) -> Iterator[str]:
  if len(model.resnet_blocks) != 4:
    yield f"model.resnet_blocks = {model.resnet_blocks}: one number per layer, 4"
  if len(model.small_widths) < 3:
    yield f"model.small_widths = {model.small_widths}: at least 3, for stride 8"
    return
  impossible = [*encoder_problems(model)]
  yield from impossible
  if model.transformer.layers and model.transformer.width % model.transformer.heads:
    yield (
      f"model.transformer.width = {model.transformer.width}: must be a multiple of "
      f"model.transformer.heads = {model.transformer.heads}"
    )
  if model.transformer.position == "sine" and model.transformer.width % 4:
    yield (
      f"model.transformer.width = {model.transformer.width}: must be a multiple of 4 "
      "for model.transformer.position = 'sine'"
    )
  if model.head == "mds" and model.kernel_sizes != (1,):
    yield f"model.kernel_sizes = {model.kernel_sizes}: model.head = 'mds' takes (1,)"
  if model.head == "mds" and model.bias_net:
    yield "model.bias_net = True: model.head = 'mds' has no kernels to add it to"
  if list(model.strides) != sorted(model.strides):
    yield f"model.strides = {model.strides}: must ascend"
  coarsest = 1 if impossible else coarsest_stride(model)
  for field in ("image_size", "image_width"):
    if getattr(data, field) % coarsest:
      yield f"data.{field} = {getattr(data, field)}: must be a multiple of {coarsest}"
  if not model.kernel_sizes or any(s % 2 == 0 for s in model.kernel_sizes):
    yield f"model.kernel_sizes = {model.kernel_sizes}: at least one, all odd"
  for field in ("query_upsampling", "heatmap_scale"):
    factors = getattr(model, field)
    if len(factors) not in (1, len(model.strides)):
      yield (
        f"model.{field} = {factors}: one factor, or one for each of the "
        f"strides {model.strides}"
      )
