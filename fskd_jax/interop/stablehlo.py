"""Exports a detector to one file that runs with JAX alone, for fixed shapes.

A zip of two `jax.export` functions, their weights and a description:

  encode_support(weights, images, keypoints, visible) -> kernels
  detect(weights, images, kernels, places) -> {"heatmaps", "keypoints"}

docs/pytorch.md shows how to load and run it. JAX reads such programs for six months.
"""

import dataclasses
import datetime
import io
import json
import pathlib
import zipfile
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from jax import export

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.files import atomic_path
from fskd_jax.heatmaps import decoding
from fskd_jax.heatmaps.prior import Places, Prior
from fskd_jax.models.build import make_detector
from fskd_jax.models.detector import fuse_heatmaps
from fskd_jax.models.kernels import Kernels

PLATFORMS = ("cpu", "cuda", "tpu")

FUNCTIONS = ("encode_support", "detect")

AGAIN = (
  "JAX reads exported programs for six months: export again, with fskd export "
  "--format stablehlo and the run or the .safetensors file that the program is of; "
  "these do not expire."
)


class Sizes(NamedTuple):
  """The fixed numbers of support images, query images and keypoint types."""

  shots: int
  queries: int
  keypoints: int


class Program(NamedTuple):
  """A file of `write_stablehlo`.

  Attributes:
    encode_support: The first function; its `call` takes the weights, then arrays.
    detect: The second.
    weights: float arrays by path.
    about: The configuration, sizes and decoding, and the version of JAX and the date.
  """

  encode_support: export.Exported
  detect: export.Exported
  weights: dict[str, np.ndarray]
  about: dict[str, Any]


def read_stablehlo(path: str | pathlib.Path) -> Program:
  """Loads a file of `write_stablehlo`.

  Raises:
    FileNotFoundError: There is no such file.
    ValueError: This JAX cannot read the programs, which may have expired; the message
      says with which JAX and when they were made.
  """
  with zipfile.ZipFile(path) as file:
    about = json.loads(file.read("about.json"))
    weights = dict(np.load(io.BytesIO(file.read("weights.npz"))))
    blobs = [bytearray(file.read(f"{name}.stablehlo")) for name in FUNCTIONS]
  try:
    encode_support, detect = map(export.deserialize, blobs)
  except Exception as error:
    # Files from before November 2026 say neither version nor date.
    made = f"JAX {about['jax']} on {about['date']}" if "jax" in about else "an old JAX"
    raise ValueError(
      f"{path} was exported with {made}, and JAX {jax.__version__} cannot read it. "
      f"{AGAIN} ({error})"
    ) from error
  return Program(encode_support, detect, weights, about)


def write_stablehlo(
  path: str | pathlib.Path,
  cfg: Config,
  variables: Any,
  sizes: Sizes,
  prior: Prior | None,
) -> None:
  """Writes, atomically, a program that runs the detector on one episode at a time.

  Images are uint8 RGB [1 t L L 3], with t = k or m, keypoints float32 pixels
  [1 k n 2], visible bool [1 k n]; places is a dictionary of the fields of
  `prior.Places`. The results are float32 heat-maps [1 m n h w], fused over the groups,
  and keypoints [1 m n 2] in pixels.

  Args:
    path: File name that ends in .zip.
    cfg: Configuration of the run.
    variables: Variables of the detector.
    sizes: Sizes of every call.
    prior: The prior that keypoints are read out with; without one the places are
      ignored.

  Raises:
    ValueError: The name does not end in .zip, or a size is below 1.
  """
  path = pathlib.Path(path)
  if path.suffix != ".zip":
    raise ValueError(f"{path}: expected a file name that ends in .zip")
  if min(sizes) < 1:
    raise ValueError(f"expected sizes of at least 1, got {sizes._asdict()}")
  leaves: dict[Any, Any] = traverse_util.flatten_dict(variables)
  weights: dict[str, Any] = {
    "/".join(names): np.asarray(value) for names, value in leaves.items()
  }
  functions = _functions(cfg, weights, sizes, prior)
  about = {
    "config": config.to_dict(cfg),
    "sizes": sizes._asdict(),
    "decoding": decoding.DEFAULT,
    "prior": prior and dataclasses.asdict(prior),
    "jax": jax.__version__,
    "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    "when_expired": AGAIN,
  }
  arrays = io.BytesIO()
  np.savez(arrays, **weights)
  with atomic_path(path) as unfinished, zipfile.ZipFile(unfinished, "w") as file:
    for name, function in functions.items():
      file.writestr(f"{name}.stablehlo", function.serialize())
    file.writestr("weights.npz", arrays.getvalue())
    file.writestr("about.json", json.dumps(about, indent=2))


def _functions(
  cfg: Config, weights: dict[str, Any], sizes: Sizes, prior: Prior | None
) -> dict[str, export.Exported]:
  side = cfg.data.image_size
  detector = make_detector(cfg)

  def apply(weights: Any, *args: Any, method: str) -> Any:
    variables = traverse_util.unflatten_dict(weights, sep="/")
    return detector.apply(variables, *args, method=method)

  def encode_support(weights, images, keypoints, visible):
    groups = apply(weights, images, keypoints, visible, method="encode_support")
    # Plain dicts, because the loading program does not have the class `Kernels`.
    return [
      {"taps": group.taps} | ({} if group.bias is None else {"bias": group.bias})
      for group in groups
    ]

  def detect(weights, images, kernels, places):
    groups = tuple(Kernels(group["taps"], bias=group.get("bias")) for group in kernels)
    heatmaps = fuse_heatmaps(apply(weights, images, groups, method="detect"))
    stride = side / heatmaps.shape[-1]
    temperature = decoding.temperature(cfg.loss)
    found = decoding.decode(
      heatmaps, stride, decoding.DEFAULT, temperature, prior, Places(**places)
    )
    return {"heatmaps": heatmaps, "keypoints": found.keypoints}

  def shape(*dims: int, dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((1, *dims), dtype)

  shots, queries, keypoints = sizes
  support = (
    shape(shots, side, side, 3, dtype=np.uint8),
    shape(shots, keypoints, 2, dtype=np.float32),
    shape(shots, keypoints, dtype=np.bool_),
  )
  query = shape(queries, side, side, 3, dtype=np.uint8)
  kernels = jax.eval_shape(encode_support, weights, *support)
  places = {
    "keypoints": support[1],
    "visible": support[2],
    "support_boxes": shape(shots, 2, dtype=np.float32),
    "query_boxes": shape(queries, 2, dtype=np.float32),
  }
  inputs = {encode_support: support, detect: (query, kernels, places)}
  return {
    function.__name__: export.export(jax.jit(function), platforms=PLATFORMS)(
      weights, *args
    )
    for function, args in inputs.items()
  }
