"""Evaluates a detector on a data set that it was not trained on."""

import copy
import logging
import os
from typing import Any

from fskd_jax.config import Config
from fskd_jax.data.feed import Feed
from fskd_jax.few_shot import calibration, evaluation
from fskd_jax.metrics import results

_log = logging.getLogger(__name__)

SETTING = "all/other"
"""Every instance and every keypoint type of the data set; training saw none of them."""


def with_dataset(cfg: Config, folder: str) -> Config:
  """Returns a run's configuration with another data set in place of its own.

  The network's input (`image_size`, the crop), the executor and the thresholds of an
  episode (`min_support_types`, `min_query_types`, `min_query_fraction`) are kept; data
  with few visible types per image may need lower thresholds. An episode shows one
  species. Nothing is split, because nothing was trained on.

  Args:
    cfg: Configuration of the run.
    folder: Folder, file or project of labels (`data.any_labels`).

  Raises:
    ValueError: The run is no few-shot detector.
  """
  if cfg.task != "few_shot":
    raise ValueError(
      f"the run's task is {cfg.task!r}: another data set has other keypoint types, "
      "which takes a few-shot detector"
    )
  cfg = copy.deepcopy(cfg)
  data = cfg.data
  data.name, data.path = "coco_keypoints", folder
  data.mixture, data.holdout, data.slots = (), (), 0
  data.base = data.novel = data.auxiliary_paths = data.flip_pairs = ()
  data.unseen_species = data.validation_species = ()
  data.unseen_fraction = data.validation_fraction = data.heldout_fraction = 0.0
  data.class_mode = "one_class"
  cfg.eval.settings = (SETTING,)
  return cfg


def evaluate(
  cfg: Config,
  folder: str,
  variables: Any,
  step: int,
  workdir: str | os.PathLike,
  search: evaluation.Searcher | None = None,
) -> dict[str, Any]:
  """Runs `evaluation.measure` on another data set.

  Writes to DATA_Kshot in the run's `results_folder`, DATA being the name of the folder
  and K the number of shots. The calibration of the run, and the
  prior in it, are used and stay as they are.

  Args:
    cfg: Configuration of the run.
    folder: Folder, file or project of labels (`data.any_labels`).
    variables: Params and batch_stats of the detector.
    step: Step of the checkpoint, for the record.
    workdir: Folder of the run.
    search: The search to measure, as for `evaluation.measure`.

  Returns:
    The content of results.json.

  Raises:
    ValueError: The run is no few-shot detector, or the data set has a fault or holds
      too little for an episode.
    FileNotFoundError: Annotations or images are missing.
  """
  cfg = with_dataset(cfg, folder)
  feed = Feed.open(cfg.data, cfg.train.backend)
  name = f"{feed.dataset.name}_{cfg.eval.shots}shot"
  out = results.results_folder(workdir, cfg.eval) / name
  samplers = evaluation.setting_samplers(feed, cfg.eval)
  calibrated = calibration.load(workdir)  # first: a damaged file stops the evaluation
  if calibrated and calibrated.scope:
    _log.info("%s", calibrated.scope)

  def calibrator(*_: Any) -> calibration.Calibration | None:
    return calibrated

  return evaluation.measure(
    cfg,
    feed,
    samplers,
    variables,
    step,
    out,
    calibrator,
    search,
    calibrated and calibrated.prior,
  )
