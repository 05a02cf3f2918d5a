"""The configuration schema: every option of the package and its default.

A config file in configs/ returns a `Config`; the command line overrides single
fields (`--config.optim.learning_rate=1e-3`), where a misspelt name stops the run.
The defaults are the paper's light-weight detector (AAAI 2024) as far as its sources fix
it (docs/algorithm.md). Plain data.

How to read a field: `one_of` lists what it takes, the default first; `number` has the
default, the least and the largest value; a `fraction` lies in [0, 1]; a `count` is a
whole number from 1. No trained weight depends on what `may_change` when a run resumes.
"""

import dataclasses
import os

from fskd_jax.config.fields import (
  count,
  fraction,
  local_path,
  number,
  one_of,
  random_seed,
  section,
  sections,
  switch,
  text,
)

CROP_MARGIN = 1.25
"""Usual width of a crop divided by the longer side of the box that it shows."""


@dataclasses.dataclass(kw_only=True, slots=True)
class SelfSupervisedConfig:
  """Episodes of one image, whose random points are found again in other views of it.

  Support and queries are independent crops; colours are those of `data.color_jitter`.
  """

  share: float = fraction(0.0)  # of the training episodes; needs no keypoints
  # Where points lie: in the "box" of an object, or in a random window of the "image".
  region: str = one_of("box", "image")
  # Points that lie close to another one of the episode, and have to be told apart.
  hard_negatives: float = fraction(0.3)
  flip_probability: float = fraction(0.1)
  rotation_degrees: float = number(45.0, 0, 180)  # uniform in +-
  tilt_degrees: float = number(40.0, 0, 80)  # see `data.tilt_degrees`
  scale_range: tuple[float, float] = number((0.6, 1.4), 0.01, 100)
  shift: float = number(0.15, 0, 100)  # of the crop's side


@dataclasses.dataclass(kw_only=True, slots=True)
class DataConfig:
  """Images, keypoints, splits, episodes and crops of a data set."""

  # "unlabelled": photographs without keypoints, for self-supervised episodes alone.
  name: str = one_of("synthetic_creatures", "coco_keypoints", "unlabelled")
  # coco_keypoints: folder, file or project of labels (docs/data.md); unlabelled: folder
  # of images; mixture: folder below which the paths of its sources lie.
  path: str = local_path()
  # Prepared data sets (TFDS, rendered creatures).
  cache_dir: str = local_path("data_cache")
  images_per_species: int = number(250, 1, 10**6)  # synthetic_creatures
  # Who warps: "tfdata" the host, "grain" too, but without TensorFlow, "resident" the
  # device.
  executor: str = one_of("tfdata", "grain", "resident", may_change=True)
  # Processes that make the training batches of "grain"; 0: one for each core, but 16 at
  # most.
  workers: int = number(0, 0, 256, may_change=True)
  image_size: int = number(384, 8, 8192)  # height of the network's input, pixels
  # Its width; 0: square, as the few-shot detector needs it.
  image_width: int = number(0, 0, 8192)

  # Several data sets in the place of one (docs/training.md#several-data-sets). Each
  # source has its own names, split, episodes and crops; of these fields count the path,
  # `cache_dir`, the executor, the size, `slots`, `color_jitter` and `grey_probability`.
  mixture: "tuple[SourceConfig, ...]" = sections()
  # Names of sources that are not trained on: all of them is "unseen/novel".
  holdout: tuple[str, ...] = ()
  # Keypoint slots of a training episode, filled by a random choice of its types in
  # random order; 0: every type has its own slot. A mixture has slots.
  slots: int = number(0, 0, 1000)
  self_supervised: SelfSupervisedConfig = section(SelfSupervisedConfig)

  # Keypoint types by name. Types in neither list are unused. In the source of a mixture
  # an empty `base` means all that are not novel.
  base: tuple[str, ...] = ()
  novel: tuple[str, ...] = ()
  # Interpolated types for training: (start, end) pairs of base types, and where
  # on the line between them they lie (docs/algorithm.md#auxiliary-keypoints).
  auxiliary_paths: tuple[tuple[str, str], ...] = ()
  auxiliary_knots: tuple[float, ...] = fraction((0.5,))
  flip_pairs: tuple[tuple[str, str], ...] = ()  # default: left/right in names

  # Species never trained on. Names, or a seeded fraction of all species.
  unseen_species: tuple[str, ...] = ()
  unseen_fraction: float = fraction(0.0)
  validation_species: tuple[str, ...] = ()
  validation_fraction: float = fraction(0.0)
  # Of every species that is trained on, this part of the images is held out. With
  # one species these images are the test split and the validation split.
  heldout_fraction: float = fraction(0.0)
  split_seed: int = random_seed(0)
  # Regular expression that finds the group of an image (its clip, its person) in its
  # file name: the first bracket of it, or all. Groups are never divided by a split.
  group_pattern: str = text("")

  # Episodes (docs/algorithm.md#episodes).
  # mix: all species in one pool; one_group: an episode shows one group.
  class_mode: str = one_of("one_class", "mix_class", "one_group")
  class_weighting: str = one_of("uniform", "count")  # of species
  # Types visible in the support, at least; of those, in a query, at least; and in
  # which part of the queries.
  min_support_types: int = number(3, 0, 10_000)
  min_query_types: int = number(3, 0, 10_000)
  min_query_fraction: float = fraction(0.4)

  # Augmentation, training only (docs/algorithm.md#augmentation).
  flip_probability: float = fraction(0.5)
  rotation_probability: float = fraction(0.25)
  rotation_degrees: float = number(15.0, 0, 180)
  # Perspective of a distant camera: the picture is a plane that is turned away by up to
  # this angle, in a random direction.
  tilt_degrees: float = number(0.0, 0, 80)
  # Zoom of the crop about its centre.
  scale_range: tuple[float, float] = number((1.0, 1.0), 0.01, 100)
  # Log range of contrast and of each channel's gain.
  color_jitter: float = number(0.0, 0, 5)
  # Of the few-shot episodes: all views grey, half of these episodes inverted, as
  # infrared, X-ray and depth images are.
  grey_probability: float = fraction(0.0)
  shift: float = number(0.0, 0, 100)  # of the crop's side, uniform in +-shift per axis
  # "context": random margin around the box; "box": fixed.
  crop: str = one_of("context", "box")
  # Side of a fixed crop over the box's longer side.
  crop_margin: float = number(CROP_MARGIN, 0.1, 10)
  # Random margin, up to this part of the way to the border.
  crop_context: float = fraction(0.8)


@dataclasses.dataclass(kw_only=True, slots=True)
class SourceConfig:
  """A source of a mixture: a data set with a name and a weight."""

  name: str = text("source")  # letters, digits, "_" and "-"
  weight: float = number(1.0, 0, 1e6)  # of its episodes among those of all sources
  # Left out with a warning where its path does not exist.
  optional: bool = switch(False)
  # (own name, shared name) of keypoint types: types of several sources with one shared
  # name are the same type. All others are different, whatever they are called.
  aliases: tuple[tuple[str, str], ...] = ()
  data: DataConfig = section(DataConfig)


@dataclasses.dataclass(kw_only=True, slots=True)
class TransformerConfig:
  """Attention over the cells of a feature map: TransPose (docs/transpose.md#layers)."""

  layers: int = number(0, 0, 1000)  # 0: none
  width: int = number(256, 1, 10**6)  # channels of a token
  hidden: int = number(1024, 1, 10**6)  # of the feed-forward networks
  heads: int = number(8, 1, 10**6)
  position: str = one_of("sine", "learnable", "none")
  dropout: float = number(0.1, 0, 0.99)


@dataclasses.dataclass(kw_only=True, slots=True)
class PyramidConfig:
  """A light feature pyramid on the encoder's maps (docs/pretrained.md#pyramid)."""

  # Channels of its maps, one for each of `model.strides`; 0: there is no pyramid.
  width: int = number(0, 0, 10_000)
  inputs: tuple[int, ...] = number((8, 16, 32), 1, 1024)  # strides of what it merges
  # Strides of maps of the encoder that the head sees beside the pyramid's, as they are.
  # Training cannot spoil them: they must be frozen.
  beside: tuple[int, ...] = number((), 1, 1024)
  # Blocks of EfficientNet-Lite, such as "stage3_1", whose inner channels (after the
  # depthwise convolution) the head sees, too. They must be frozen.
  inner: tuple[str, ...] = ()
  # Weight in a cosine of each map of `beside`, then of `inner`; that of the pyramid's
  # is 1. Empty: all are.
  weights: tuple[float, ...] = number((), 0, 1e3)


@dataclasses.dataclass(kw_only=True, slots=True)
class ModelConfig:
  """The light-weight detector (docs/algorithm.md), or TransPose.

  TransPose has the fields up to `batch_norm_momentum` and those of the precision
  and of the pretrained weights.
  """

  encoder: str = text("resnet50")  # a row of `encoders.ENCODERS`
  # Feature maps used; see `offered_strides`.
  strides: tuple[int, ...] = number((32,), 1, 1024)
  resnet_blocks: tuple[int, ...] = number((3, 4, 6, 2), 1, 1000)  # resnet50: per layer
  hrnet_width: int = number(32, 1, 10_000)  # channels of the finest branch
  # small: channels at strides 2, 4, 8, 16 ..
  small_widths: tuple[int, ...] = number((24, 48, 96, 128), 1, 100_000)
  # On top of the encoder's one feature map.
  transformer: TransformerConfig = section(TransformerConfig)
  pyramid: PyramidConfig = section(PyramidConfig)  # between encoder and head
  batch_norm: str = one_of("running", "frozen")  # running: trained statistics
  batch_norm_momentum: float = fraction(0.9)
  pool_sigma: float = number(14 / 384, 1e-4, 1)  # of the image side
  head: str = one_of("smd", "mds")  # mds: modulate, then detect (docs/algorithm.md#mds)
  mds_widths: tuple[int, ...] = number((512, 512, 1024), 1, 100_000)  # descriptor
  kernel_sizes: tuple[int, ...] = number((1, 3, 5), 1, 99)
  kernel_generator: str = one_of(  # all but the first are ablations
    "srm_crm", "no_srm", "no_crm", "linear", "prototype"
  )
  shared_crm: bool = switch(True)  # one CRM for all kernel sizes of a scale
  residual_crm: bool = switch(False)  # kernel = prototype + CRM, second layer near 0
  bias_net: bool = switch(False)
  similarity: str = one_of("plain", "cosine")  # plain: kernel / (S^2 scale)
  plain_scale: float = number(50.0, 1e-6, 1e6)
  # Factor on the heat-map (logits for cross-entropy).
  temperature: float = number(1.0, 1e-6, 1e6)
  # One factor per stride.
  query_upsampling: tuple[float, ...] = number((1.0,), 1, 64)
  heatmap_upsampling: str = one_of("conv1", "conv2", "bilinear", "none")
  # Per stride; one value serves all.
  heatmap_scale: tuple[float, ...] = number((2.0,), 1, 64)
  compute_dtype: str = one_of("float32", "bfloat16")  # of encoder and SMD matmuls
  # Weights of the encoder: a file, or a name of `fskd weights list`.
  pretrained: str = local_path()
  # Encoder stages up to this one stay as they are and get no gradient; "": all learn.
  # Their batch statistics are still recorded, unless `batch_norm` is "frozen".
  freeze_until: str = text("layer3")
  # Parity: the original's int() of centres.
  truncate_pooling_center: bool = switch(False)


@dataclasses.dataclass(kw_only=True, slots=True)
class LossConfig:
  """Losses and their weights (docs/algorithm.md#training-constants)."""

  heatmap: str = one_of("mse", "weighted_mse", "cross_entropy")  # last: over the cells
  # Of the image side (data.image_size).
  target_sigma: float = number(14 / 384, 1e-4, 1)
  main_weight: float = number(1.0, 0, 1e6)
  auxiliary_weight: float = number(1.0, 0, 1e6)
  mfcl_weight: float = number(0.002, 0, 1e6)
  # "instance" contrasts single images, as an ablation.
  mfcl_level: str = one_of("mean", "instance")
  mfcl_temperature: float = number(0.05, 1e-6, 1e6)
  # N_neg; 0 turns sampled negatives off.
  negatives_per_image: int = number(10, 0, 10_000)
  negative_distance: float = fraction(30 / 384)  # rho, of the image side
  negative_box_scale: float = number(1.15, 0.01, 100)  # alpha


@dataclasses.dataclass(kw_only=True, slots=True)
class OptimConfig:
  """The optimiser."""

  optimizer: str = one_of("adam", "adamw")
  learning_rate: float = number(1e-4, 1e-12, 1e3)
  schedule: str = one_of("constant", "cosine")
  final_rate: float = fraction(0.01)  # cosine: ends at this part of the rate
  warmup_steps: int = count(0, 0)
  weight_decay: float = number(0.0, 0, 1e3)  # adamw
  clip_norm: float = number(0.0, 0, 1e9)  # global gradient norm; 0 is off
  # (pattern, factor) pairs, the factor being on the rate of every parameter whose name
  # ("encoder/conv1/kernel") begins with the regular expression; 0 freezes. The first
  # pattern that fits counts, after `model.freeze_until`.
  rates: tuple[tuple[str, float], ...] = ()


@dataclasses.dataclass(kw_only=True, slots=True)
class TrainConfig:
  """The training run."""

  steps: int = count(20_000)
  episodes_per_step: int = number(2, 1, 10**6)  # over all devices
  # The episodes of a device are computed in so many parts, one after the other, where
  # all at once do not fit into its memory (docs/training.md#memory).
  parts: int = number(1, 1, 10**6)
  shots: int = number(1, 1, 10_000)  # k
  queries: int = number(5, 1, 10_000)  # m
  # Every image of an episode serves as support once.
  rotate_support: bool = switch(False)
  seed: int = random_seed(0)
  # Trained parameters to start from: the workdir of a run, or a file of `fskd export`
  # or of this model's PyTorch names (.safetensors, .pth).
  init_from: str = local_path()
  # (pattern, replacement) pairs: a parameter of `init_from` is loaded where its name
  # begins with the regular expression, under the name that has the replacement in its
  # place; an empty name leaves it out. The first pattern that fits counts. (): all.
  init_patterns: tuple[tuple[str, str], ...] = ()
  log_every: int = count(20, may_change=True)  # steps
  validate_every: int = count(1_000, may_change=True)
  validation_episodes: int = count(100, may_change=True)
  # Prediction pictures in TensorBoard.
  picture_every: int = count(1_000, may_change=True)
  checkpoint_every: int = count(500, may_change=True)
  keep_checkpoints: int = count(3, may_change=True)
  backend: str = one_of("pmap", "shard_map", "single", may_change=True)
  # With several processes, seconds until all of them must have started; without a sign
  # of life of one; and that one may be behind the others (docs/pods.md#lost-processes).
  join_seconds: float = number(60.0, 1, 1e5, may_change=True)
  silent_seconds: float = number(30.0, 2, 1e5, may_change=True)
  lag_seconds: float = number(60.0, 2, 1e5, may_change=True)


@dataclasses.dataclass(kw_only=True, slots=True)
class EvalConfig:
  """The evaluation on a fixed list of episodes per setting."""

  episodes: int = count(1_000)  # per setting
  shots: int = number(1, 1, 10_000)
  queries: int = number(5, 1, 10_000)
  batch_episodes: int = number(8, 1, 10**6)
  seed: int = random_seed(1)
  # Of the longer box side.
  thresholds: tuple[float, ...] = number((0.05, 0.1, 0.15, 0.2), 1e-6, 10)
  # Of the episodes, so many also without boxes: the object is searched for, which
  # costs ten times as much. 0: none. Our protocol only.
  search_episodes: int = number(50, 0, 10**9)
  # "ours": crops fixed by the box, exact distances; or "reference": random crops and
  # distances as the original code has them (docs/evaluation.md).
  protocol: str = one_of("ours", "reference")
  # "mode": the mean of a heat-map's mode, as every prediction; or "argmax": its highest
  # cell, as the original code (docs/evaluation.md).
  decoding: str = one_of("mode", "argmax")
  # Whether keypoints are read out together, by how those of the support lie to each
  # other. Strength and width are chosen on validation episodes and stored with the
  # calibration, for predictions too (docs/pretrained.md).
  geometric_prior: bool = switch(True)
  # <split>/<types>; "other": types of the vocabulary that are in neither list. Pose:
  # <split>/base, every instance of it; "all" is the whole data set.
  settings: tuple[str, ...] = (
    "unseen/novel", "unseen/base", "seen/novel", "seen/base"
  )  # fmt: skip


@dataclasses.dataclass(kw_only=True, slots=True)
class PoseConfig:
  """Supervised pose estimation with TransPose (docs/transpose.md).

  Of `data`, the pose task uses the split, `base` as its keypoints, `flip_probability`
  and `color_jitter`, and ignores the rest.
  """

  # Augmentation, training only.
  half_body_probability: float = fraction(0.3)  # shows the upper or lower body alone
  lower_body: tuple[str, ...] = ()  # types of the lower body; none: no half bodies
  # Normal factor on the crop's size, cut at one std.
  scale_std: float = number(0.35, 0, 0.99)
  rotation_probability: float = fraction(0.6)
  rotation_std: float = number(45.0, 0, 180)  # degrees, normal, cut at two std

  # Decoding ("dark": subpixel by the shape of the peak) and evaluation, where the flip
  # test averages with the mirrored image.
  decoding: str = one_of("dark", "argmax", may_change=True)
  flip_test: bool = switch(True, may_change=True)
  # COCO detection results (JSON); "" takes the annotated boxes.
  detections: str = local_path()
  # Of OKS, one for each type. Default: COCO's by name, 0.079 for other types.
  oks_sigmas: tuple[float, ...] = number((), 1e-6, 10, may_change=True)


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
  """One experiment: data, network, losses, training and evaluation.

  >>> cfg = Config(data=DataConfig(image_size=256), train=TrainConfig(steps=1000))
  >>> cfg.eval.shots = 5
  """

  name: str = text("base", may_change=True)
  # "pose": TransPose on the fixed keypoints of data.base.
  task: str = one_of("few_shot", "pose")
  data: DataConfig = section(DataConfig)
  model: ModelConfig = section(ModelConfig)
  loss: LossConfig = section(LossConfig)
  optim: OptimConfig = section(OptimConfig)
  train: TrainConfig = section(TrainConfig)
  eval: EvalConfig = section(EvalConfig, may_change=True)
  pose: PoseConfig = section(PoseConfig)


def source_data(mixture: DataConfig, source: SourceConfig) -> DataConfig:
  """Returns the data set of a source, with what it shares with the mixture."""
  path = source.data.path
  return dataclasses.replace(
    source.data,
    path=os.path.join(mixture.path, path) if path else "",
    executor=mixture.executor,
    cache_dir=mixture.cache_dir,
    image_size=mixture.image_size,
    image_width=mixture.image_width,
    slots=mixture.slots,
  )


def crop_size(data: DataConfig) -> tuple[int, int]:
  """Returns (height, width) of the network's input, pixels."""
  return data.image_size, data.image_width or data.image_size
