"""Predicts folders of images and videos into files and pictures.

Results are written as they come, so those before an early end are kept.
"""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from fskd_jax.data import fingerprint
from fskd_jax.files import write_json
from fskd_jax.pictures.marks import cut_out
from fskd_jax.prediction import box_files, files, inputs, run_labels, videos
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.files import PredictionFiles
from fskd_jax.prediction.inputs import Query
from fskd_jax.prediction.journal import Journal
from fskd_jax.prediction.load import load
from fskd_jax.prediction.pictures import OVERLAYS, Pictures, support_marks
from fskd_jax.prediction.session import BARE, CUT, LOST, Session
from fskd_jax.prediction.supports import Support
from fskd_jax.prediction.thresholds import Thresholds, split_names


class Summary(NamedTuple):
  """The outcome of `predict_folder`.

  Attributes:
    queries: Number of images and videos.
    problems: Sentences by kind of problem: `session.LOST`, `CUT` and `BARE`.
    confidences: Confidence of every keypoint that the support shows, 0..1.
    is_calibrated: Whether confidences are probabilities.
    scope: `Calibration.scope`.
    kept: Number of keypoints that are confident enough.
    images: Number of images and frames that were predicted.
    empty: Number of those in which no keypoint is confident enough.
    clips: A sentence about each video.
  """

  queries: int
  problems: dict[str, list[str]]
  confidences: Float[np.ndarray, " k"]
  is_calibrated: bool
  scope: str
  kept: int
  images: int
  empty: int
  clips: list[str]

  @property
  def predicted(self) -> int:
    """Number of queries that were predicted, at least in part."""
    return self.queries - len(self.problems[LOST])


def predict_folder(
  detector: KeypointDetector | str | os.PathLike | None,
  support: Sequence[str | os.PathLike] | None,
  keypoints: Sequence[str | os.PathLike] | None,
  queries: Sequence[str | os.PathLike],
  out: str | os.PathLike,
  *,
  boxes: str | os.PathLike | None = None,
  whole_images: bool = False,
  objects: int | None = 1,
  frames: slice = slice(None),
  names: Sequence[str] | None = None,
  min_confidence: float | Thresholds = 0.5,
  smooth: bool = False,
  resume: bool = False,
) -> Summary:
  """Finds the keypoints marked on support images in folders, images and videos.

    summary = predict_folder(
      "runs/faces", ["ann.jpg"], ["ann.json"], ["album", "party.mp4"], "found"
    )
    print(summary.predicted, "of", summary.queries, summary.problems)

  It writes predictions.csv row by row, predictions.json at the end, overlays/, contact
  sheets, a drawn copy of each video, and clips.json about the videos. A query that
  cannot be read is reported in the summary, and the others are still predicted.
  Progress is shown on a terminal.

  Args:
    detector: A detector, or the path that `load` takes; None is the detector that
      comes with the package.
    support: Paths of the annotated images; None takes the labels on which the detector
      was trained by `train_on_labels` or `adapt`.
    keypoints: Paths of the keypoint files, see `keypoint_files.read`: as many as
      support images, or one for all; None with no support.
    queries: Images, folders of images and videos, patterns such as "cats/*.jpg".
    out: Folder for the results, without those of an earlier run.
    boxes: JSON file of boxes of the objects, see `box_files.read`; they are searched
      for where there is no box.
    whole_images: Whether objects fill the query images, so that nothing is searched
      for.
    objects: Number of objects in an image, at most; None for all.
    frames: Numbers of the frames of videos that are predicted, at least 0.
    names: Names of the keypoints that are written; by default all that were marked. The
      others still help to find the object.
    min_confidence: Confidence below which keypoints are rings in the pictures and have
      v = 0 in predictions.json, 0..1; of all types, or of each.
    smooth: Whether smoothed.csv is written, with the keypoints of videos as judged from
      all of their frames.
    resume: Whether a run that did not end goes on; its results are those of a run
      without a break. Without such a run a new one starts.

  Raises:
    FileNotFoundError: A support image, keypoint file, query or detector is missing.
    ValueError: One of them cannot be read, `out` holds earlier results, a name is not
      that of a keypoint of the support, or the run to be resumed was another one.
    ImportError: A query is a video, and PyAV is not installed.
  """
  if boxes is not None and whole_images:
    raise ValueError("boxes: expected none with whole_images")
  gathered = inputs.gather_queries(queries)
  if any(query.is_video for query in gathered):
    videos.require()
  known = None if whole_images else {}
  if boxes is not None:
    known = box_files.read(boxes, gathered, objects)
  if (support is None) != (keypoints is None):
    raise ValueError("support, keypoints: expected both, or none for a run's labels")
  if support is not None and keypoints is not None:
    supports = inputs.read_supports(support, keypoints)
  else:
    if not isinstance(detector, KeypointDetector):
      detector = load(detector)
    supports = run_labels.supports(detector.config.data)
  marked = dict.fromkeys(
    n for x in supports for n, p in x.marked.keypoints.items() if p
  )
  chosen = tuple(split_names(names, [*marked])) if names is not None else None
  if not isinstance(min_confidence, Thresholds):
    min_confidence = Thresholds(min_confidence)
  min_confidence.per_type(chosen or [*marked])
  folder = files.new_folder(pathlib.Path(out), [OVERLAYS], resume=resume)
  if not isinstance(detector, KeypointDetector):
    detector = load(detector)
  encoded = detector.support(
    [x.image for x in supports],
    [x.marked.keypoints for x in supports],
    [x.marked.box for x in supports],
  )
  chosen = chosen or encoded.names
  skeleton = inputs.skeleton(supports, chosen)
  shown = [cut_out(support_marks(x, chosen, skeleton)) for x in supports]
  problems: dict[str, list[str]] = {LOST: [], CUT: [], BARE: []}
  least = min_confidence.per_type(chosen)
  settings = _settings(detector, encoded, gathered, known, objects)
  settings |= {"frames": str(frames), "names": chosen, "thresholds": least.tolist()}
  # First of all files: whatever else there is belongs to a run that can go on.
  journal = Journal(folder, settings)
  files.start_again(folder)
  pictures = Pictures(folder, shown, chosen, problems[BARE].append)
  scope = detector.calibration.scope if detector.calibration else ""
  with PredictionFiles(folder, chosen, least, scope) as written:
    session = Session(
      detector, encoded, chosen, skeleton, known, objects, frames, folder, written,
      pictures, journal, smooth, problems,
    )  # fmt: skip
    session.run(gathered)
  if session.reports:
    write_json(folder / files.CLIPS, session.reports)
  journal.finish()
  return Summary(
    len(gathered),
    problems,
    written.confidences(),
    detector.calibration is not None,
    scope,
    written.confident,
    written.images,
    written.empty,
    session.speeds,
  )


def _settings(
  detector: KeypointDetector,
  support: Support,
  queries: Sequence[Query],
  boxes: dict[pathlib.Path, Any] | None,
  objects: int | None,
) -> dict[str, Any]:
  """Returns whatever decides what is found, for the journal.

  The kernels depend on the support and on the weights of the network.
  """
  return {
    "detector and support": fingerprint.of_arrays((support.kernels, support.places)),
    "keypoints": support.names,
    "queries": [(x.name, x.path.exists() and x.path.stat().st_size) for x in queries],
    "boxes": boxes if boxes is None else {str(path): x for path, x in boxes.items()},
    "objects": objects,
    "calibration": str(detector.calibration),
  }
