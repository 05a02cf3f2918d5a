"""SLEAP's analysis H5: tracks of a video.

`tracks` is (track, 2, node, frame) with NaN for missing, unless its attribute `dims`
tells another order (sleap-io). Coordinates count from the centre of the first pixel,
since version 1.1 of SLEAP's files. Frames are numbers: frame i, from 0, is the image
whose name ends in the number i.
"""

import json
import pathlib
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float64

from fskd_jax.data.labels import pandas_h5, tables
from fskd_jax.data.labels.schema import (
  Category,
  Keypoint,
  LabelledImage,
  LabelledObject,
  Labels,
)

_ORDER = ["track", "xy", "node", "frame"]
_MOST_BYTES = 2**30


def read(path: pathlib.Path) -> Labels:
  """Reads a file; an object for each track of a frame.

  Raises:
    ValueError: a data set is missing, or has another shape.
  """
  with pandas_h5.open_h5(path) as file:
    for name in ("tracks", "node_names"):
      if not isinstance(file.get(name), h5py.Dataset):
        raise ValueError(f"{path}: has no data set {name!r}; expected SLEAP's analysis")
    nodes = [pandas_h5.text(name) for name in _data(file, "node_names")]
    tracks = _tracks(file, len(nodes), path)
    edges = _data(file, "edge_names") if "edge_names" in file else []
    skeleton = tuple((pandas_h5.text(a), pandas_h5.text(b)) for a, b in edges)
  if np.isinf(tracks).any():
    raise ValueError(f"{path}: holds an infinite coordinate, expected numbers or NaN")
  images = []
  for frame in range(tracks.shape[3]):
    found = []
    for points in tracks[:, :, :, frame]:
      there = np.flatnonzero(~np.isnan(points).any(0))
      keypoints = {
        nodes[i]: Keypoint(float(points[0, i]), float(points[1, i])) for i in there
      }
      if keypoints:
        found.append(LabelledObject(keypoints))
    images.append(LabelledImage(frame, None, tuple(found)))
  return Labels(tuple(images), {"": Category(tuple(nodes), skeleton)})


def _tracks(
  file: h5py.File, nodes: int, path: pathlib.Path
) -> Float64[np.ndarray, "t 2 n f"]:
  data: Any = file["tracks"]
  dims = list(json.loads(data.attrs["dims"])) if "dims" in data.attrs else _ORDER
  if data.ndim != 4 or sorted(dims) != sorted(_ORDER):
    raise ValueError(f"{path}: tracks has the axes {dims} and the shape {data.shape}")
  tracks = np.asarray(data[()], np.float64).transpose([dims.index(a) for a in _ORDER])
  if tracks.shape[1:3] != (2, nodes):
    raise ValueError(
      f"{path}: tracks has the shape {tracks.shape}, expected (track, 2, {nodes} "
      "nodes, frame)"
    )
  return tracks


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the data sets that SLEAP writes.

  Raises:
    ValueError: two images have the same number in their names, or one has none.
  """
  table = tables.from_labels(labels)
  frames = _frames([str(name) for name in table.rows])
  count = len({individual for individual, _ in table.columns})
  names = [name for _, name in table.columns[: len(table.columns) // count]]
  shape = (count, 2, len(names), max(frames, default=-1) + 1)
  if 8 * np.prod(shape, dtype=float) > _MOST_BYTES:
    raise ValueError(
      f"{table.rows[int(np.argmax(frames))]} would be frame {max(frames)} of a video: "
      "SLEAP's file has room for every frame, and would be larger than 1 GiB"
    )
  tracks = np.full(shape, np.nan)
  points = table.points.reshape(len(frames), count, len(names), 2)
  tracks[..., frames] = points.transpose(1, 3, 2, 0)
  there = ~np.isnan(tracks[:, 0])
  categories = labels.categories.values()
  edges = list(dict.fromkeys(e for category in categories for e in category.skeleton))
  with h5py.File(unfinished, "w") as file:
    file.create_dataset("tracks", data=tracks, compression="gzip")
    file["track_occupancy"] = there.any(1).T.astype(np.uint8)
    file["point_scores"] = np.where(there, 1.0, np.nan)
    file["instance_scores"] = np.where(there.any(1), 1.0, np.nan)
    file["tracking_scores"] = np.where(there.any(1), 1.0, np.nan)
    file["node_names"] = _texts(names)
    file["track_names"] = _texts([f"track_{i}" for i in range(count)])
    file["edge_names"] = _texts(edges).reshape(-1, 2)
    places = [[names.index(name) for name in edge] for edge in edges]
    file["edge_inds"] = np.array(places, int).reshape(-1, 2)
    file["labels_path"] = file["video_path"] = ""
    file["video_ind"] = 0
    file["provenance"] = json.dumps({"source": "fskd data convert"})


def _frames(names: list[str]) -> list[int]:
  frames: dict[int, str] = {}
  for name in names:
    number = tables.frame_number(name)
    if number is None:
      raise ValueError(f"{name} has no number in its name, by which SLEAP's frames go")
    if number in frames:
      raise ValueError(
        f"{frames[number]} and {name} both end in the number {number}, by which "
        "SLEAP's frames go; convert one video at a time"
      )
    frames[number] = name
  return [*frames]


def _data(file: h5py.File, name: str) -> Any:
  data: Any = file[name]
  return data[()]


def _texts(texts: list) -> np.ndarray:
  return np.char.encode(np.array(texts, str), "utf-8")
