"""(d) SMD beside the baseline that modulates first and then detects (MDS).

The head alone on given feature maps of 1 + 1 images, forward and with gradients, and
whole: the network on 1 + 5 images, and the training step of case (a). SMD has the
published kernel sizes 1, 3 and 5.
"""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks.cases import training
from benchmarks.harness import floor
from benchmarks.harness.problem import (
  MEMORY_LIMIT,
  Builder,
  Problem,
  Setup,
  Side,
  SkippedError,
)
from benchmarks.opponents import ours, pytorch, torch_mds, torch_twin
from fskd_jax import episode
from fskd_jax.heatmaps import losses
from fskd_jax.models.build import count_parameters
from fskd_jax.models.detector import FewShotDetector

CHANGES: Mapping[str, Mapping[str, Any]] = {
  "SMD": {},
  "MDS": {"head": "mds", "kernel_sizes": (1,)},
}
LIMIT = {"float32": 1e-3, "tf32": 1e-2, "bfloat16": 1e-1}
COPIES = {"forward": 3, "gradients": 5}
"""Of the modulated maps that PyTorch may hold at once; a guess, to stay on the safe
side of the memory that is there."""


def problems(setup: Setup) -> Iterator[Problem]:
  """Yields heads over keypoints, and whole networks."""
  side = 384 if setup.is_full else 64
  counts = (11, 100, 1000) if setup.is_full else (5, 15)
  for precision in setup.precisions:
    for keypoints in counts:
      yield _head(setup, precision, side, keypoints, "forward")
    for keypoints in counts if setup.is_full else counts[:1]:
      yield _head(setup, precision, side, keypoints, "gradients")
    if setup.is_full:
      yield _whole(precision, side, keypoints=100)
      yield _step(precision, side)


def extra_entries(
  setup: Setup, entries: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
  """Yields parameters beyond the encoder, and where MDS runs out of memory.

  Args:
    setup: of the run.
    entries: of `problems`.
  """
  side = 384 if setup.is_full else 64
  numbers = {}
  for name, changes in CHANGES.items():
    variables = ours.random_variables(
      FewShotDetector(ours.model_config(**changes), side)
    )
    numbers[name] = count_parameters(ours.without_encoder(variables["params"]))
  numbers["ratio"] = numbers["SMD"] / numbers["MDS"]
  variables = {"side": side, "part": "parameters"}
  name = "parameters beyond the encoder"
  yield {"case": "mds", "problem": name, "variables": variables, "values": numbers}
  for part in ("forward", "gradients"):
    yield _exhaustion(part, side, entries)


def _exhaustion(part: str, side: int, entries: list[dict[str, Any]]) -> dict[str, Any]:
  """Extends the measured peaks, as a line over keypoints, to `MEMORY_LIMIT`."""
  found: dict[str, Any] = {}
  for name in ("SMD", "MDS", "MDS in PyTorch"):
    points = [
      (entry["variables"]["keypoints"], entry["sides"][name]["peak_bytes"])
      for entry in entries
      if entry["variables"].get("part") == part
      and "peak_bytes" in entry["sides"].get(name, {})
    ]
    if len(points) > 1:
      slope, start = np.polyfit(*np.transpose(points), deg=1)
      found[name] = {
        "bytes_per_keypoint": slope,
        "keypoints_in_limit": (MEMORY_LIMIT - start) / slope if slope > 0 else None,
      }
  return {
    "case": "mds",
    "problem": f"memory of the head, {part}, one query image",
    "variables": {"side": side, "part": "memory"},
    "values": {"limit_bytes": MEMORY_LIMIT, **found},
  }


def _head(
  setup: Setup, precision: str, side: int, keypoints: int, part: str
) -> Problem:
  sides: dict[str, dict[str, Builder]] = {
    name: {"": functools.partial(our_head, name, precision, side, keypoints, part)}
    for name in CHANGES
  }
  if keypoints <= 100:
    build = functools.partial(_torch_head, setup, precision, side, keypoints, part)
    sides["MDS in PyTorch"] = pytorch.variants(build)
  return Problem(
    name=f"head, {part}, {keypoints} keypoints, {side} px, {precision}",
    variables={
      "part": part,
      "side": side,
      "keypoints": keypoints,
      "precision": precision,
    },  # fmt: skip
    sides=sides,
    checks=(("MDS", "MDS in PyTorch"),),
    limit=LIMIT[precision],
    memory=True,
    is_long=part == "gradients" and keypoints >= 1000,
    work=floor.head(side, keypoints, queries=1).times(3 if part == "gradients" else 1),
  )


def our_head(name: str, precision: str, side: int, keypoints: int, part: str) -> Side:
  """Compiles one of our heads."""
  network = FewShotDetector(ours.model_config(precision, **CHANGES[name]), side)
  variables = ours.random_variables(network)
  maps, batch = (
    ours.feature_maps(side, 2),
    ours.episodes(side, queries=1, keypoints=keypoints),
  )
  forward = functools.partial(ours.apply_head, network)
  if part == "forward":
    return ours.compiled(forward, variables, maps, batch, precision=precision)

  def gradients(params: Any, maps: Any, batch: Any) -> tuple[Any, Any]:
    def loss(params: Any) -> Any:
      # The encoder is not called: it has no variables here.
      found = forward({"params": params}, maps, batch)
      return jnp.mean(jnp.stack([_mean_loss(x, batch, side) for x in found]))

    return jax.value_and_grad(loss)(params)

  params = ours.without_encoder(variables["params"])
  compiled = ours.compiled(gradients, params, maps, batch, precision=precision)
  return compiled._replace(numbers=_loss_and_norm)


def _mean_loss(heatmaps: Any, batch: Any, side: int) -> Any:
  total, count = losses.heatmap_loss(
    heatmaps,
    batch.query.keypoints,
    episode.valid_queries(batch),
    stride=side / heatmaps.shape[-1],
    sigma=14 / 384 * side,
    kind="mse",
  )
  return total / count


def _loss_and_norm(result: Any) -> list[np.ndarray]:
  loss, gradients = result
  norms = [
    np.linalg.norm(np.asarray(x, np.float64)) for x in jax.tree.leaves(gradients)
  ]
  return [np.asarray(loss), np.asarray(np.linalg.norm(norms))]


def _torch_head(
  setup: Setup,
  precision: str,
  side: int,
  keypoints: int,
  part: str,
  layout: torch.memory_format,
) -> Side:
  modulated = 4 * keypoints * floor.CHANNELS * (side // 32) ** 2
  if COPIES[part] * modulated > MEMORY_LIMIT:
    raise SkippedError(f"{COPIES[part]} times {modulated / 2**30:.1f} GiB")
  config = ours.model_config(precision, **CHANGES["MDS"])
  variables = ours.random_variables(FewShotDetector(config, side))
  kind = torch_mds.MdsDetector
  network = pytorch.network(kind, config, side, variables, layout, setup)
  maps = ours.feature_maps(side, 2)
  network.encoder = pytorch.GivenFeatures(maps, layout, setup)
  batch = ours.episodes(side, queries=1, keypoints=keypoints)
  _, points, visible, _ = pytorch.inputs(batch, setup)
  answers, valid = pytorch.tensors((batch.query.keypoints, ours.valid(batch)), setup)
  blank = torch.zeros(1, 2, 1, device=points.device)

  def forward() -> Any:
    return network(blank[:, :1], points, visible, blank[:, 1:])[0]

  if part == "forward":
    return pytorch.inference(forward, precision, setup)

  def run() -> Any:
    with pytorch.arithmetic(precision, setup):
      loss = torch_twin.heatmap_loss(forward(), answers, valid, side, 14 / 384)
    loss.backward()
    return pytorch.finish(loss)

  def numbers(loss: Any) -> list[np.ndarray]:
    return pytorch.arrays([loss, pytorch.gradient_norm(network)])

  return Side(run, numbers, before=network.zero_grad)


def _whole(precision: str, side: int, keypoints: int) -> Problem:
  batch = ours.episodes(side, queries=5, keypoints=keypoints)

  def build(name: str) -> Side:
    network = FewShotDetector(ours.model_config(precision, **CHANGES[name]), side)
    run = functools.partial(network.apply, train=False)
    variables = ours.random_variables(network)
    return ours.compiled(
      lambda *args: run(*args).heatmaps,
      variables,
      batch,
      precision=precision,
    )

  return Problem(
    name=f"whole network, {keypoints} keypoints, {side} px, {precision}",
    variables={
      "part": "whole",
      "side": side,
      "keypoints": keypoints,
      "precision": precision,
    },  # fmt: skip
    sides={name: {"": functools.partial(build, name)} for name in CHANGES},
    checks=(),
    memory=True,
    work=floor.encoder(side, 6) + floor.head(side, keypoints, queries=5),
  )


def _step(precision: str, side: int) -> Problem:
  keypoints = training.KEYPOINTS

  def build(name: str) -> Side:
    return training.our_step(precision, 2, side, **CHANGES[name])

  return Problem(
    name=f"training step, {keypoints} keypoints, {side} px, {precision}",
    variables={
      "part": "step",
      "side": side,
      "keypoints": keypoints,
      "precision": precision,
    },  # fmt: skip
    sides={name: {"": functools.partial(build, name)} for name in CHANGES},
    checks=(),
    memory=True,
    work=floor.training_step(side, 2, 6, keypoints),
  )
