"""Reads and writes project files of SLEAP (.slp, .pkg.slp) by sleap-io, an extra.

sleap-io reads NWB and JABS, too. Coordinates count from the centre of the first pixel;
it moves those of files before version 1.1. A frame is its number if there is one video,
VIDEO/000012.png if there are several or the images are inside, and the path of the
image where a video is a folder of images.
"""

import importlib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fskd_jax.data import images
from fskd_jax.data.labels import h5, row_names
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)
from fskd_jax.files import write_picture
from fskd_jax.messages import cut

SUFFIXES = (".slp", ".nwb")
_UNNAMED = re.compile(r"(Skeleton-\d+)?")


def is_one(path: pathlib.Path) -> bool:
  """Returns whether a file is one of SLEAP, NWB, or JABS (poses in an H5 file)."""
  if not path.is_file():
    return False
  if path.suffix.lower() in SUFFIXES:
    return True
  if path.suffix.lower() not in (".h5", ".hdf5"):
    return False
  with h5.open_h5(path) as file:
    return "poseest" in file or {"frames", "instances", "points"} <= {*file}


def has_images(path: pathlib.Path) -> bool:
  """Returns whether a file is a package of SLEAP, with the labelled images inside."""
  if path.suffix.lower() != ".slp":
    return False
  with h5.open_h5(path) as file:
    return "video0/video" in file


def read(path: pathlib.Path) -> Labels:
  """Reads a file: what persons labelled, and what a machine did where they did not.

  Raises:
    ImportError: sleap-io is not installed.
    ValueError: The file is damaged, or declares more than a gigabyte.
  """
  project = _load(path)
  names = _video_names(project.videos)
  labelled = tuple(
    LabelledImage(
      _frame_name(frame.video, int(frame.frame_idx), names),
      _size(frame.video),
      tuple(_objects(frame)),
    )
    for frame in project.labeled_frames
  )
  categories = {
    _species(skeleton): Category(
      tuple(skeleton.node_names), tuple((a, b) for a, b in skeleton.edge_names)
    )
    for skeleton in project.skeletons
  }
  return Labels(labelled, categories)


def extract(path: pathlib.Path, folder: pathlib.Path) -> int:
  """Writes the labelled images inside a package, by the names that `read` gives them.

  Args:
    path: The file.
    folder: The folder of the images, made if it is missing.

  Returns:
    The number of images; 0 if there are none inside.

  Raises:
    ImportError, ValueError: As for `read`, or an image is damaged or too large.
  """
  project = _load(path)
  names = _video_names(project.videos)
  count = 0
  for frame in project.labeled_frames:
    backend, number = _inside(frame.video), int(frame.frame_idx)
    if backend is None:
      continue
    name = _frame_name(frame.video, number, names)
    raw = backend.get_frame_raw_bytes(number)
    if raw is not None:  # the decoder of sleap-io knows no limit
      with images.opened(np.asarray(raw).tobytes(), f"{path}: {name}"):
        pass
    pixels = np.asarray(backend[number])
    write_picture(
      folder / str(name), pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    )
    count += 1
  return count


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes a .slp file that names the images; those of one size are one video.

  Keypoints that a machine placed become predicted instances. SLEAP asks for the folder
  of the images when it opens the file.

  Raises:
    ImportError: sleap-io is not installed.
  """
  sio = _sleap_io()
  skeletons = {
    species: sio.Skeleton(
      nodes=[*category.keypoints],
      edges=[*category.skeleton],
      name=species or None,
    )
    for species, category in labels.categories.items()
  }
  by_size: dict[Any, list[LabelledImage]] = {}
  for image in labels.images:
    by_size.setdefault(image.size, []).append(image)
  videos, frames = [], []
  for size, several in by_size.items():
    video = _video(sio, [str(image.name) for image in several], size)
    videos.append(video)
    for number, image in enumerate(several):
      instances = [_instance(sio, found, skeletons) for found in image.objects]
      kept = [instance for instance in instances if instance is not None]
      frames.append(sio.LabeledFrame(video=video, frame_idx=number, instances=kept))
  project = sio.Labels(frames, videos=videos, skeletons=[*skeletons.values()])
  sio.save_slp(project, str(unfinished), verbose=False)


def _video(sio: Any, names: list[str], size: tuple[int, int]) -> Any:
  width, height = size
  told = {
    "type": "ImageVideo",
    "filename": names[0],
    "filenames": names,
    "shape": [len(names), height, width, 3],
    "height_": height,
    "width_": width,
    "channels_": 3,
    "grayscale": False,
  }
  return sio.Video(names, backend_metadata=told, open_backend=False)


def _instance(sio: Any, found: LabelledObject, skeletons: dict[str, Any]) -> Any:
  """Returns an instance, predicted if a machine placed a keypoint; None without any."""
  if not found.keypoints:
    return None
  skeleton = skeletons[found.species]
  points = np.full((len(skeleton.node_names), 2), np.nan)
  scores = np.full(len(points), np.nan)
  for place, name in enumerate(skeleton.node_names):
    if point := found.keypoints.get(name):
      points[place] = point.x, point.y
      scores[place] = np.nan if point.confidence is None else point.confidence
  if np.isnan(scores).all():
    return sio.Instance.from_numpy(points, skeleton=skeleton)
  return sio.PredictedInstance.from_numpy(
    points, point_scores=scores, score=float(np.nanmean(scores)), skeleton=skeleton
  )


def _sleap_io() -> Any:
  try:
    return importlib.import_module("sleap_io")
  except ImportError as error:
    raise ImportError(
      "SLEAP's project files need sleap-io: pip install -e '.[sleap]' in the clone of "
      "fskd_jax; or export the labels in SLEAP as analysis HDF5"
    ) from error


def _load(path: pathlib.Path) -> Any:
  sleap_io = _sleap_io()
  h5.check_file(path)
  with h5.open_h5(path) as file:
    is_jabs = "poseest" in file
  try:
    if path.suffix.lower() == ".nwb":
      return sleap_io.load_nwb(str(path))
    if is_jabs:
      return sleap_io.load_jabs(str(path))
    project = sleap_io.load_slp(str(path), open_videos=False)
    for video in project.videos:  # others may be anywhere, and web addresses
      if isinstance(video.filename, str) and os.path.realpath(
        video.filename
      ) == os.path.realpath(path):
        video.open()
    return project
  except Exception as error:  # whatever its libraries raise for a damaged file
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    raise ValueError(f"{path}: sleap-io cannot read it: {cut(reason)}") from error


def _inside(video: Any) -> Any:
  """Returns what reads the images inside the file, uncropped; None without them."""
  backend = getattr(video.backend, "inner", video.backend)
  return backend if getattr(backend, "has_embedded_images", False) else None


def _video_names(videos: Sequence[Any]) -> dict[int, str]:
  """Returns names for videos, by their identity; no two are equal."""
  found: dict[int, str] = {}
  for number, video in enumerate(videos):
    source = video if video.source_video is None else video.source_video
    file = source.filename[0] if isinstance(source.filename, list) else source.filename
    stem = pathlib.PurePosixPath(str(file).replace("\\", "/")).stem
    found[id(video)] = f"{stem}_{number}" if stem in found.values() else stem
  return found


def _frame_name(video: Any, number: int, names: dict[int, str]) -> str | int:
  if isinstance(video.filename, list) and number < len(video.filename):
    return str(video.filename[number]).replace("\\", "/")
  if len(names) == 1 and _inside(video) is None:
    return number
  return row_names.frame_name(names[id(video)], number)


def _size(video: Any) -> tuple[int, int] | None:
  """Returns (width, height) of images inside the file; other videos are not opened."""
  backend = _inside(video)
  if backend is None:
    return None
  _, height, width, _ = backend.shape
  return int(width), int(height)


def _objects(frame: Any) -> Iterator[LabelledObject]:
  for instance in (*frame.user_instances, *frame.unused_predictions):
    points = instance.points
    scores = points["score"] if "score" in points.dtype.names else None
    keypoints = {}
    for place, name in enumerate(instance.skeleton.node_names):
      x, y = (float(value) for value in points["xy"][place])
      if bool(points["visible"][place]) and np.isfinite(x + y):
        sure = None if scores is None else float(scores[place])
        sure = None if sure is None or np.isnan(sure) else sure
        keypoints[name] = Keypoint(x, y, confidence=sure)
    if keypoints:
      yield LabelledObject(keypoints, _species(instance.skeleton))


def _species(skeleton: Any) -> str:
  """Returns the name of a skeleton, "" for those that SLEAP gives itself."""
  name = str(skeleton.name or "")
  return "" if _UNNAMED.fullmatch(name) else name
