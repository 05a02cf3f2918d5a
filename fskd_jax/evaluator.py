"""Evaluation on fixed, listed episodes, always beside the baselines."""

import functools
import json
import logging
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from PIL import Image
from tqdm import tqdm

from fskd_jax import baselines, calibration, metrics, parallel, plots, steps
from fskd_jax.config import Config, EvalConfig
from fskd_jax.data.episodes import EpisodeSampler, evaluation_index_batches
from fskd_jax.data.feed import Feed
from fskd_jax.episode import EpisodeBatch, valid_queries
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.models.detector import FewShotDetector, init_variables

_log = logging.getLogger(__name__)

Predictor = Callable[[EpisodeBatch], np.ndarray]
"""Predicts [b m n 2], pixels of the crops, for a batch from `Feed.batches`."""

DETECTOR = "detector"


def network_predictor(
  detector: FewShotDetector, feed: Feed, backend: str
) -> Callable[[Any, EpisodeBatch], np.ndarray]:
  """Returns (variables, batch) -> [b m n 2], compiled once, on every device."""
  step = functools.partial(steps.eval_step, detector=detector)
  run = parallel.parallelize_evaluation(step, backend)
  return lambda variables, batch: run(variables, batch, feed.store)


def score(
  predictors: Mapping[str, Predictor],
  feed: Feed,
  sampler: EpisodeSampler,
  cfg: EvalConfig,
  *,
  episodes: int,
  label: str = "",
) -> tuple[dict[str, dict[str, Any]], np.ndarray]:
  """Scores predictors on the episodes 0 .. episodes - 1 of a sampler.

  Args:
    predictors: by name; all see the same episodes.
    feed: gives the episodes their pixels.
    sampler: of the setting.
    cfg: thresholds and batch size.
    episodes: how many.
    label: of the progress bar; none is shown without.

  Returns:
    A summary (`metrics.EpisodeScores`) for each predictor, and for the first one
    the PCK of each episode at the first threshold that is at least 0.1, [episodes].
  """
  names = feed.dataset.keypoint_names
  scores = {name: metrics.EpisodeScores(cfg.thresholds, names) for name in predictors}
  batch_size = parallel.divisible_batch(cfg.batch_episodes)
  indices = evaluation_index_batches(episodes, batch_size, 0, 1)
  shown = parallel.is_main_process() and label
  with (
    feed.batches(sampler, indices, batch_size) as batches,
    tqdm(total=episodes, desc=label, unit="ep", disable=not shown) as bar,
  ):
    for batch in batches:
      species = feed.species(batch.query.instance)
      for name, predict in predictors.items():
        scores[name].add(batch, predict(batch), species)
      bar.update(int((batch.episode_index >= 0).sum()))
  summaries = {name: found.summary() for name, found in scores.items()}
  return summaries, next(iter(scores.values())).episode_pck(headline(cfg))


def evaluate(
  cfg: Config, variables: Any, step: int, workdir: str | os.PathLike
) -> dict[str, Any]:
  """Evaluates a trained detector in every setting, and writes what it found.

  Writes eval/results.json, a table (eval/table.txt, also shown) and eval/episodes.png
  (worst, typical and best episodes) below the workdir, and calibrates the run's
  confidence (`calibration.calibrate`).

  Args:
    cfg: of the run; `eval` and `data` may differ from training.
    variables: params and batch_stats of `FewShotDetector`.
    step: of the checkpoint, for the record.
    workdir: of the run.

  Returns:
    The content of results.json.

  Raises:
    ValueError: a setting holds too little for an episode; before anything is scored.
  """
  backend = cfg.train.backend
  place = functools.partial(parallel.replicate, backend=backend)
  feed = Feed.open(cfg.data, place)
  samplers = {
    name: feed.evaluation_sampler(name, cfg.eval) for name in cfg.eval.settings
  }
  detector, untrained = (
    FewShotDetector(model, cfg.data.image_size)
    for model in (cfg.model, baselines.untrained_model(cfg.model))
  )
  variables = place(variables)
  untrained_variables = init_variables(untrained, cfg.train.seed)
  if cfg.model.pretrained:
    untrained_variables = pretrained_variables(
      untrained_variables, cfg.model.pretrained, untrained.config
    )
  predictors: dict[str, Predictor] = {
    DETECTOR: functools.partial(network_predictor(detector, feed, backend), variables),
    "copy_support": baselines.copy_support,
    "untrained_encoder": functools.partial(
      network_predictor(untrained, feed, backend), place(untrained_variables)
    ),
  }
  settings, rows = {}, []
  for setting, sampler in samplers.items():
    found, episode_pck = score(
      predictors, feed, sampler, cfg.eval, episodes=cfg.eval.episodes, label=setting
    )
    settings[setting] = found.pop(DETECTOR) | {"baselines": found}
    rows += _pictures(setting, sampler, feed, predictors[DETECTOR], episode_pck)
  results = {
    "step": step,
    "config": cfg.name,
    "device": jax.devices()[0].device_kind,
    "shots": cfg.eval.shots,
    "queries": cfg.eval.queries,
    "seed": cfg.eval.seed,
    "settings": settings,
  }
  if parallel.is_main_process():
    text = table(results, headline(cfg.eval))
    _log.info("step %d, %d-shot\n%s", step, cfg.eval.shots, text)
    folder = pathlib.Path(workdir) / "eval"
    write_results(results, text, plots.draw_episodes(rows), folder)
  calibration.calibrate(cfg, feed, variables, step, workdir)
  return results


def _pictures(
  setting: str,
  sampler: EpisodeSampler,
  feed: Feed,
  predict: Predictor,
  episode_pck: np.ndarray,
) -> list[plots.EpisodePicture]:
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
) -> plots.EpisodePicture:
  """Runs one episode of a sampler and returns what there is to draw."""
  size = parallel.divisible_batch(1)
  with feed.batches(sampler, [[index]], size) as batches:
    batch = next(batches)
  predicted, valid = predict(batch)[0], np.asarray(valid_queries(batch))[0]
  support_images, query_images = feed.pixels(batch)
  return plots.EpisodePicture(
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


def headline(cfg: EvalConfig) -> float:
  """Returns the threshold that tables and pictures speak of: 0.1, or nearest."""
  return min(cfg.thresholds, key=lambda t: abs(t - 0.1))


def table(results: Mapping[str, Any], threshold: float) -> str:
  """Formats results as text: a line per setting, a column per predictor."""
  key = f"{threshold:g}"
  lines = [
    f"{'PCK@' + key + ' in %':22s}{'detector':>15s}{'copy':>15s}{'untrained':>15s}"
  ]
  for setting, found in results["settings"].items():
    columns = [found, *found["baselines"].values()]
    cells = [percent(column["pck"][key]) for column in columns]
    lines.append(f"{setting:22s}" + "".join(f"{cell:>15s}" for cell in cells))
  return "\n".join(lines)


def percent(mean: Mapping[str, float | None]) -> str:
  """Formats a mean of `metrics.episode_mean` with its interval."""
  half = mean["ci95"]
  text = f"{100 * (mean['mean'] or 0.0):.1f}"
  return text if half is None else f"{text} ± {100 * half:.1f}"


def write_results(
  results: Mapping[str, Any], text: str, picture: np.ndarray, folder: pathlib.Path
) -> None:
  """Writes results.json, table.txt and episodes.png."""
  folder.mkdir(parents=True, exist_ok=True)
  (folder / "table.txt").write_text(text + "\n", encoding="utf-8")
  Image.fromarray(picture).save(folder / "episodes.png")
  # Last, and in one move: results are there as a whole or not at all.
  unfinished = folder / "results.json.part"
  unfinished.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
  unfinished.replace(folder / "results.json")
