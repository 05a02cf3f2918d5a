"""Lets tests import `benchmarks`, which is no part of the package."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))
