"""Adapts a detector to a few labelled images, if that helps.

The labelled images stay the support. What is not frozen of the detector moves a little,
and only as much of the way is gone as predicts left-out images better. Where frames
without labels are given, points must also be found again in turned views of them; of a
single labelled image this is the only judge.
"""

import dataclasses
import functools
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fskd_jax.data.annotations import KeypointDataset
from fskd_jax.data.any_labels import read_dataset
from fskd_jax.data.unlabelled import decodable, read_photographs, thinned
from fskd_jax.few_shot import calibration, recipe
from fskd_jax.files import write_json
from fskd_jax.own_labels import engine, holding_out
from fskd_jax.own_labels.examples import Examples, units
from fskd_jax.own_labels.holding_out import Fold, Scores, score_left_out, score_views
from fskd_jax.own_labels.tuning import Tuner, between
from fskd_jax.prediction.detector import KeypointDetector
from fskd_jax.prediction.load import PACKAGED, load_model

MOST_FRAMES = 60
"""Number of images without labels that are used, evenly spaced."""

MOST_IMAGES = 50
"""Largest number of labelled images; with more, `fskd train` can keep some to check."""

SHARES = 0.0, 0.5, 1.0
"""Parts of the way from the detector to the adapted one, of which the best is taken."""

FOLDS = 3
"""Number of turns in which images are left out."""

LEAST, MOST = 20, 120
"""Numbers of training steps."""

NOTHING = "nothing"
"""Description of the parts of a single image or clip that are left out."""

_LOOKED_AT = 12  # unlabelled frames whose views are compared


class Adapted(NamedTuple):
  """Outcome of `adapt`; scores are PCK@0.1 as parts of 1.

  Attributes:
    variables: Variables of the detector that is kept.
    share: Part of the way to the adapted detector that was gone; 0 keeps the old one.
    before: Score of the support alone on what was left out; NaN if that is nothing.
    after: Score of the adapted detector there, at the best part of the way.
    left_out: Description of what was left out.
    steps: Number of training steps of what is kept.
  """

  variables: Mapping[str, Any]
  share: float
  before: float
  after: float
  left_out: str
  steps: int

  def __str__(self) -> str:
    if self.left_out == NOTHING:
      return (
        "one labelled image or clip cannot tell whether adapting helps: the detector "
        "is kept as it was; label a second one, or give frames without labels"
      )
    end = (
      f"kept, {self.share:.0%} of the way"
      if self.share
      else "no sure gain: the detector is kept as it was"
    )
    return (
      f"PCK@0.1 on {self.left_out}: support only {self.before:.1%}, adapted "
      f"{self.after:.1%}; {end}"
    )


def adapt(
  labels: str | os.PathLike,
  workdir: str | os.PathLike,
  *,
  unlabelled: str | os.PathLike | None = None,
  minutes: float = 3.0,
  start: str | os.PathLike | None = None,
  tell: Callable[[str], None] = print,
) -> Adapted:
  """Adapts a few-shot detector to at most 50 labelled images, if that helps.

    fskd_jax.adapt("labels", "runs/mine", unlabelled="frames")
    detector = fskd_jax.load("runs/mine")

  The detector of the run is used like any other: with the labelled images as support.
  Its confidence is calibrated as that of the detector that it started from.

  Args:
    labels: File or folder of labels, of any tool that is read.
    workdir: New folder for the run.
    unlabelled: Folder of images without labels, whose points must be found again after
      turning and zooming.
    minutes: About how long it may take.
    start: Run or .safetensors file of the detector; default: the one that comes with
      the package.
    tell: Function that takes sentences on what is being done.

  Raises:
    FileNotFoundError: The labels, their images or the detector are missing.
    ValueError: The labels cannot be read or are of too many images, no image without
      labels can be read, the folder holds a run, or the detector is no few-shot one.
  """
  workdir = pathlib.Path(workdir)
  engine.new_run(workdir)
  dataset = read_dataset(labels)
  frames = None
  if unlabelled:
    frames = decodable(thinned(read_photographs(unlabelled), MOST_FRAMES))
  sources = engine.lasting(labels), engine.lasting(unlabelled)
  adapter = Adapter(dataset, frames, start, sources, tell)
  adapted = adapter.adapt(adapter.steps_in(minutes))
  adapter.keep(adapted, workdir)
  return adapted


class Adapter:
  """A detector beside labels that it may be adapted to."""

  def __init__(
    self,
    dataset: KeypointDataset,
    frames: KeypointDataset | None = None,
    start: str | os.PathLike | None = None,
    sources: tuple[str, str] = ("labels", ""),
    tell: Callable[[str], None] = print,
  ):
    """Opens the detector, and decodes the images.

    Args:
      dataset: The labels, of at most `MOST_IMAGES` images.
      frames: Images without labels, or None.
      start: As for `adapt`.
      sources: Paths of the labels and of the frames, for the record.
      tell: As for `adapt`.

    Raises:
      ValueError: As for `adapt`.
    """
    images = len(dataset.image_names)
    if images > MOST_IMAGES:
      raise ValueError(
        f"{sources[0]}: {images} labelled images, expected {MOST_IMAGES} at most; with "
        f"more: fskd train --data {sources[0]} --workdir ..."
      )
    path = str(start or PACKAGED)
    model, self._calibration = load_model(path)
    self.detector = KeypointDetector(model, self._calibration)
    self.start, self._tell = model.variables, tell
    chosen = recipe.choose_gently(dataset, *sources, model.config)
    self.config = chosen.config
    self.config.train.init_from, self.config.train.init_patterns = path, ()
    for choice in chosen.choices:
      tell(choice)
    self._examples, self._frames = Examples(dataset), frames
    self._units = units(dataset, recipe.clips(dataset))
    self.tuner = Tuner(dataset, frames, self.config)

  def steps_in(self, minutes: float) -> int:
    """Returns the number of steps of a training, of which there are several."""
    fits = len(holding_out.folds(self._units, FOLDS)) + 1
    seconds = self.tuner.seconds_per_step()
    steps = int(np.clip(minutes * 60 / fits / seconds, LEAST, MOST))
    self._tell(f"steps: {steps}, {seconds:.2f} s each, {fits} times")
    return steps

  def adapt(self, steps: int, rows: Sequence[int] | None = None) -> Adapted:
    """Trains with images left out, judges, and trains on all if that helps.

    Args:
      steps: Number of steps of each training.
      rows: The objects to use; default: all.
    """
    rows = range(len(self._units)) if rows is None else rows
    examples, of_rows = self._examples, np.asarray(rows)
    folds = holding_out.folds(self._units[of_rows], FOLDS)
    fitted, scores = None, []
    for number, fold in enumerate(folds, 1):
      fold = Fold(*(of_rows[part].tolist() for part in fold))
      moved = self.tuner.fit(fold.train, steps)
      judge = functools.partial(score_left_out, examples=examples, fold=fold)
      scores.append(self._judged(moved, judge))
      self._tell(f"turn {number} of {len(folds)}: {_line(scores[-1])}")
    left_out = f"{len(of_rows)} objects, each left out once with its image or clip"
    consistency = None
    if self._frames is not None:
      fitted = self.tuner.fit(rows, steps)
      consistency = self._consistency(fitted, rows)
      self._tell(f"views of frames without labels: {_line(consistency)}")
    if scores:
      judged = Scores(*(np.concatenate(x, axis=1) for x in zip(*scores)))
    elif consistency is not None:
      judged, left_out = consistency, "views of frames without labels"
    else:
      return Adapted(self.start, 0.0, math.nan, math.nan, NOTHING, 0)
    mean, pck = judged
    if consistency is not None:
      mean = np.where(holding_out.worse(consistency.mean)[:, None], -1.0, mean)
    best = holding_out.best(mean)
    shown = best or len(SHARES) - 1
    variables = self.start
    if best:
      fitted = fitted or self.tuner.fit(rows, steps)
      variables = between(self.start, fitted, SHARES[best])
    return Adapted(
      variables=variables,
      share=SHARES[best],
      before=float(np.nanmean(pck[0])),
      after=float(np.nanmean(pck[shown])),
      left_out=left_out,
      steps=steps if best else 0,
    )

  def keep(self, adapted: Adapted, workdir: pathlib.Path) -> None:
    """Writes a run that `fskd_jax.load` opens."""
    step = max(adapted.steps, 1)
    state = self.tuner.start._replace(step=np.int32(step), **adapted.variables)
    engine.keep(self.config, state, step, workdir)
    if self._calibration is not None:
      calibrated = dataclasses.replace(self._calibration, step=step)
      content = {"calibration": dataclasses.asdict(calibrated)}
      write_json(workdir / calibration.FILE, content)

  def _consistency(self, fitted: Any, rows: Sequence[int]) -> Scores:
    """Returns the scores of every part of the way in views of unlabelled frames."""
    assert self._frames is not None
    frames = Examples(thinned(self._frames, _LOOKED_AT))
    pixels = [frames.pixels(row) for row in range(len(frames.instances))]
    support = self._examples.support(self.detector, rows)
    boxes = self.detector.predict(support, pixels).box

    def score(detector: KeypointDetector) -> Scores:
      support = self._examples.support(detector, rows)
      return score_views(detector, support, pixels, boxes)

    return self._judged(fitted, score)

  def _judged(self, fitted: Any, score: Callable[[KeypointDetector], Scores]) -> Scores:
    """Returns the scores of every part of the way, [a o]."""
    found = []
    for share in SHARES:
      detector = self.detector.with_variables(between(self.start, fitted, share))
      found.append(score(detector))
    return Scores(*map(np.stack, zip(*found)))


def _line(scores: Scores) -> str:
  parts = (
    f"{share:.0%} of the way {np.nanmean(pck):.1%}"
    for share, pck in zip(SHARES, scores.pck)
  )
  return "PCK@0.1 " + ", ".join(parts)
