"""Table of the names that the published weights of each encoder have."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from fskd_jax.config import ModelConfig
from fskd_jax.interop import vit_names
from fskd_jax.models import efficientnet_lite, hrnet
from fskd_jax.models.resnet import BLOCKS, STAGES
from fskd_jax.models.vit import SIZES

BLOCK_NAMES = {
  "conv1": "conv1",
  "bn1": "bn1",
  "conv2": "conv2",
  "bn2": "bn2",
  "conv3": "conv3",
  "bn3": "bn3",
  "downsample_conv": "downsample.0",
  "downsample_bn": "downsample.1",
}
"""Names within a residual block, in torchvision and in HRNet."""

ModuleNames = dict[str, str]
"""Prefixes in a state dict by the paths of modules, such as {"layer1_0/bn1": ..}."""


class EncoderNames(NamedTuple):
  """Names of one encoder.

  Attributes:
    published: Function from a model to the names in published files (torchvision,
      HRNet, TransPose, efficientnet_lite_pytorch) of the modules below the encoder.
    unused: Prefixes in published files of what comes after our part of the network.
    blocks: Prefixes of numbered blocks, of which a model may use the first ones only.
    translated: Function from tensors and a model to tensors with published names, for
      files that have others.
    detector: Function from a model to the names in the original few-shot detector, if
      they are others than "encoder." and the published name.
  """

  published: Callable[[ModelConfig], ModuleNames]
  unused: tuple[str, ...] = ()
  blocks: tuple[str, ...] = ()
  translated: (
    Callable[[Mapping[str, np.ndarray], ModelConfig], dict[str, np.ndarray]] | None
  ) = None
  detector: Callable[[ModelConfig], ModuleNames] | None = None


def resnet_names(model: ModelConfig) -> ModuleNames:
  """Returns torchvision's names of the modules of a `ResNet`."""
  names = {name: name for name in ("conv1", "bn1")}
  all_blocks = BLOCKS.get(model.encoder, model.resnet_blocks)
  for stage, num_blocks in zip(STAGES, all_blocks):
    for i in range(num_blocks):
      names |= _block_names(f"{stage}_{i}/", f"{stage}.{i}.")
  return names


def _detector_resnet_names(model: ModelConfig) -> ModuleNames:
  # The original's index counts all of layer1 as 4 and every later block on from 5.
  root = "encoder.encoder_list."
  names, index = {"conv1": root + "0", "bn1": root + "1"}, 5
  for stage, num_blocks in zip(STAGES, model.resnet_blocks):
    for block in range(num_blocks):
      number = f"4.{block}" if stage == "layer1" else index
      index += stage != "layer1"
      names |= _block_names(f"{stage}_{block}/", f"{root}{number}.")
  return names


def _hrnet_names(model: ModelConfig) -> ModuleNames:
  del model  # the names do not depend on the width
  names = {name: name for name in ("conv1", "bn1", "conv2", "bn2")}
  for i in range(hrnet.NUM_BLOCKS):
    names |= _block_names(f"layer1_{i}/", f"layer1.{i}.")
  # A branch that only changes its channels has one level less.
  names |= _conv_norm_names("transition1_0", "transition1.0")
  names |= _conv_norm_names("transition1_1", "transition1.1.0")
  names |= _conv_norm_names("transition2_2", "transition2.2.0")
  for stage, (num_branches, num_modules) in hrnet.STAGES.items():
    for number in range(num_modules):
      names |= _module_names(f"{stage}_{number}/", f"{stage}.{number}.", num_branches)
  return names


def _module_names(flax: str, torch: str, num_branches: int) -> ModuleNames:
  names = {}
  for i in range(num_branches):
    for block in range(hrnet.NUM_BLOCKS):
      names |= _block_names(
        f"{flax}branch{i}_{block}/", f"{torch}branches.{i}.{block}."
      )
    for j in range(num_branches):
      fuse, official = f"{flax}fuse{i}_{j}", f"{torch}fuse_layers.{i}.{j}"
      if j > i:
        names |= _conv_norm_names(fuse, official)
      for step in range(i - j):
        names |= _conv_norm_names(f"{fuse}_{step}", f"{official}.{step}")
  return names


def _efficientnet_lite_names(model: ModelConfig) -> ModuleNames:
  names = {"conv_stem": "_conv_stem", "bn0": "_bn0"}
  _, depth = efficientnet_lite.SCALES[model.encoder]
  blocks = [
    f"{stage}_{block}"
    for stage, repeats in efficientnet_lite.repeats(depth).items()
    for block in range(repeats)
  ]
  inside = ("expand_conv", "bn0", "depthwise_conv", "bn1", "project_conv", "bn2")
  for number, block in enumerate(blocks):
    names |= {f"{block}/{name}": f"_blocks.{number}._{name}" for name in inside}
  return names


def _block_names(flax: str, torch: str) -> ModuleNames:
  return {flax + name: torch + official for name, official in BLOCK_NAMES.items()}


def _conv_norm_names(flax: str, torch: str) -> ModuleNames:
  return {f"{flax}/conv": f"{torch}.0", f"{flax}/bn": f"{torch}.1"}


_RESNET = EncoderNames(
  resnet_names, unused=("fc.",), blocks=tuple(f"{stage}." for stage in STAGES)
)

NAMES: dict[str, EncoderNames | None] = {
  "resnet50": _RESNET._replace(detector=_detector_resnet_names),
  **dict.fromkeys(BLOCKS, _RESNET),
  "hrnet": EncoderNames(
    _hrnet_names,
    unused=(
      *("transition3.", "stage4."),
      *("stage3.3.fuse_layers.1.", "stage3.3.fuse_layers.2."),
      *("incre_modules.", "downsamp_modules.", "classifier."),
    ),
  ),
  "small": None,
  **dict.fromkeys(
    efficientnet_lite.SCALES,
    EncoderNames(
      _efficientnet_lite_names,
      unused=("_conv_head.", "_bn1.", "_fc."),
      blocks=("_blocks.",),
    ),
  ),
  **dict.fromkeys(
    SIZES,
    EncoderNames(
      vit_names.vit_names, unused=vit_names.UNUSED, translated=vit_names.translated
    ),
  ),
}
"""Names of every row of `config.encoders.ENCODERS`; None: no published weights."""
