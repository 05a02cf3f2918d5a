"""fskd configs: lists the configuration files of the package, or copies one.

Edit the copy and train, with train.py of a clone or in Python:

  python train.py --config=mine.py --workdir=runs/mine
  fskd_jax.train(fskd_jax.training.runs.load_config("mine.py"), "runs/mine")

Those of sweeps/ are for `fskd experiment sweep`.
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
  home = library.folder()
  paths = (*sorted(home.glob("[a-z]*.py")), *sorted(home.glob("sweeps/[a-z]*.py")))
  files = {str(path.relative_to(home).with_suffix("")): path for path in paths}
  if args.name is None:
    for name, path in files.items():
      about = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
      print(f"{name:26s}{about.splitlines()[0] if about else ''}")
    return 0
  if args.name not in files:
    raise ValueError(f"no configuration {args.name!r}; there are {', '.join(files)}")
  out = pathlib.Path(args.out or files[args.name].name)
  if out.exists():
    raise FileExistsError(f"{out} exists; name another file with --out")
  shutil.copyfile(files[args.name], out)
  print(f"{out}: a copy of {files[args.name].name}")
  return 0
