"""fskd configs: lists the configuration files of the package, or copies one.

Edit the copy and train: `python train.py --config=mine.py --workdir=runs/mine`.
"""

import argparse
import ast
import pathlib
import shutil

from fskd_jax.config import library


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Declares the arguments."""
  parser.add_argument("name", nargs="?", help="file to copy; default: list all")
  parser.add_argument("--out", help="the copy (NAME.py in the current folder)")
  parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
  """Lists the files or copies one.

  Raises:
    ValueError: There is no such configuration.
    FileExistsError: The file to write exists.
  """
  files = {path.stem: path for path in sorted(library.folder().glob("[a-z]*.py"))}
  if args.name is None:
    for name, path in files.items():
      about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
      print(f"{name:24s}{about.splitlines()[0] if about else ''}")
    return 0
  if args.name not in files:
    raise ValueError(f"no configuration {args.name!r}; there are {', '.join(files)}")
  out = pathlib.Path(args.out or f"{args.name}.py")
  if out.exists():
    raise FileExistsError(f"{out} exists; name another file with --out")
  shutil.copyfile(files[args.name], out)
  print(f"{out}: a copy of {files[args.name].name}")
  return 0
