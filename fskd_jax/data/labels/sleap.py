"""Reads and writes SLEAP's analysis H5: tracks of a video.

`tracks` is (track, 2, node, frame) with NaN for missing, unless its attribute `dims`
has another order (sleap-io), or the file was written with transpose=False. Coordinates
count from the centre of the first pixel since version 1.1 of SLEAP's files. Frames are
numbers: frame i, from 0, is the image whose name ends in the number i.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float64

from fskd_jax.data.labels import h5, row_names, tables
from fskd_jax.data.labels.schema import Category, LabelledImage, LabelledObject, Labels
from fskd_jax.messages import raise_if, shown

_ORDER = ["track", "xy", "node", "frame"]
_PYTHON_ORDER = ["frame", "node", "xy", "track"]
_BLOCK = 2**22  # numbers read at a time


def read(path: pathlib.Path) -> Labels:
  """Reads a file, with an object for each track of a frame.

  Raises:
    ValueError: A data set is missing, or has another shape.
  """
  with h5.open_h5(path) as file:
    for name in ("tracks", "node_names"):
      if h5.node(file, name) is None:
        raise ValueError(f"has no data set {name!r}; expected SLEAP's analysis")
    nodes = h5.texts(file, "node_names").tolist()
    if len({*nodes}) < len(nodes):
      raise ValueError(f"two nodes have the same name: {shown(nodes)}")
    skeleton = _skeleton(file, nodes)
    data = h5.dataset(file, "tracks")
    axes = _axes(data, len(nodes), file.attrs.get("transpose", True))
    objects: dict[int, tuple[LabelledObject, ...]] = {}
    for first, block in _blocks(data, axes, _scores(file, data, axes)):
      objects |= {first + i: found for i, found in _objects(block, nodes)}
    frames = data.shape[axes[3]]
  images = [LabelledImage(i, None, objects.get(i, ())) for i in range(frames)]
  return Labels(tuple(images), {"": Category(tuple(nodes), skeleton)})


def _skeleton(file: h5py.File, nodes: list[str]) -> tuple[tuple[str, str], ...]:
  if "edge_names" not in file or not h5.dataset(file, "edge_names").size:
    return ()
  edges = [tuple(edge) for edge in h5.texts(file, "edge_names").tolist()]
  strange = [shown(e) for e in edges if len(e) != 2 or not {*e} <= {*nodes}]
  raise_if(strange, ValueError, "edges that are not between two of its nodes")
  return tuple((a, b) for a, b in edges)


def _axes(data: Any, nodes: int, is_transposed: bool) -> list[int]:
  """Returns the positions of the axes `_ORDER`, and checks the declared shape.

  Files that were not transposed for MATLAB have the axes in the order of Python.
  """
  dims = list(json.loads(data.attrs["dims"])) if "dims" in data.attrs else _ORDER
  if "dims" not in data.attrs and data.ndim == 4:
    is_python = data.shape[1] == nodes and data.shape[2] == 2 != data.shape[1]
    dims = _ORDER if is_transposed and not is_python else _PYTHON_ORDER
  if data.ndim != 4 or sorted(dims) != sorted(_ORDER) or data.dtype.kind not in "fiu":
    raise ValueError(
      f"tracks has the axes {shown(dims)}, the shape {data.shape} and the type "
      f"{data.dtype}"
    )
  axes = [dims.index(axis) for axis in _ORDER]
  shape = tuple(data.shape[axis] for axis in axes)
  if shape[1:3] != (2, nodes):
    raise ValueError(
      f"tracks has the shape {shape}, expected (track, 2, {nodes} nodes, frame)"
    )
  h5.check_size(shape, "tracks")
  if shape[3] > h5.MOST_ROWS:
    raise ValueError(f"tracks has {shape[3]} frames, expected at most {h5.MOST_ROWS}")
  return axes


def _scores(
  file: h5py.File, tracks: Any, axes: list[int]
) -> Float64[np.ndarray, "t n f"] | None:
  """Returns the confidence of the machine; NaN where a person placed the point."""
  if h5.node(file, "point_scores") is None:
    return None
  data = h5.dataset(file, "point_scores")
  order = [name for name in _ORDER if name != "xy"]
  same = [_ORDER[axes.index(place)] for place in range(4) if place != axes[1]]
  dims = list(json.loads(data.attrs["dims"])) if "dims" in data.attrs else same
  expected = tuple(tracks.shape[axes[_ORDER.index(name)]] for name in order)
  places = [dims.index(name) for name in order] if sorted(dims) == sorted(order) else []
  if tuple(data.shape[i] for i in places) != expected or data.dtype.kind not in "fiu":
    raise ValueError(
      f"point_scores has the axes {shown(dims)}, the shape {data.shape} and the type "
      f"{data.dtype}, expected {order} with the shape {expected}"
    )
  return np.asarray(data[()], np.float64).transpose(places)


def _blocks(
  data: Any, axes: list[int], scores: Float64[np.ndarray, "t n f"] | None
) -> Iterator[tuple[int, Float64[np.ndarray, "t 3 n f"]]]:
  """Yields blocks of frames: the first frame's number, and x, y and confidence."""
  frames = data.shape[axes[3]]
  step = max(_BLOCK * frames // max(data.size, 1), 1)
  for first in range(0, frames, step):
    part = [slice(None)] * 4
    part[axes[3]] = slice(first, first + step)
    block = np.asarray(data[tuple(part)], np.float64).transpose(axes)
    sure = np.full_like(block[:, 0], np.nan)
    if scores is not None:
      sure[:] = scores[..., first : first + step]
    yield first, np.concatenate([block, sure[:, None]], axis=1)


def _objects(
  block: Float64[np.ndarray, "t 3 n f"], nodes: list[str]
) -> Iterator[tuple[int, tuple[LabelledObject, ...]]]:
  """Yields the frames with a labelled point, and the objects in them."""
  if np.isinf(block).any():
    raise ValueError("holds an infinite coordinate or score, expected numbers or NaN")
  there = ~np.isnan(block[:, 0] + block[:, 1])  # [t n f]
  for frame in np.flatnonzero(there.any(0).any(0)).tolist():
    objects = []
    for track in np.flatnonzero(there[:, :, frame].any(1)).tolist():
      points = block[track, :, :, frame].T.tolist()
      places = np.flatnonzero(there[track, :, frame]).tolist()
      keypoints = {nodes[i]: tables.keypoint(*points[i]) for i in places}
      objects.append(LabelledObject(keypoints))
    yield frame, tuple(objects)


def write(labels: Labels, unfinished: pathlib.Path, out: pathlib.Path) -> None:
  """Writes the data sets that SLEAP writes.

  Raises:
    ValueError: Two images have the same number in their names, or an image has none.
  """
  table = tables.from_labels(labels)
  frames = _frames([str(name) for name in table.rows])
  count = len({individual for individual, _ in table.columns})
  names = [name for _, name in table.columns[: len(table.columns) // count]]
  shape = (count, 2, len(names), max(frames, default=-1) + 1)
  if shape[3] > h5.MOST_ROWS or 8 * np.prod(shape, dtype=float) > h5.MOST_BYTES:
    raise ValueError(
      f"{table.rows[int(np.argmax(frames))]} would be frame {max(frames)} of a video: "
      f"SLEAP's file has room for every frame, and would be larger than 1 GiB or have "
      f"more than {h5.MOST_ROWS} frames"
    )
  tracks = np.full(shape, np.nan)
  points = table.points.reshape(len(frames), count, len(names), 4).transpose(1, 3, 2, 0)
  tracks[..., frames] = points[:, :2]
  scores = np.full((count, len(names), shape[3]), np.nan)
  scores[..., frames] = points[:, 2]
  there = ~np.isnan(tracks[:, 0])
  instances = np.full((count, shape[3]), np.nan)
  scored = np.isfinite(scores).any(1)
  instances[scored] = np.nanmean(scores.swapaxes(1, 2)[scored], axis=1)
  categories = labels.categories.values()
  edges = list(dict.fromkeys(e for category in categories for e in category.skeleton))
  with h5py.File(unfinished, "w") as file:
    file.create_dataset("tracks", data=tracks, compression="gzip")
    file["track_occupancy"] = there.any(1).T.astype(np.uint8)
    file["point_scores"] = scores  # NaN where a person placed the point, as in SLEAP
    file["instance_scores"] = instances
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
  for name, number in zip(names, row_names.frames_of(names)):
    if number is None:
      raise ValueError(f"{name} has no number in its name, by which SLEAP's frames go")
    if number in frames:
      raise ValueError(
        f"{frames[number]} and {name} both end in the number {number}, by which "
        "SLEAP's frames go; convert one video at a time"
      )
    frames[number] = name
  return [*frames]


def _texts(texts: list) -> np.ndarray:
  return np.char.encode(np.array(texts, str), "utf-8")
