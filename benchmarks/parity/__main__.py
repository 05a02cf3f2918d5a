"""Prints how far the JAX model is from the original PyTorch code and from the twin.

  python -m benchmarks.parity [--golden FILE] [--golden-transpose R.npz H.npz]

The largest error of each group, as a part of the largest absolute value there; ends
with 1 if one is above its limit. FILE (golden_fskd.npz) holds outputs of the original
code; without it only the twin is compared. golden_transpose_{r,h}_a4.npz hold those of
TransPose. Needs PyTorch; float32, highest matmul precision; run it on a CPU, whose
arithmetic is what the limits were made for.
"""

import argparse
import sys
from collections.abc import Iterable

import jax
import numpy as np

from benchmarks.parity import golden, gradients, transpose, twin
from benchmarks.parity.cases import Row


def main() -> int:
  parser = argparse.ArgumentParser("python -m benchmarks.parity")
  parser.add_argument("--golden", help="golden_fskd.npz")
  parser.add_argument(
    "--golden-transpose", nargs="+", default=[], help="golden_transpose_*.npz"
  )
  args = parser.parse_args()
  tables: dict[str, Iterable[Row]] = {"JAX beside the twin": twin.rows()}
  if args.golden:
    arrays = np.load(args.golden)
    tables = {
      "JAX beside the original": golden.golden_rows(arrays),
      "twin beside the original": twin.golden_rows(arrays),
      "rounding: original beside the twin in float64": twin.rounding_rows(arrays),
    } | tables
  for path in args.golden_transpose:
    arrays = np.load(path)
    tables[f"TransPose beside the original: {path}"] = transpose.golden_rows(arrays)
    tables[f"its gradients: {path}"] = gradients.golden_rows(arrays)
  within = True
  with jax.default_matmul_precision("highest"):
    for title, rows in tables.items():
      print(title)
      for row in rows:
        print(f"  {row.group:52s} {row.error:8.1e}   limit {row.limit:.0e}", flush=True)
        within &= row.error <= row.limit
  return 0 if within else 1


if __name__ == "__main__":
  sys.exit(main())
