"""fskd data convert: converts labels of annotation tools to a COCO file, and back.

What the source is, a file, a folder or a project, is found by looking at it and told
(docs/data.md lists what is read). Check the result with `fskd data doctor`.

  fskd data convert labels.slp --out labels.json
  fskd data convert found/predictions.json --to deeplabcut --out found.csv
"""

import argparse
import pathlib
from collections.abc import Sequence

from fskd_jax.cli.arguments import probability
from fskd_jax.data.labels import (
  coco,
  completion,
  formats,
  image_roots,
  kinds,
  label_studio,
  schema,
  sleap_file,
)
from fskd_jax.files import atomic_path
from fskd_jax.messages import join_first, raise_if


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument(
    "source",
    type=pathlib.Path,
    nargs="+",
    help="file, folder or project of any tool that is read; several are merged",
  )
  parser.add_argument("--out", type=pathlib.Path, required=True, help="new file")
  parser.add_argument(
    "--to",
    choices=formats.FORMATS,
    default="coco",
    help="format of --out (%(default)s)",
  )
  parser.add_argument(
    "--images",
    type=pathlib.Path,
    help="folder of the images, for formats without image sizes (DeepLabCut, "
    "lightning-pose, SLEAP). Frame 12, counted from 0, is the image whose name ends in "
    "12",
  )
  parser.add_argument(
    "--species",
    default="object",
    help="species of objects in formats without species (%(default)s)",
  )
  parser.add_argument(
    "--keypoints",
    help="names in order, separated by commas; any other label is an error",
  )
  parser.add_argument(
    "--from-one",
    action="store_true",
    help="the source counts pixels from 1: subtract 1 from keypoints and boxes",
  )
  parser.add_argument(
    "--all-visible",
    action="store_true",
    help="for COCO of a tool that wrote no visibility: keypoints with v = 0 are "
    "visible unless they are at (0, 0)",
  )
  parser.add_argument(
    "--min-likelihood",
    type=probability,
    default=0.5,
    metavar="P",
    help="least confidence of a keypoint placed by a machine to be a label "
    "(%(default)s). Below it, formats that can hold confidence keep the keypoint with "
    "it (COCO: v = 0), and others leave it out",
  )
  parser.add_argument(
    "--strict",
    action="store_true",
    help="stop if an image file is missing, instead of leaving it out with a count",
  )
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Converts labels, and prints a summary and the losses."""
  formats.check_out(args.to, args.out)
  source = join_first(map(str, args.source), ", ")
  sources = [path for source in args.source for path in kinds.expanded(source)]
  packages = [path for path in sources if sleap_file.has_images(path)]
  inside = _folder_for(packages, args)
  if args.all_visible:
    labels = schema.merge([coco.read(path, all_visible=True) for path in sources])
  else:
    labels = formats.read_all(sources, args.images)
  print(f"{join_first(map(str, args.source), ', ')}: {kinds.summary(sources, labels)}")
  if args.keypoints:
    names = [name.strip() for name in args.keypoints.split(",")]
    labels = schema.with_names(labels, names, source)
  labels = schema.with_species(labels, args.species)
  if args.from_one:
    labels = schema.count_from_zero(labels)
  labels = labels._replace(least_confidence=args.min_likelihood)
  trusted, doubtful = schema.trusted_only(labels)
  is_kept = "confidence" in formats.FORMATS[args.to].keeps
  labels = labels if is_kept else trusted
  images = _images_near(labels, sources) if inside or not args.images else args.images
  labels, left_out, made_boxes, missing = completion.complete(labels, images, source)
  if args.strict:
    raise_if(missing, FileNotFoundError, f"images that are not in {images}")
  with atomic_path(args.out) as unfinished:
    formats.FORMATS[args.to].write(labels, unfinished, args.out)
    placed = _place_images(labels, args, sources, images, unfinished)
  if inside:
    with atomic_path(inside) as unfinished:
      count = sum(sleap_file.extract(path, unfinished) for path in packages)
    print(f"images: {count} from inside {source} are in {inside}")
  print(f"{args.out}: {schema.summary(labels)}")
  if placed:
    print(placed)
  if doubtful:
    what = "kept, but no labels" if is_kept else "left out"
    print(
      f"{what}: {doubtful} keypoints that a machine placed with a confidence below "
      f"{args.min_likelihood:g} (--min-likelihood)"
    )
  if left_out:
    print(f"left out: {left_out} labelled images or frames that are not in {images}")
  if missing:
    print(
      f"missing: {len(missing)} images that are not in {images}: {join_first(missing)}"
    )
  if made_boxes and "boxes" in formats.FORMATS[args.to].keeps:
    print(f"made: {made_boxes} boxes around the labelled keypoints, 10 % larger")
  lost = formats.losses(labels, args.to)
  if lost:
    print(f"lost, because {args.to} cannot hold it: {', '.join(lost)}")
  if args.to == "label-studio":
    print(f"labelling interface:\n{label_studio.interface(labels)}")
  return 0


def _images_near(
  labels: schema.Labels, sources: Sequence[pathlib.Path]
) -> pathlib.Path | None:
  """Returns the folder of the images, if the labels do not have their sizes."""
  if all(image.size and isinstance(image.name, str) for image in labels.images):
    return None
  found = image_roots.near(labels, sources)
  if found:
    print(f"images: those in {found} (--images)")
  return found


def _folder_for(
  packages: Sequence[pathlib.Path], args: argparse.Namespace
) -> pathlib.Path | None:
  """Returns the new folder for images inside packages of SLEAP; None without any.

  Raises:
    ValueError: It is there already. With --images it is taken for that of the images.
  """
  if not packages or (args.images and args.images.exists()):
    return None
  folder = args.images or args.out.parent / "images"
  if folder.exists():
    raise ValueError(
      f"{folder} exists already; name a new folder for the images inside {packages[0]} "
      "with --images"
    )
  return folder


def _place_images(
  labels: schema.Labels,
  args: argparse.Namespace,
  sources: Sequence[pathlib.Path],
  images: pathlib.Path | None,
  unfinished: pathlib.Path,
) -> str:
  """Puts the images into a format that is a folder of them; returns a message."""
  if formats.FORMATS[args.to].place is None:
    return ""
  images = images or image_roots.near(labels, sources)
  names = [str(image.name) for image in labels.images]
  if images and all((images / name).is_file() for name in names):
    count = formats.link_images(labels, args.to, images, unfinished, args.out)
    return f"images: {count} are in it (hard links where the disk has them)"
  return "images: none is in it, because some are not found; name theirs with --images"
