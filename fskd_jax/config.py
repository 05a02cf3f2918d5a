"""The configuration schema: every option of the package and its default.

A config file in configs/ returns a `Config`; the command line overrides single
fields (`--config.optim.learning_rate=1e-3`), where a misspelt name stops the run.
The defaults are the paper's light-weight detector (AAAI 2024) as far as its
sources fix it (spec/fskd.md sections 4 to 7). Plain data: no logic but `validate`.
"""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any


@dataclasses.dataclass(kw_only=True, slots=True)
class DataConfig:
  """Which images, which keypoints, and how they are split and cropped."""

  name: str = "synthetic_creatures"  # or "coco_keypoints"
  path: str = ""  # coco_keypoints: folder with annotations.json and images/
  cache_dir: str = "data_cache"  # prepared data sets (TFDS, rendered creatures)
  images_per_species: int = 250  # synthetic_creatures
  executor: str = "tfdata"  # "tfdata": host warps; "resident": device warps
  image_size: int = 384  # height of the network's input, pixels
  image_width: int = 0  # its width; 0: square, as the few-shot detector needs it

  # Keypoint types by name. Types in neither list are unused.
  base: tuple[str, ...] = ()
  novel: tuple[str, ...] = ()
  # Interpolated types for training: (start, end) pairs of base types, and where
  # on the line between them they lie (spec/fskd.md section 2.7).
  auxiliary_paths: tuple[tuple[str, str], ...] = ()
  auxiliary_knots: tuple[float, ...] = (0.5,)
  flip_pairs: tuple[tuple[str, str], ...] = ()  # default: left/right in names

  # Species never trained on. Names, or a seeded fraction of all species.
  unseen_species: tuple[str, ...] = ()
  unseen_fraction: float = 0.0
  validation_species: tuple[str, ...] = ()
  validation_fraction: float = 0.0
  # Of every species that is trained on, this part of the images is held out. With
  # one species these images are the test split and the validation split.
  heldout_fraction: float = 0.0
  split_seed: int = 0

  # Episodes (spec/fskd.md section 2.2).
  class_mode: str = "one_class"  # or "mix_class": all species in one pool
  class_weighting: str = "uniform"  # "uniform" over species, or by "count"
  min_support_types: int = 3  # types visible in the support, at least
  min_query_types: int = 3  # of those, visible in a query, at least ...
  min_query_fraction: float = 0.4  # ... in this part of the queries

  # Augmentation, training only (spec/fskd.md section 3).
  flip_probability: float = 0.5
  rotation_probability: float = 0.25
  rotation_degrees: float = 15.0
  scale_range: tuple[float, float] = (1.0, 1.0)  # zoom of the crop about its centre
  color_jitter: float = 0.0  # log range of contrast and of each channel's gain
  shift: float = 0.0  # of the crop's side, uniform in +-shift per axis
  crop: str = "context"  # "context": random margin around the box; "box": fixed
  crop_margin: float = 1.25  # side of a fixed crop over the box's longer side
  crop_context: float = 0.8  # random margin, up to this part of the way to the border


@dataclasses.dataclass(kw_only=True, slots=True)
class TransformerConfig:
  """Attention over the cells of a feature map: TransPose (spec/transpose.md 1.4)."""

  layers: int = 0  # 0: none
  width: int = 256  # channels of a token
  hidden: int = 1024  # of the feed-forward networks
  heads: int = 8
  position: str = "sine"  # "sine", "learnable" or "none"
  dropout: float = 0.1


@dataclasses.dataclass(kw_only=True, slots=True)
class ModelConfig:
  """The light-weight detector (spec/fskd.md section 4), or TransPose.

  TransPose has the fields up to `batch_norm_momentum` and those of the precision
  and of the pretrained weights.
  """

  encoder: str = "resnet50"  # "resnet50", "hrnet" or "small"
  strides: tuple[int, ...] = (32,)  # feature maps used; see `offered_strides`
  resnet_blocks: tuple[int, ...] = (3, 4, 6, 2)  # of layer1 .. layer4
  hrnet_width: int = 32  # channels of the finest branch
  small_widths: tuple[int, ...] = (24, 48, 96, 128)  # small: strides 2, 4, 8, 16 ..
  # On top of the encoder's one feature map.
  transformer: TransformerConfig = dataclasses.field(default_factory=TransformerConfig)
  batch_norm: str = "running"  # "running": trained statistics; "frozen"
  batch_norm_momentum: float = 0.9
  pool_sigma: float = 14 / 384  # of the image side
  head: str = "smd"  # or "mds": modulate, then detect (spec/fskd.md section 8)
  mds_widths: tuple[int, ...] = (512, 512, 1024)  # mds: of its descriptor
  kernel_sizes: tuple[int, ...] = (1, 3, 5)
  kernel_generator: str = (
    "srm_crm"  # ablations: no_srm no_crm linear diagonal prototype
  )
  shared_crm: bool = True  # one CRM for all kernel sizes of a scale
  residual_crm: bool = False  # kernel = prototype + CRM, second layer near 0
  bias_net: bool = False
  similarity: str = "plain"  # "plain" (kernel / (S^2 scale)) or "cosine"
  plain_scale: float = 50.0
  temperature: float = 1.0  # factor on the heat-map (logits for cross-entropy)
  query_upsampling: tuple[float, ...] = (1.0,)  # one factor per stride
  heatmap_upsampling: str = "conv1"  # none, bilinear, conv1, conv2
  heatmap_scale: tuple[float, ...] = (2.0,)  # per stride; one value serves all
  compute_dtype: str = "float32"  # or "bfloat16": encoder and SMD matmuls
  pretrained: str = ""  # weights file for the encoder (torchvision names)
  freeze_until: str = "layer3"  # encoder stages up to this one get no gradient
  truncate_pooling_center: bool = False  # parity: the original's int() of centres


@dataclasses.dataclass(kw_only=True, slots=True)
class LossConfig:
  """Losses and their weights (spec/fskd.md section 5)."""

  heatmap: str = "mse"  # "weighted_mse", or "cross_entropy" over the cells
  target_sigma: float = 14 / 384  # of the image side (data.image_size)
  main_weight: float = 1.0
  auxiliary_weight: float = 1.0
  mfcl_weight: float = 0.002
  mfcl_level: str = "mean"  # or "instance": contrasts single images, as an ablation
  mfcl_temperature: float = 0.05
  negatives_per_image: int = 10  # N_neg; 0 turns sampled negatives off
  negative_distance: float = 30 / 384  # rho, of the image side
  negative_box_scale: float = 1.15  # alpha


@dataclasses.dataclass(kw_only=True, slots=True)
class OptimConfig:
  """The optimiser."""

  optimizer: str = "adam"  # or "adamw"
  learning_rate: float = 1e-4
  schedule: str = "constant"  # or "cosine"
  final_rate: float = 0.01  # cosine: ends at this part of the rate
  warmup_steps: int = 0
  weight_decay: float = 0.0  # adamw
  clip_norm: float = 0.0  # global gradient norm; 0 is off


@dataclasses.dataclass(kw_only=True, slots=True)
class TrainConfig:
  """The training run."""

  steps: int = 20_000
  episodes_per_step: int = 2  # over all devices
  shots: int = 1  # k
  queries: int = 5  # m
  rotate_support: bool = False  # every image of an episode serves as support once
  seed: int = 0
  log_every: int = 20  # steps
  validate_every: int = 1_000
  validation_episodes: int = 100
  picture_every: int = 1_000  # prediction pictures in TensorBoard
  checkpoint_every: int = 500
  keep_checkpoints: int = 3
  backend: str = "pmap"  # "pmap", "shard_map" or "single"


@dataclasses.dataclass(kw_only=True, slots=True)
class EvalConfig:
  """The evaluation: fixed, listed episodes per setting."""

  episodes: int = 1_000  # per setting
  shots: int = 1
  queries: int = 5
  batch_episodes: int = 8
  seed: int = 1
  thresholds: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2)  # of the longer box side
  # "ours": crops fixed by the box, exact distances; or "reference": random crops and
  # distances as the original code has them (docs/evaluation.md).
  protocol: str = "ours"
  # <split>/<types>; "other": types of the vocabulary that are in neither list. Pose:
  # <split>/base, every instance of it; "all" is the whole data set.
  settings: tuple[str, ...] = (
    "unseen/novel", "unseen/base", "seen/novel", "seen/base"
  )  # fmt: skip


@dataclasses.dataclass(kw_only=True, slots=True)
class PoseConfig:
  """Supervised pose estimation with TransPose (spec/transpose.md section 6).

  Of `data`, the pose task uses the split, `base` as its keypoints, `flip_probability`
  and `color_jitter`; what it has no use for, it leaves aside.
  """

  # Augmentation, training only.
  half_body_probability: float = 0.3  # shows the upper or the lower body alone
  lower_body: tuple[str, ...] = ()  # types of the lower body; none: no half bodies
  scale_std: float = 0.35  # normal factor on the crop's size, cut at one std
  rotation_probability: float = 0.6
  rotation_std: float = 45.0  # degrees, normal, cut at two std

  # Decoding and evaluation.
  decoding: str = "dark"  # subpixel by the shape of the peak; or "argmax"
  flip_test: bool = True  # average with the mirrored image
  detections: str = ""  # COCO detection results (JSON); "" takes the annotated boxes
  # Of OKS, one for each type. Default: COCO's by name, 0.079 for other types.
  oks_sigmas: tuple[float, ...] = ()


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
  """One experiment."""

  name: str = "base"
  task: str = "few_shot"  # or "pose": TransPose on the fixed keypoints of data.base
  data: DataConfig = dataclasses.field(default_factory=DataConfig)
  model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
  loss: LossConfig = dataclasses.field(default_factory=LossConfig)
  optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
  train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
  eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
  pose: PoseConfig = dataclasses.field(default_factory=PoseConfig)


CHOICES = {
  "task": ("few_shot", "pose"),
  "data.name": ("synthetic_creatures", "coco_keypoints"),
  "data.executor": ("tfdata", "resident"),
  "data.class_mode": ("one_class", "mix_class"),
  "data.class_weighting": ("uniform", "count"),
  "data.crop": ("context", "box"),
  "model.encoder": ("resnet50", "hrnet", "small"),
  "model.transformer.position": ("sine", "learnable", "none"),
  "model.head": ("smd", "mds"),
  "model.batch_norm": ("running", "frozen"),
  "model.kernel_generator": (
    "srm_crm",
    "no_srm",
    "no_crm",
    "linear",
    "diagonal",
    "prototype",
  ),
  "model.similarity": ("plain", "cosine"),
  "model.heatmap_upsampling": ("none", "bilinear", "conv1", "conv2"),
  "model.compute_dtype": ("float32", "bfloat16"),
  "model.freeze_until": ("", "stem", "layer1", "layer2", "layer3", "layer4"),
  "loss.heatmap": ("mse", "weighted_mse", "cross_entropy"),
  "loss.mfcl_level": ("mean", "instance"),
  "optim.optimizer": ("adam", "adamw"),
  "optim.schedule": ("constant", "cosine"),
  "train.backend": ("pmap", "shard_map", "single"),
  "eval.protocol": ("ours", "reference"),
  "pose.decoding": ("dark", "argmax"),
}
"""The values that fields of fixed choice accept."""

_POSITIVE = """
  data.image_size data.images_per_species data.crop_margin model.pool_sigma
  model.plain_scale model.temperature loss.target_sigma loss.mfcl_temperature
  optim.learning_rate train.steps train.episodes_per_step train.shots train.queries
  train.log_every train.validate_every train.validation_episodes train.picture_every
  train.checkpoint_every train.keep_checkpoints eval.episodes eval.shots eval.queries
  eval.batch_episodes
""".split()
_FRACTIONS = """
  data.unseen_fraction data.validation_fraction data.heldout_fraction
  data.flip_probability data.rotation_probability data.min_query_fraction
  pose.half_body_probability pose.rotation_probability optim.final_rate
""".split()
_SETTINGS = {
  "few_shot": tuple(
    f"{split}/{types}"
    for split in ("unseen", "seen")
    for types in ("novel", "base", "other")
  ),
  "pose": ("unseen/base", "seen/base", "validation/base", "all/base"),
}


def validate(cfg: Config) -> None:
  """Checks a configuration.

  Raises:
    ValueError: lists every problem with the field, its value and what it takes.
  """
  values = flatten(cfg)
  problems = [
    f"{field} = {values[field]!r}: choose one of {', '.join(map(repr, allowed))}"
    for field, allowed in CHOICES.items()
    if values[field] not in allowed
  ]
  problems += [
    f"{field} = {values[field]!r}: must be above 0"
    for field in _POSITIVE
    if not values[field] > 0
  ]
  problems += [
    f"{field} = {values[field]!r}: must lie in [0, 1]"
    for field in _FRACTIONS
    if not 0 <= values[field] <= 1
  ]
  if cfg.model.encoder in CHOICES["model.encoder"]:
    problems += _model_problems(cfg.model, cfg.data)
  if cfg.train.checkpoint_every % cfg.train.log_every:
    problems.append(
      f"train.checkpoint_every = {cfg.train.checkpoint_every}: must be a multiple of "
      f"train.log_every = {cfg.train.log_every}, so that a resumed run logs the same"
    )
  if not cfg.data.base:
    problems.append("data.base is empty: name the keypoint types to train on")
  if cfg.data.name == "coco_keypoints" and not cfg.data.path:
    problems.append("data.path is empty: name the folder that holds annotations.json")
  if cfg.task in _SETTINGS:
    allowed = _SETTINGS[cfg.task]
    if not cfg.eval.settings or not {*cfg.eval.settings} <= {*allowed}:
      problems.append(f"eval.settings = {cfg.eval.settings}: choose of {allowed}")
  low, high = cfg.data.scale_range
  if not 0 < low <= high:
    problems.append(f"data.scale_range = {(low, high)}: must be 0 < low <= high")
  problems += _pose_problems(cfg) if cfg.task == "pose" else _few_shot_problems(cfg)
  if problems:
    raise ValueError("configuration: " + "; ".join(problems))


def _few_shot_problems(cfg: Config) -> Iterator[str]:
  if cfg.data.image_width not in (0, cfg.data.image_size):
    yield (
      f"data.image_width = {cfg.data.image_width}: the few-shot detector takes square "
      f"images, as high as data.image_size = {cfg.data.image_size}"
    )


def _pose_problems(cfg: Config) -> Iterator[str]:
  pose = cfg.pose
  if cfg.eval.protocol != "ours":
    yield f"eval.protocol = {cfg.eval.protocol!r}: is one of few-shot detectors"
  if not cfg.model.transformer.layers:
    yield "model.transformer.layers = 0: TransPose has at least one"
  if cfg.model.freeze_until:
    yield f"model.freeze_until = {cfg.model.freeze_until!r}: TransPose trains all ('')"
  if not 0 <= pose.scale_std < 1:
    yield f"pose.scale_std = {pose.scale_std}: must lie in [0, 1)"
  if pose.rotation_std < 0:
    yield f"pose.rotation_std = {pose.rotation_std}: must not be below 0"
  unknown = [name for name in pose.lower_body if name not in cfg.data.base]
  if unknown:
    yield f"pose.lower_body: {unknown} are not among data.base = {cfg.data.base}"
  if pose.oks_sigmas and (
    len(pose.oks_sigmas) != len(cfg.data.base) or min(pose.oks_sigmas) <= 0
  ):
    yield (
      f"pose.oks_sigmas = {pose.oks_sigmas}: one number above 0 for each of the "
      f"{len(cfg.data.base)} types in data.base"
    )
  if pose.detections and cfg.data.name != "coco_keypoints":
    yield f"pose.detections: works with coco_keypoints, not with {cfg.data.name}"


def _model_problems(model: ModelConfig, data: DataConfig) -> Iterator[str]:
  strides = offered_strides(model)
  coarsest = coarsest_stride(model)
  if not model.strides or any(s not in strides for s in model.strides):
    yield f"model.strides = {model.strides}: {model.encoder} offers {strides}"
  if model.transformer.layers and len(model.strides) != 1:
    yield f"model.strides = {model.strides}: the transformer works on one feature map"
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
  for field in ("image_size", "image_width"):
    if getattr(data, field) < 0 or getattr(data, field) % coarsest:
      yield f"data.{field} = {getattr(data, field)}: must be a multiple of {coarsest}"
  if not model.kernel_sizes or any(s < 1 or s % 2 == 0 for s in model.kernel_sizes):
    yield f"model.kernel_sizes = {model.kernel_sizes}: must be odd and positive"
  for field in ("query_upsampling", "heatmap_scale"):
    factors = getattr(model, field)
    if len(factors) not in (1, len(model.strides)) or any(f < 1 for f in factors):
      yield (
        f"model.{field} = {factors}: one factor >= 1, or one for each of the "
        f"strides {model.strides}"
      )


def crop_size(data: DataConfig) -> tuple[int, int]:
  """Returns (height, width) of the network's input, pixels."""
  return data.image_size, data.image_width or data.image_size


def coarsest_stride(model: ModelConfig) -> int:
  """Returns the stride of the coarsest map computed: image sides are multiples of it.

  Raises:
    ValueError: there is no such encoder.
  """
  if model.encoder == "hrnet":
    return 16
  offered = offered_strides(model)
  # ResNet stops at the last map that is used; the small encoder goes all the way down.
  used = model.strides if model.encoder == "resnet50" else ()
  return max(used or offered)


def offered_strides(model: ModelConfig) -> tuple[int, ...]:
  """Returns the strides of the feature maps that an encoder has.

  Raises:
    ValueError: there is no such encoder.
  """
  if model.encoder == "resnet50":
    return (8, 16, 32)
  if model.encoder == "hrnet":
    return (4,)
  if model.encoder == "small":
    return tuple(2**i for i in range(3, len(model.small_widths) + 1))
  raise ValueError(
    f"model.encoder = {model.encoder!r}: choose one of {CHOICES['model.encoder']}"
  )


def flatten(cfg: Any, prefix: str = "") -> dict[str, Any]:
  """Returns {"data.path": ..., ...} of a (sub-)configuration."""
  flat = {}
  for field in dataclasses.fields(cfg):
    value = getattr(cfg, field.name)
    if dataclasses.is_dataclass(value):
      flat.update(flatten(value, f"{prefix}{field.name}."))
    else:
      flat[prefix + field.name] = value
  return flat


def to_dict(cfg: Config) -> dict[str, Any]:
  """Returns nested plain dicts and lists, ready for JSON."""
  return dataclasses.asdict(cfg)


def from_dict(values: dict[str, Any]) -> Config:
  """Rebuilds a configuration from `to_dict` or from its JSON.

  Raises:
    ValueError: lists the unknown fields.
  """
  return _build(Config, values, "")


def _build(kind: Any, values: dict[str, Any], prefix: str) -> Any:
  hints = typing.get_type_hints(kind)
  unknown = sorted(set(values) - set(hints))
  if unknown:
    names = ", ".join(prefix + name for name in unknown)
    raise ValueError(f"configuration has unknown fields: {names}")
  built = {}
  for name, value in values.items():
    if dataclasses.is_dataclass(hints[name]):
      built[name] = _build(hints[name], value, f"{prefix}{name}.")
    else:
      built[name] = _tuples(value)
  return kind(**built)


def _tuples(value: Any) -> Any:
  """JSON has no tuples; the schema has no lists."""
  return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
