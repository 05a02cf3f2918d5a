"""Evaluates a pose estimator and baselines on every person of a split."""

import functools
import logging
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from fskd_jax.config import CROP_MARGIN, Config, crop_size
from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel, processes
from fskd_jax.episode import EpisodeBatch
from fskd_jax.interop.pretrained import pretrained_variables
from fskd_jax.metrics import scores as metrics_scores
from fskd_jax.metrics.results import headline, percent, write_report
from fskd_jax.models.build import make_transpose
from fskd_jax.models.transpose import init_variables
from fskd_jax.pictures import episodes
from fskd_jax.pose import baselines, coco, crops, prediction, scores
from fskd_jax.pose.boxes import Boxes, boxes_of

_log = logging.getLogger(__name__)

NETWORK = "network"
PERSONS_DRAWN = 6
"""Number of persons in each row of the picture."""


class Network(NamedTuple):
  """A compiled network, (variables, batch, store) -> [b n 3], and its variables."""

  run: Callable[[Any, EpisodeBatch, Any], np.ndarray]
  variables: Any

  def predictor(self, feed: Feed) -> prediction.Predictor:
    """Returns the network on the images of a feed."""
    return lambda batch: self.run(self.variables, batch, feed.store)


class Scored(NamedTuple):
  """Scores of the predictors in one setting.

  Attributes:
    summaries: The scores of each predictor.
    results: The network's predictions in COCO's result format.
    pictures: The persons to draw.
  """

  summaries: dict[str, dict[str, Any]]
  results: list[dict[str, Any]]
  pictures: list[episodes.EpisodePicture]


def evaluate(
  cfg: Config, variables: Any, step: int, workdir: str | os.PathLike
) -> dict[str, Any]:
  """Evaluates a trained network in every setting, and writes the results.

  The files are eval/results.json, eval/table.txt (also logged), eval/episodes.png with
  the worst, typical and best persons, and an eval/predictions_*.json in COCO's result
  format for each setting.

  Args:
    cfg: Configuration of the run; `pose`, `eval` and `data` may differ from training.
    variables: Params and batch_stats of `TransPose`.
    step: Step of the checkpoint, for results.json.
    workdir: Folder of the run.

  Returns:
    The content of results.json.

  Raises:
    ValueError: No setting has a person, or the detections are wrong.
    FileNotFoundError: The file of detections does not exist.
  """
  feed = Feed.open(cfg.data, cfg.train.backend)
  networks = _networks(cfg, feed, variables)
  mean_pose = baselines.mean_pose(feed.splits.train, feed.types.base)
  held = feed.held(cfg.eval.settings)
  boxes = {setting: boxes_of(cfg, feed, setting) for setting in held}
  scored = {
    setting: _score(cfg, setting, found, networks, mean_pose)
    for setting, found in boxes.items()
  }
  settings = {setting: _entry(found) for setting, found in scored.items()}
  outcome = _head(cfg, step) | {"settings": settings}
  if parallel.is_main_process():
    text = table(outcome)
    _log.info("step %d\n%s", step, text)
    files = {
      f"predictions_{setting.replace('/', '_')}.json": found.results
      for setting, found in scored.items()
    }
    drawn = episodes.draw_episodes(
      [x for found in scored.values() for x in found.pictures]
    )
    write_report(outcome, text, drawn, pathlib.Path(workdir) / "eval", files)
  return outcome


def _networks(cfg: Config, feed: Feed, variables: Any) -> dict[str, Network]:
  """Returns the trained and the untrained network, by name."""
  run = prediction.network_predictor(cfg, feed)
  fresh = init_variables(make_transpose(cfg), cfg.train.seed)
  if cfg.model.pretrained:
    drawn = fresh
    fresh = processes.together(
      lambda: pretrained_variables(drawn, cfg.model.pretrained, cfg.model)
    )
  place = functools.partial(parallel.replicate, backend=cfg.train.backend)
  return {
    NETWORK: Network(run, place(variables)),
    "untrained": Network(run, place(fresh)),
  }


def _score(
  cfg: Config,
  setting: str,
  boxes: Boxes,
  networks: Mapping[str, Network],
  mean_pose: np.ndarray,
) -> Scored:
  """Predicts and scores the boxes of a setting."""
  of_networks = {name: x.predictor(boxes.feed) for name, x in networks.items()}
  place_pose = functools.partial(baselines.place_pose, mean_pose)
  predictors = {NETWORK: of_networks[NETWORK], "mean_pose": place_pose} | of_networks
  sampler = prediction.person_sampler(cfg, boxes.feed, boxes.persons, training=False)
  predicted = prediction.predict(
    predictors,
    boxes.feed,
    sampler,
    persons=len(boxes.persons),
    batch_persons=cfg.eval.batch_episodes,
    label=setting,
  )
  results = {name: _coco_results(cfg, boxes, x) for name, x in predicted.items()}
  draw = functools.partial(
    prediction.picture,
    sampler=sampler,
    feed=boxes.feed,
    predictor=predictors[NETWORK],
  )
  return Scored(
    {name: _summary(cfg, boxes, predicted[name], x) for name, x in results.items()},
    results[NETWORK],
    _pictures(cfg, setting, boxes, predicted[NETWORK], draw),
  )


def _entry(found: Scored) -> dict[str, Any]:
  """Returns the entry of a setting in results.json."""
  others = {name: x for name, x in found.summaries.items() if name != NETWORK}
  return found.summaries[NETWORK] | {"baselines": others}


def _head(cfg: Config, step: int) -> dict[str, Any]:
  return {
    "step": step,
    "config": cfg.name,
    "device": jax.devices()[0].device_kind,
    "boxes": cfg.pose.detections or "annotated",
    "flip_test": cfg.pose.flip_test,
    "decoding": cfg.pose.decoding,
  }


def table(outcome: Mapping[str, Any]) -> str:
  """Formats results as text, one line per setting and predictor."""
  lines = []
  for setting, found in outcome["settings"].items():
    for name, part in {NETWORK: found, **found["baselines"]}.items():
      pck = {f"PCK@{t}": percent(mean) for t, mean in part.get("pck", {}).items()}
      oks = {
        f"OKS-{key}": "-"
        if part["oks"][key] is None
        else f"{100 * part['oks'][key]:.1f}"
        for key in ("AP", "AP50", "AR")
      }
      cells = {"in %": f"{setting} {name}", **pck, **oks}
      if not lines:
        lines.append(_line(list(cells)))
      lines.append(_line(list(cells.values())))
  return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
  return f"{cells[0]:24s}" + "".join(f"{cell:>14s}" for cell in cells[1:])


def _coco_results(
  cfg: Config, boxes: Boxes, predicted: np.ndarray
) -> list[dict[str, Any]]:
  size = crop_size(cfg.data)
  widths = [
    CROP_MARGIN * crops.fitted_width(*person.box[2:], size) for person in boxes.persons
  ]
  return coco.results(
    predicted,
    boxes.image_ids,
    boxes.category_ids,
    boxes.scores,
    np.square(widths) * size[0] / size[1],
    coco.oks_sigmas(cfg.data.base, cfg.pose.oks_sigmas),
  )


def _summary(
  cfg: Config, boxes: Boxes, predicted: np.ndarray, results: list[dict[str, Any]]
) -> dict[str, Any]:
  summary: dict[str, Any] = {
    "persons": len(boxes.persons),
    "images": len(boxes.truth["images"]),
  }
  if boxes.annotated:
    entries = scores.distances(boxes.persons, predicted[..., :2], boxes.feed.types.base)
    names = boxes.feed.dataset.keypoint_names
    summary["keypoints"] = len(entries.episode)
    summary |= metrics_scores.summarize(entries, cfg.eval.thresholds, names)
  sigmas = coco.oks_sigmas(cfg.data.base, cfg.pose.oks_sigmas)
  return summary | {"oks": coco.average_precision(boxes.truth, results, sigmas)}


def _pictures(
  cfg: Config, setting: str, boxes: Boxes, predicted: np.ndarray, draw: Any
) -> list[episodes.EpisodePicture]:
  """Draws the worst, some typical and the best persons, or the first detections."""
  if not boxes.annotated:
    return [draw(setting, range(min(PERSONS_DRAWN, len(boxes.persons))))]
  pck = scores.person_pck(
    boxes.persons, predicted[..., :2], boxes.feed.types.base, headline(cfg.eval)
  )
  order = np.argsort(pck, kind="stable")
  order = order[: np.isfinite(pck).sum()].tolist()  # nan, without a keypoint: last
  middle = max(0, (len(order) - PERSONS_DRAWN) // 2)
  chosen = {
    "worst": order[:PERSONS_DRAWN],
    "typical": order[middle : middle + PERSONS_DRAWN],
    "best": order[-PERSONS_DRAWN:],
  }
  return [
    draw(f"{setting}, {kind}: {100 * pck[rows].mean():.0f} %", rows)
    for kind, rows in chosen.items()
  ]
