"""Files of exported programs that JAX does not read any more."""

import io
import json
import zipfile

import jax
import numpy as np
import pytest
from jax import export

from fskd_jax.interop import stablehlo


@pytest.mark.parametrize(
  ("about", "made"),
  [
    ({"jax": "0.9.0", "date": "2026-01-20"}, "JAX 0.9.0 on 2026-01-20"),
    ({}, "an old JAX"),
  ],
)
def test_an_expired_file_says_what_to_do(tmp_path, monkeypatch, about, made):
  def deserialize(blob):
    raise ValueError("older than the 6-month window")  # as JAX 0.12 says it

  monkeypatch.setattr(export, "deserialize", deserialize)
  path, weights = tmp_path / "detector.zip", io.BytesIO()
  np.savez(weights, x=np.ones(1))
  with zipfile.ZipFile(path, "w") as file:
    file.writestr("about.json", json.dumps(about))
    file.writestr("weights.npz", weights.getvalue())
    for name in stablehlo.FUNCTIONS:
      file.writestr(f"{name}.stablehlo", b"old")
  with pytest.raises(ValueError) as caught:
    stablehlo.read_stablehlo(path)
  said = str(caught.value)
  assert said.startswith(f"{path} was exported with {made}, and JAX {jax.__version__}")
  assert "export again" in said and "6-month" in said
