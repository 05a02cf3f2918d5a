"""Evaluates a few-shot detector on fixed episodes, beside the baselines."""

import dataclasses
import functools
import logging
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from fskd_jax.config import Config, EvalConfig
from fskd_jax.data.feed import Feed
from fskd_jax.data.plans import Sampler, evaluation_index_batches
from fskd_jax.device import parallel, processes
from fskd_jax.episode import EpisodeBatch, valid_queries
from fskd_jax.few_shot import baselines, calibration
from fskd_jax.few_shot import step as few_shot_step
from fskd_jax.few_shot.calibration import Calibration
from fskd_jax.few_shot.sampler import EpisodeSampler, evaluation_sampler
from fskd_jax.files import write_json
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.metrics import scores as metrics_scores
from fskd_jax.metrics.record import FILE, EpisodeRecord
from fskd_jax.metrics.results import (
  SEARCH_WAYS,
  headline,
  percent,
  results_folder,
  write_results,
)
from fskd_jax.models.build import Model, make_detector
from fskd_jax.models.detector import FewShotDetector, init_variables
from fskd_jax.pictures import episodes as episode_pictures

_log = logging.getLogger(__name__)

Predictor = Callable[[EpisodeBatch], np.ndarray]
"""Predicts [b m n 2], pixels of the crops, for a batch from `Feed.batches`."""

Searcher = Callable[[Model, Calibration | None], Callable[..., dict[str, Any]]]
"""Returns `prediction.search_evaluation.compare` for a detector. It is handed in: what
users call stands above the tasks."""

DETECTOR = "detector"


def network_predictor(
  detector: FewShotDetector, feed: Feed, backend: str
) -> Callable[[Any, EpisodeBatch], np.ndarray]:
  """Returns (variables, batch) -> [b m n 2], compiled once, on every device."""
  step = functools.partial(few_shot_step.eval_step, detector=detector)
  run = parallel.parallelize_evaluation(step, backend)
  return lambda variables, batch: run(variables, batch, feed.store)


def score(
  predictors: Mapping[str, Predictor],
  feed: Feed,
  sampler: Sampler,
  cfg: EvalConfig,
  *,
  episodes: int,
  label: str = "",
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
  """Scores predictors on the episodes 0 .. episodes - 1 of a sampler.

  Args:
    predictors: by name; all see the same episodes.
    feed: gives the episodes their pixels.
    sampler: of the setting.
    cfg: thresholds, protocol and batch size.
    episodes: how many.
    label: of the progress bar; none is shown without.

  Returns:
    A summary (`metrics.EpisodeScores`) for each predictor, and the record of the
    episodes (`EpisodeRecord.to_json`).
  """
  names = feed.dataset.keypoint_names
  recovery = metrics_scores.recovery_scale(cfg.protocol, feed.cfg.image_size)
  scores = {
    name: metrics_scores.EpisodeScores(cfg.thresholds, names, recovery)
    for name in predictors
  }
  record = EpisodeRecord(feed.type_names)
  batch_size = parallel.divisible_batch(cfg.batch_episodes)
  indices = evaluation_index_batches(episodes, batch_size, 0, 1)
  shown = parallel.is_main_process() and label
  with (
    feed.batches(sampler, indices, batch_size) as batches,
    tqdm(total=episodes, desc=label, unit="ep", disable=not shown) as bar,
  ):
    for batch in batches:
      species = feed.species(batch.query.instance)
      record.add(batch, species)
      for name, predict in predictors.items():
        scores[name].add(batch, predict(batch), species)
      bar.update(int((batch.episode_index >= 0).sum()))
  summaries = {name: found.summary() for name, found in scores.items()}
  found = {name: found.per_episode() for name, found in scores.items()}
  return summaries, record.to_json(found)


def evaluate(
  cfg: Config,
  variables: Any,
  step: int,
  workdir: str | os.PathLike,
  search: Searcher | None = None,
) -> dict[str, Any]:
  """Evaluates a trained detector in every setting, and writes what it found.

  Calibrates the run's confidence (`calibration.calibrate`) and does `measure` in the
  `results_folder`. By the reference's protocol there is no calibration: its crops are
  not those of prediction.

  Args:
    cfg: of the run; `eval` and `data` may differ from training.
    variables: params and batch_stats of `FewShotDetector`.
    step: of the checkpoint, for the record.
    workdir: of the run.
    search: As for `measure`.

  Returns:
    The content of results.json.

  Raises:
    ValueError: a setting holds too little for an episode; before anything is scored.
  """
  place = functools.partial(parallel.replicate, backend=cfg.train.backend)
  feed = Feed.open(cfg.data, cfg.train.backend)
  # An impossible setting is told before the calibration, an empty one told once.
  held = tuple(_samplers(feed, cfg.eval))
  cfg = dataclasses.replace(cfg, eval=dataclasses.replace(cfg.eval, settings=held))
  calibrated = None
  if cfg.eval.protocol == "ours":
    calibrated = calibration.calibrate(cfg, feed, place(variables), step, workdir)
  folder = results_folder(workdir, cfg.eval)
  return measure(cfg, feed, variables, step, folder, calibrated, search)


def check_settings(feed: Feed, cfg: EvalConfig) -> None:
  """Checks that settings hold episodes, before hours are spent on training.

  Raises:
    ValueError: a setting holds something, but too little for an episode.
  """
  for name in feed.held(cfg.settings, may_be_none=True):
    sampler = evaluation_sampler(feed, name, cfg)
    try:
      sampler.plan(0)
    except ValueError as error:
      raise ValueError(f"setting {name!r}: {error}") from error


def measure(
  cfg: Config,
  feed: Feed,
  variables: Any,
  step: int,
  folder: pathlib.Path,
  calibrated: Calibration | None = None,
  search: Searcher | None = None,
) -> dict[str, Any]:
  """Scores a detector and the baselines in every setting, and writes what it found.

  By our protocol, also what the detector finds where no box is given
  (`search`). Writes results.json, the scores of every episode
  (`episode_record.FILE`), a table (table.txt, also shown) and episodes.png (worst,
  typical and best episodes).

  Args:
    cfg: of the detector and the evaluation.
    feed: of `cfg.data`, on the devices of `cfg.train.backend`.
    variables: of the detector.
    step: of the checkpoint, for the record.
    folder: to write to; made if need be.
    calibrated: of the detector's confidence, as far as it is.
    search: Measures the search for objects; without it this part is left out.

  Returns:
    The content of results.json.

  Raises:
    ValueError: a setting holds too little for an episode; before anything is scored.
  """
  samplers = _samplers(feed, cfg.eval)
  predictors = _predictors(cfg, feed, variables)
  searches = cfg.eval.search_episodes and cfg.eval.protocol == "ours"
  searched = search(Model(cfg, variables), calibrated) if search and searches else None
  settings, records, rows = {}, {}, []
  for setting, sampler in samplers.items():
    found, record = score(
      predictors, feed, sampler, cfg.eval, episodes=cfg.eval.episodes, label=setting
    )
    records[setting] = record
    settings[setting] = found.pop(DETECTOR) | {"baselines": found}
    if searched:
      settings[setting]["search"] = searched(
        feed, sampler, cfg.eval, f"{setting}, searched"
      )
    by_threshold = record["scores"][DETECTOR]["pck"]
    episode_pck = np.array(by_threshold[f"{headline(cfg.eval):g}"], np.float64)
    rows += _pictures(setting, sampler, feed, predictors[DETECTOR], episode_pck)
  head = {
    "step": step,
    "config": cfg.name,
    "data": feed.dataset.name,
    "device": jax.devices()[0].device_kind,
    "protocol": cfg.eval.protocol,
    "shots": cfg.eval.shots,
    "queries": cfg.eval.queries,
    "seed": cfg.eval.seed,
  }
  results = head | {"settings": settings}
  if parallel.is_main_process():
    text = table(results, headline(cfg.eval))
    _log.info("step %d, %d-shot\n%s", step, cfg.eval.shots, text)
    write_results(results, text, episode_pictures.draw_episodes(rows), folder)
    write_json(folder / FILE, head | {"settings": records}, indent=None)
  return results


def _samplers(feed: Feed, cfg: EvalConfig) -> dict[str, EpisodeSampler]:
  held = feed.held(cfg.settings)
  return {name: evaluation_sampler(feed, name, cfg) for name in held}


def _predictors(cfg: Config, feed: Feed, variables: Any) -> dict[str, Predictor]:
  """Returns the detector and the baselines."""
  backend = cfg.train.backend
  place = functools.partial(parallel.replicate, backend=backend)
  detector, untrained = (
    make_detector(dataclasses.replace(cfg, model=model))
    for model in (cfg.model, baselines.untrained_model(cfg.model))
  )
  untrained_variables = init_variables(untrained, cfg.train.seed)
  if cfg.model.pretrained:
    fresh = untrained_variables
    untrained_variables = processes.together(
      lambda: pretrained_variables(fresh, cfg.model.pretrained, untrained.config)
    )
  return {
    DETECTOR: functools.partial(
      network_predictor(detector, feed, backend), place(variables)
    ),
    "copy_support": baselines.copy_support,
    "untrained_encoder": functools.partial(
      network_predictor(untrained, feed, backend), place(untrained_variables)
    ),
  }


def _pictures(
  setting: str,
  sampler: EpisodeSampler,
  feed: Feed,
  predict: Predictor,
  episode_pck: np.ndarray,
) -> list[episode_pictures.EpisodePicture]:
  """Draws the worst, the median and the best episode of a setting."""
  order = np.argsort(episode_pck, kind="stable")
  order = order[: np.isfinite(episode_pck).sum()]  # nan, without a valid query: last
  chosen = {
    "worst": order[0],
    "typical": order[len(order) // 2],
    "best": order[-1],
  }
  return [
    picture(
      f"{setting}, {kind}: {100 * episode_pck[index]:.0f} %",
      int(index),
      sampler,
      feed,
      predict,
    )
    for kind, index in chosen.items()
  ]


def picture(
  title: str, index: int, sampler: EpisodeSampler, feed: Feed, predict: Predictor
) -> episode_pictures.EpisodePicture:
  """Runs one episode of a sampler and returns what there is to draw."""
  size = parallel.divisible_batch(1)
  with feed.batches(sampler, [[index]], size) as batches:
    batch = next(batches)
  predicted, valid = predict(batch)[0], np.asarray(valid_queries(batch))[0]
  support_images, query_images = feed.pixels(batch)
  return episode_pictures.EpisodePicture(
    title=title,
    support_images=support_images[0],
    support_keypoints=batch.support.keypoints[0],
    support_visible=batch.support.visible[0],
    query_images=query_images[0],
    query_keypoints=batch.query.keypoints[0],
    predicted=predicted,
    valid=valid,
    names=feed.type_names(batch.keypoint_ids[0]),
  )


def table(results: Mapping[str, Any], threshold: float) -> str:
  """Formats results as text: the protocol, then a line per setting.

  A column per predictor.
  A cell is the mean, its t-interval, and in brackets its bootstrap interval. Below, as
  far as it was measured, what the detector finds with the boxes given and by search.
  """
  key = f"{threshold:g}"
  heads = (f"{name:>26s}" for name in ("detector", "copy", "untrained"))
  lines = [
    f"protocol: {results['protocol']}",
    f"{'PCK@' + key + ' in %':16s}" + "".join(heads),
  ]
  for setting, found in results["settings"].items():
    columns = [found, *found["baselines"].values()]
    cells = [_cell(column["pck"][key]) for column in columns]
    lines.append(f"{setting:16s}" + "".join(f"{cell:>26s}" for cell in cells))
  return "\n".join(lines + _search_lines(results, key))


def _search_lines(results: Mapping[str, Any], key: str) -> list[str]:
  lines = []
  for setting, found in results["settings"].items():
    if "search" not in found:
      continue
    ways = [found["search"][way] for way in SEARCH_WAYS]
    cells = [percent(way["pck"][key]) for way in ways] + [
      f"{100 * way['confidence']:.1f} / {100 * way['right']:.1f}" for way in ways
    ]
    lines.append(f"{setting:16s}" + "".join(f"{cell:>16s}" for cell in cells))
  if not lines:
    return []
  heads = ("boxes given", "searched", "given", "searched")
  return [
    "",
    f"{'PCK@' + key + ' in %; mean confidence / right in %':>80s}",
    f"{'':16s}" + "".join(f"{head:>16s}" for head in heads),
    *lines,
  ]


def _cell(mean: Mapping[str, Any]) -> str:
  ends = mean["bootstrap95"]
  text = percent(mean)
  return text if ends is None else f"{text} [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
