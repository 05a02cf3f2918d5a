"""Reads and writes weights: safetensors without PyTorch, .pth with it; no pickles.

A .pth is read by torch's weights-only loading, which refuses everything but tensors.
A safetensors file carries checksums, so that a flipped bit on a disk is noticed; those
of other programs have none.
"""

import contextlib
import importlib
import json
import pathlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes  # also tells NumPy of bfloat16, by which safetensors reads it
import numpy as np
import safetensors
import safetensors.numpy

from fskd_jax import config
from fskd_jax.config import Config
from fskd_jax.files import atomic_path
from fskd_jax.messages import DAMAGE, cut, raise_if

SUFFIXES = (".safetensors", ".pth")

_TYPES = frozenset("F64 F32 F16 BF16 I64 I32 I16 I8 U64 U32 U16 U8 BOOL".split())
_CHECKSUMS = "checksums"  # in the metadata: CRC-32 of the tensors and of the rest
_SLACK = 2**26  # bytes by which a tensor with repeated values may exceed its storage


def read_weights(path: str | pathlib.Path) -> dict[str, np.ndarray]:
  """Reads a state dict, or the one under "state_dict" in a .pth.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file is damaged, not a plain state dict, or of an unknown kind.
    ImportError: The file is a .pth, and PyTorch is not installed.
  """
  path = _existing(path)
  if path.suffix == ".pth":
    return _read_pth(path)
  return _read_safetensors(path)


def read_config(path: str | pathlib.Path) -> Config | None:
  """Reads the configuration that `fskd export` put into a safetensors file.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file is damaged, or its configuration is of another version.
  """
  metadata = read_metadata(path)
  if "config" not in metadata:
    return None
  try:
    cfg = config.from_dict(json.loads(metadata["config"]))
    config.validate(cfg)
    return cfg
  except DAMAGE as error:
    raise ValueError(
      f"{path}: its configuration cannot be read: {cut(error)}"
    ) from error


def read_metadata(path: str | pathlib.Path) -> dict[str, str]:
  """Reads the metadata that `fskd export` wrote; empty for a .pth.

  Raises:
    FileNotFoundError: The file does not exist.
    ValueError: The file is damaged.
  """
  path = _existing(path)
  if path.suffix == ".pth":
    return {}
  with _open(path) as file:
    metadata = file.metadata() or {}
  found = _text_checksum(metadata)
  _check(path, metadata.pop(_CHECKSUMS, None), "metadata", found)
  return metadata


def halved(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors, those of floating point rounded to bfloat16."""
  return {
    name: x.astype(ml_dtypes.bfloat16) if np.issubdtype(x.dtype, np.floating) else x
    for name, x in tensors.items()
  }


def write_weights(
  path: str | pathlib.Path,
  tensors: Mapping[str, np.ndarray],
  metadata: Mapping[str, str],
) -> None:
  """Writes a state dict atomically.

  Args:
    path: File name that ends in .safetensors or .pth.
    tensors: Tensors by name.
    metadata: Texts by name. Only safetensors files keep them; a .pth is a plain state
      dict.

  Raises:
    ValueError: The file name ends in something else.
    ImportError: The file is a .pth, and PyTorch is not installed.
  """
  path = _known(path)
  with atomic_path(path) as unfinished:
    if path.suffix == ".pth":
      torch = _import_torch(path)
      torch.save({name: torch.tensor(x) for name, x in tensors.items()}, unfinished)
    else:
      checksums = {"tensors": _checksum(tensors), "metadata": _text_checksum(metadata)}
      metadata = {**metadata, _CHECKSUMS: json.dumps(checksums)}
      # Not save_file, whose files only their owner may read.
      unfinished.write_bytes(safetensors.numpy.save(dict(tensors), metadata))


def _known(path: str | pathlib.Path) -> pathlib.Path:
  path = pathlib.Path(path)
  if path.suffix not in SUFFIXES:
    raise ValueError(f"{path}: expected a file name that ends in .safetensors or .pth")
  return path


def _existing(path: str | pathlib.Path) -> pathlib.Path:
  path = _known(path)
  if not path.is_file():
    raise FileNotFoundError(f"there is no file {path}")
  return path


@contextlib.contextmanager
def _open(path: pathlib.Path) -> Iterator[Any]:
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      yield file
  except (safetensors.SafetensorError, *DAMAGE) as error:
    raise ValueError(
      f"{path} is no safetensors file, or damaged: {cut(error)}"
    ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
  with _open(path) as file:
    types = {name: file.get_slice(name).get_dtype() for name in file.keys()}
    known = {name: file.get_tensor(name) for name, t in types.items() if t in _TYPES}
    expected = (file.metadata() or {}).get(_CHECKSUMS)
  strange = [f"{name} ({kind})" for name, kind in types.items() if kind not in _TYPES]
  raise_if(strange, ValueError, f"{path}: tensors of types that are not read")
  _check(path, expected, "tensors", _checksum(known) if expected else 0)
  # NumPy has no bfloat16 of its own.
  return {
    name: x.astype(np.float32) if types[name] == "BF16" else x
    for name, x in known.items()
  }


def _check(path: pathlib.Path, checksums: str | None, name: str, found: int) -> None:
  """Checks a checksum of a file that has one."""
  if checksums is None:
    return
  try:
    is_right = json.loads(checksums)[name] == found
  except DAMAGE:
    is_right = False
  if not is_right:
    raise ValueError(
      f"{path} is damaged: the checksum of its {name} differs; copy or export it again"
    )


def _checksum(tensors: Mapping[str, np.ndarray]) -> int:
  """Returns the CRC-32 of the names, types, shapes and bytes of all tensors."""
  total = 0
  for name, x in sorted(tensors.items()):
    x = np.asarray(x)
    total = zlib.crc32(f"{name} {x.dtype} {x.shape}".encode(), total)
    total = zlib.crc32(np.ascontiguousarray(x).reshape(-1).view(np.uint8).data, total)
  return total


def _text_checksum(metadata: Mapping[str, str]) -> int:
  known = {name: text for name, text in metadata.items() if name != _CHECKSUMS}
  return zlib.crc32(json.dumps(known, sort_keys=True).encode())


def _import_torch(path: pathlib.Path) -> Any:
  try:
    return importlib.import_module("torch")
  except ImportError as error:
    raise ImportError(
      f"{path}: .pth files need PyTorch: pip install -e '.[torch]' in the clone of "
      "fskd_jax; .safetensors files need none"
    ) from error


def _read_pth(path: pathlib.Path) -> dict[str, np.ndarray]:
  torch = _import_torch(path)
  _refuse_damaged(path)
  try:
    loaded = torch.load(path, map_location="cpu", weights_only=True)
  except Exception as error:  # whatever a damaged or foreign pickle may raise
    first_line = (str(error).splitlines() or [""])[0]
    raise ValueError(
      f"{path} is damaged, or holds more than tensors and is refused: {first_line}"
    ) from error
  if not isinstance(loaded, Mapping):
    raise ValueError(f"{path} holds a {type(loaded).__name__}, not a state dict")
  if isinstance(loaded.get("state_dict"), Mapping):  # a checkpoint of a training
    loaded = loaded["state_dict"]
  strange = [name for name, x in loaded.items() if not isinstance(x, torch.Tensor)]
  if strange or not all(isinstance(name, str) for name in loaded):
    raise ValueError(
      f"{path} is not a plain state dict (name -> tensor): it holds "
      f"{', '.join(map(repr, strange or loaded))}; save the state dict alone"
    )
  problems = [
    f"{name} is {problem}"
    for name, x in loaded.items()
    if (problem := _problem(x, torch))
  ]
  raise_if(problems, ValueError, f"{path}: expected plain (dense) tensors with values")
  # NumPy has no bfloat16.
  return {
    name: (x.float() if x.is_floating_point() else x).detach().numpy()
    for name, x in loaded.items()
  }


def _refuse_damaged(path: pathlib.Path) -> None:
  """Refuses altered files; compressed ones, too: one may unpack to 1000 x.

  torch.save compresses nothing, and torch.load looks at no checksum.
  """
  try:
    file = zipfile.ZipFile(path)
  except Exception:  # an older format, or damaged: torch reports it
    return
  with file:
    entries = file.infolist()
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
      raise ValueError(f"{path} is compressed, which torch.save does not do")
    if sum(entry.file_size for entry in entries) > path.stat().st_size:
      raise ValueError(f"{path} is damaged: its parts are larger than the file")
    altered = [entry.filename for entry in entries if not _is_whole(file, entry)]
  if altered and len(altered) < len(entries):  # torch.save can leave all of them out
    raise ValueError(
      f"{path} is damaged: the checksum of its part {altered[0]} differs; copy or "
      "export it again"
    )


def _is_whole(file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
  try:
    with file.open(entry) as content:
      while content.read(2**20):
        pass
  except DAMAGE + (OSError, EOFError, zipfile.BadZipFile):
    return False
  return True


def _problem(x: Any, torch: Any) -> str | None:
  """Returns why a tensor cannot become a NumPy array, or None."""
  if x.layout != torch.strided or x.is_nested:
    return "sparse or nested"
  if x.is_quantized:
    return "quantized"
  if x.is_complex():
    return "complex"
  if x.is_meta:
    return "a meta tensor, without values"
  if x.numel() * x.element_size() > x.untyped_storage().nbytes() + _SLACK:
    return f"of the shape {(*x.shape,)}, more than the file holds"
  return None
