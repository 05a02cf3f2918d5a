"""Paths that orbax takes as they are."""

import contextlib
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator

from etils import epath


@contextlib.contextmanager
def plain_path(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives a path to a folder without characters that orbax would interpret.

  Orbax takes a path with [1] or * for a pattern (it joins the parts of a save by a
  glob of the whole path), TensorStore turns a backslash into a slash, and etils turns
  /gs/ into gs://. Such a folder is reached through a link.

  Raises:
    ValueError: The path of the folder of temporary files has such characters, too.
  """
  if is_plain(folder):
    yield folder
    return
  with tempfile.TemporaryDirectory(prefix="fskd_jax_") as temporary:
    link = pathlib.Path(temporary) / "workdir"
    if not is_plain(link):
      raise ValueError(
        f"{folder} has characters that checkpoints cannot be written below, and so has "
        f"the folder of temporary files {temporary}: name another workdir or TMPDIR"
      )
    link.symlink_to(folder, target_is_directory=True)
    yield link


def is_plain(path: pathlib.Path) -> bool:
  """Returns whether orbax, TensorStore and etils leave a path as it is."""
  name = str(path)
  return bool(re.fullmatch(r"[\w/.,:=+@ -]+", name, re.ASCII)) and (
    os.fspath(epath.Path(name)) == name
  )
