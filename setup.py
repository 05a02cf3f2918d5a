"""Puts configs/ into wheels, as fskd_jax/configs; all else is in pyproject.toml."""

import setuptools

setuptools.setup(
  packages=[
    *setuptools.find_packages(include=["fskd_jax*"]),
    "fskd_jax.configs",
    "fskd_jax.configs.sweeps",
    "fskd_jax.demo.page",  # no code: what the browser gets
  ],
  package_dir={
    "fskd_jax.configs": "configs",
    "fskd_jax.configs.sweeps": "configs/sweeps",
  },
)
