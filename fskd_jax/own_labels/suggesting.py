"""Suggests which frames to label next, and writes the predicted points to correct.

A frame is worth labelling if the detector is unsure about it and it looks unlike all
that is labelled or suggested already.
"""

import logging
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.own_labels import suggestion_files
from fskd_jax.own_labels.examples import Examples
from fskd_jax.own_labels.suggestion_files import Suggestion
from fskd_jax.prediction import batches, box_files, files, inputs, photographs
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.load import load
from fskd_jax.prediction.supports import Support

MOST_FRAMES = 300
"""Number of frames that are looked at, evenly spaced; a search takes its time."""

MOST_SUPPORTS = 10
"""Number of labelled objects in the support, evenly spaced."""

COPY = 0.02
"""Distance of descriptions below which a frame is a copy of another one."""


_log = logging.getLogger(__name__)


class Seen(NamedTuple):
  """A frame that was looked at."""

  query: Query
  size: tuple[int, int]
  found: suggestion_files.Prediction
  features: Float[np.ndarray, " c"]


def suggest(
  labels: str | os.PathLike,
  frames: Sequence[str | os.PathLike],
  out: str | os.PathLike,
  *,
  number: int = 20,
  detector: KeypointDetector | str | os.PathLike | None = None,
  boxes: str | os.PathLike | None = None,
  whole_images: bool = False,
  progress: Callable[[Iterable], Iterable] = lambda x: x,
) -> list[Suggestion]:
  """Suggests frames to label next, and writes them with their predicted keypoints.

    fskd_jax.suggest("labels", ["frames"], "next", number=20)

  Writes suggestions.json and .csv, contact_sheet.png, and the predicted keypoints as
  files to correct in Label Studio, CVAT, SLEAP and DeepLabCut
  (`suggestion_files.write`).

  Args:
    labels: File or folder of the labels that are there.
    frames: Images and folders of images to choose from; labelled ones among them are
      passed over, and what cannot be read is named in a warning.
    out: New folder for the results.
    number: How many frames to suggest.
    detector: A detector, or the path that `load` takes; None is the detector that
      comes with the package.
    boxes: File of the boxes of objects, as for `predict_folder`.
    whole_images: Whether objects fill the frames, so that nothing is searched for.
    progress: Wrapper of the iterable of frames.

  Returns:
    The frames, the most useful first.

  Raises:
    FileNotFoundError: The labels, a frame or the detector is missing.
    ValueError: The labels, the detector or all frames cannot be read, all frames are
      labelled, `number` is below 1, or `out` holds earlier results.
  """
  if number < 1:
    raise ValueError(f"number is {number}, expected at least 1")
  folder = files.new_folder(pathlib.Path(out), suggestion_files.NAMES)
  examples = Examples(read_dataset(labels))
  if not isinstance(detector, KeypointDetector):
    detector = load(detector)
  queries = inputs.gather_queries(frames)
  known = box_files.read(boxes, queries, 1) if boxes is not None else {}
  queries = evenly(_new(queries, examples.dataset), MOST_FRAMES)
  rows = evenly(range(len(examples.instances)), MOST_SUPPORTS)
  support = examples.support(detector, rows)
  seen = []
  for query in progress(queries):
    box = known.get(query.path, [None])[0]
    try:
      seen.append(_look(detector, support, query, box, whole_images))
    except (ValueError, OSError) as error:
      _log.warning("not looked at: %s", error)
  if not seen:
    raise ValueError(f"frames: none of {len(queries)} can be looked at")
  every = range(len(examples.instances))
  labelled = described(detector, examples, every)
  confidence = np.array([_sureness(frame.found) for frame in seen])
  features = np.stack([frame.features for frame in seen])
  chosen = choose(confidence, features, labelled, number)
  suggested = [
    Suggestion(seen[i].query, seen[i].size, seen[i].found, float(confidence[i]), apart)
    for i, apart in chosen
  ]
  suggestion_files.write(suggested, examples.dataset, folder)
  return suggested


def choose(
  confidence: Float[np.ndarray, " q"],
  features: Float[np.ndarray, "q c"],
  labelled: Float[np.ndarray, "k c"],
  number: int,
) -> list[tuple[int, float]]:
  """Chooses the most doubtful of the frames that differ from what is labelled.

  Again and again the least confident frame is chosen of the half that is farthest from
  all that is labelled or chosen. The most doubtful frames by themselves are often those
  in which there is little to see, and near copies of each other.

  Args:
    confidence: Mean confidence of each frame, 0..1.
    features: Description of each frame, of length 1.
    labelled: Descriptions of what is labelled.
    number: How many to choose.

  Returns:
    Numbers of the frames, and their distances from what was labelled or chosen before;
    fewer than `number` where the rest are copies.
  """
  distance, chosen = _apart(features, labelled).min(1), []
  while len(chosen) < min(number, len(features)):
    is_far = distance >= max(np.median(distance), COPY)
    if not is_far.any():
      break
    best = int(np.where(is_far, confidence, np.inf).argmin())
    chosen.append((best, float(distance[best])))
    distance = np.minimum(distance, _apart(features, features[[best]])[:, 0])
  return chosen


def _apart(
  one: Float[np.ndarray, "q c"], two: Float[np.ndarray, "k c"]
) -> Float[np.ndarray, "q k"]:
  """Returns distances of descriptions of length 1."""
  return np.sqrt(np.maximum(2 - 2 * one @ two.T, 0))


def described(
  detector: KeypointDetector, examples: Examples, rows: Sequence[int]
) -> Float[np.ndarray, "r c"]:
  """Returns the descriptions of labelled objects."""
  found = []
  for part in batches.slices(len(rows)):  # so that few images are in memory
    pixels = [examples.pixels(row) for row in rows[part]]
    boxes = [examples.instances[row].box for row in rows[part]]
    found.append(detector.features(pixels, boxes))
  return np.concatenate(found)


def evenly(items: Sequence, most: int) -> list:
  """Returns at most `most` items, evenly spaced."""
  places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
  return [items[place] for place in places]


def _new(queries: Sequence[Query], dataset: KeypointDataset) -> list[Query]:
  """Returns the frames that are not labelled, judged by the content of their files.

  Raises:
    ValueError: All are labelled.
  """
  numbers = {instance.image for instance in dataset.instances}
  labelled = {_digest(dataset.read_image(number)) for number in numbers}
  sizes = {size for size, _ in labelled}

  def is_labelled(path: pathlib.Path) -> bool:
    has_size = path.is_file() and path.stat().st_size in sizes
    return has_size and _digest(path.read_bytes()) in labelled

  found = [query for query in queries if not is_labelled(query.path)]
  if not found:
    raise ValueError(f"frames: all {len(queries)} are labelled already")
  return found


def _digest(content: bytes) -> tuple[int, int]:
  return len(content), zlib.crc32(content)


def _look(
  detector: KeypointDetector,
  support: Support,
  query: Query,
  box: tuple[float, ...] | None,
  whole_images: bool,
) -> Seen:
  if query.is_video:
    raise ValueError(
      f"{query.path} is a video: save its frames as images (docs/prediction.md, Names)"
    )
  pixels = photographs.read(query.path, str(query.path))
  size = pixels.shape[1], pixels.shape[0]
  if whole_images:
    box = (0.0, 0.0, *map(float, size))
  found = detector.predict(support, [pixels], [box])
  features = detector.features([pixels], [tuple(found.box[0])])[0]
  return Seen(query, size, found, features)


def _sureness(found: suggestion_files.Prediction) -> float:
  """Returns the mean confidence of what the support shows."""
  return float(found.confidence[found.is_shown()].mean())
