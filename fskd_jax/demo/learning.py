"""The buttons of the page that learn from what is marked: suggest and adapt."""

import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

from fskd_jax.demo import marks
from fskd_jax.demo.finding import Finder
from fskd_jax.demo.gallery import Picture
from fskd_jax.demo.jobs import Jobs
from fskd_jax.demo.marks import Marks
from fskd_jax.files import link, write_bytes
from fskd_jax.own_labels import adapting, suggesting
from fskd_jax.prediction.load import load

_NUMBER = 10  # pictures suggested
_MINUTES, _FRAMES = 2.0, 100


def suggest(
  finder: Finder, marked: Marks, among: Sequence[Picture], is_whole: bool, job: Jobs
) -> dict[str, Any]:
  """Chooses pictures to label next.

  Args:
    finder: The detector.
    marked: What is marked.
    among: The pictures to choose from.
    is_whole: Whether objects fill the pictures.
    job: Shows how far it is.

  Returns:
    The keys of the pictures, the most useful first, as "next".
  """
  with tempfile.TemporaryDirectory(prefix="fskd_demo_") as name:
    folder = pathlib.Path(name)
    files = _gathered(among, folder / "frames")
    found = suggesting.suggest(
      write_labels(marked, folder / "labels"),
      [*files],
      folder / "next",
      number=min(_NUMBER, len(files)),
      detector=finder.detector,
      whole_images=is_whole,
      progress=job.counted,
    )
    return {"next": [files[one.query.path] for one in found]}


def adapt(
  finder: Finder,
  marked: Marks,
  among: Sequence[Picture],
  start: str | None,
  workdir: pathlib.Path,
  job: Jobs,
) -> dict[str, Any]:
  """Adapts the detector, and uses the adapted one from now on if it is better.

  Args:
    finder: The detector.
    marked: What is marked.
    among: Pictures without marks, in which points must be found again after turning.
    start: The path of the detector that is adapted, as for `load`.
    workdir: The new folder of the run.
    job: Shows what is being done.

  Returns:
    What came of it, as "told".
  """
  with tempfile.TemporaryDirectory(prefix="fskd_demo_") as name:
    folder = pathlib.Path(name)
    _gathered(among[:: len(among) // _FRAMES + 1], folder / "frames")
    outcome = adapting.adapt(
      write_labels(marked, folder / "labels"),
      workdir,
      unlabelled=folder / "frames" if among else None,
      minutes=_MINUTES,
      start=start,
      tell=job.tell,
    )
  if outcome.share:
    finder.use(load(workdir))
  return {"told": f"{outcome}. The run is in {workdir.name}."}


def write_labels(marked: Marks, folder: pathlib.Path) -> pathlib.Path:
  """Writes what people marked, with the pictures, as a folder of labels.

  Raises:
    ValueError: Nothing is marked.
  """
  marked = marked.by_hand()
  folder.mkdir()
  marks.write(marked, "coco", folder / "annotations.json")
  for name, one in zip(marked.file_names(), marked.pictures):
    write_bytes(folder / "images" / name, one.picture.content())
  return folder


def _gathered(
  pictures: Sequence[Picture], folder: pathlib.Path
) -> dict[pathlib.Path, str]:
  """Puts pictures into a new folder; returns their keys by their paths."""
  files = {}
  for picture in pictures:
    suffix = pathlib.PurePath(picture.name).suffix or ".png"
    path = folder / f"{picture.key}{suffix}"
    if isinstance(picture.source, bytes):
      write_bytes(path, picture.source)
    else:
      link(picture.source, path)
    files[path] = picture.key
  return files
