"""Reports an evaluation of a few-shot detector: its table and its pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fskd_jax.data.feed import Feed
from fskd_jax.device import parallel
from fskd_jax.episode import valid_queries
from fskd_jax.few_shot.sampler import EpisodeSampler
from fskd_jax.few_shot.scoring import Reader
from fskd_jax.metrics.mistakes import KINDS
from fskd_jax.metrics.results import SEARCH_WAYS, percent
from fskd_jax.pictures.episodes import EpisodePicture


def table(results: Mapping[str, Any], threshold: float) -> str:
  """Formats results as text: protocol and decoding, then a line per setting.

  There is a column per predictor. A cell holds the mean, its t-interval, and in
  brackets its bootstrap interval. Settings of a mixture are followed by the means over
  its sources. Below follow, as far as they were measured, the scores with the boxes
  given and with a search for the object, and where the detector's keypoints are.

  Args:
    results: The content of results.json.
    threshold: Threshold of PCK, one of those in `results`.
  """
  key = f"{threshold:g}"
  heads = (f"{name:>26s}" for name in ("detector", "copy", "untrained"))
  settings = {
    setting: [found["pck"], *(other["pck"] for other in found["baselines"].values())]
    for setting, found in results["settings"].items()
  }
  means = {
    f"{setting} of {len(parts)}": [
      source_mean([p[i][key] for p in parts]) for i in range(len(parts[0]))
    ]
    for setting, parts in _by_sources(settings).items()
  }
  width = _width([*settings, *means])
  lines = [
    f"protocol: {results['protocol']}, decoding: {results['decoding']}",
    f"{'PCK@' + key + ' in %':{width}s}" + "".join(heads),
  ]
  for setting, columns in settings.items():
    cells = [_cell(column[key]) for column in columns]
    lines.append(f"{setting:{width}s}" + "".join(f"{cell:>26s}" for cell in cells))
  for setting, found in means.items():
    cells = [percent(mean) for mean in found]
    lines.append(f"{setting:{width}s}" + "".join(f"{cell:>26s}" for cell in cells))
  return "\n".join(lines + _search_lines(results, key) + _mistake_lines(results))


def _width(names: Iterable[str]) -> int:
  """Returns the width of the first column, which holds these names."""
  return max(map(len, (*names, " " * 15))) + 1


def _by_sources(settings: Mapping[str, Any]) -> dict[str, list[Any]]:
  """Collects settings "split/types@source" by what comes before the source."""
  found: dict[str, list[Any]] = {}
  for name, entry in settings.items():
    setting, _, source = name.partition("@")
    if source:
      found.setdefault(setting, []).append(entry)
  return found


def source_mean(means: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
  """Returns the mean over sources, each counting alike, and its 95 % interval.

  The interval covers the episodes of these sources; it does not extend to others.

  Args:
    means: Means of `metrics.scores.episode_mean` of each source.
  """
  halves = [mean["ci95"] for mean in means]
  known = None if None in halves else float(np.hypot.reduce(halves)) / len(means)
  values = [mean["mean"] or 0.0 for mean in means]
  return {"mean": float(np.mean(values)), "ci95": known}


def _mistake_lines(results: Mapping[str, Any]) -> list[str]:
  """Returns a line per setting with the share of each of `mistakes.KINDS`."""
  width = _width(results["settings"])
  heads = "".join(f"{kind.replace('_', ' '):>16s}" for kind in KINDS)
  rows = [
    f"{setting:{width}s}"
    + "".join(f"{100 * found['mistakes'][kind]['mean']:16.1f}" for kind in KINDS)
    for setting, found in results["settings"].items()
  ]
  return ["", f"{'found at, in %':{width}s}{heads}", *rows]


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


def pictures(
  setting: str,
  sampler: EpisodeSampler,
  feed: Feed,
  read: Reader,
  episode_pck: np.ndarray,
) -> list[EpisodePicture]:
  """Draws the worst, the median and the best episode of a setting.

  Args:
    setting: Name of the setting, for the titles.
    sampler: The sampler of the setting.
    feed: The data set.
    read: The detector.
    episode_pck: PCK of each episode; nan without a valid query.
  """
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
      read,
    )
    for kind, index in chosen.items()
  ]


def picture(
  title: str, index: int, sampler: EpisodeSampler, feed: Feed, read: Reader
) -> EpisodePicture:
  """Runs one episode of a sampler and returns its images, keypoints and predictions."""
  size = parallel.divisible_batch(1)
  with feed.batches(sampler, [[index]], size) as batches:
    batch = next(batches)
  predicted = np.asarray(read(batch).keypoints)[0]
  valid = np.asarray(valid_queries(batch))[0]
  support_images, query_images = feed.pixels(batch)
  return EpisodePicture(
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
