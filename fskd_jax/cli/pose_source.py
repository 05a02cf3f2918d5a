"""Arguments that name a TransPose model: a run, or a file of weights."""

import argparse
import copy

from fskd_jax.config import Config, DataConfig
from fskd_jax.data.keypoints import COCO_PERSON
from fskd_jax.interop.weights import read_config
from fskd_jax.models.build import Model
from fskd_jax.models.transpose import VARIANTS
from fskd_jax.training.runs import load_file, load_run, load_weights

PUBLISHED_SIZE = 256, 192
"""(height, width) of the crops of the published weights."""


def add_source(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments that `load_pose_model` reads."""
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--workdir", help="folder of a run")
  source.add_argument("--weights", help="file .safetensors or .pth")
  official = parser.add_argument_group("weights without a configuration")
  official.add_argument("--variant", choices=VARIANTS, help="published architecture")
  official.add_argument(
    "--keypoints",
    type=int,
    default=len(COCO_PERSON),
    help="number of keypoint types (%(default)s)",
  )


def load_pose_model(args: argparse.Namespace) -> Model:
  """Loads the model that the arguments of `add_source` name.

  Raises:
    FileNotFoundError: There is no such run or file.
    ValueError: The model cannot be read, does not fit, or is not a TransPose.
  """
  if args.workdir:
    model, _ = load_run(args.workdir)
  elif args.variant:
    model = load_weights(args.weights, _published(args.variant, args.keypoints))
  elif read_config(args.weights) is None:
    raise ValueError(f"{args.weights} has no configuration: name its --variant")
  else:
    model = load_file(args.weights, None)
  if model.config.task != "pose":
    raise ValueError(
      f"{args.workdir or args.weights} is of the task {model.config.task!r}, "
      "expected a TransPose, 'pose'"
    )
  return model


def _published(variant: str, keypoints: int) -> Config:
  names = COCO_PERSON
  if keypoints != len(names):
    names = tuple(f"keypoint {i}" for i in range(keypoints))
  height, width = PUBLISHED_SIZE
  return Config(
    name=variant,
    task="pose",
    data=DataConfig(image_size=height, image_width=width, base=names),
    model=copy.deepcopy(VARIANTS[variant]),
  )
