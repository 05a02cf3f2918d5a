"""`fskd plot negatives` and `prototypes` on a small run."""

import json

import pytest
from PIL import Image

from fskd_jax.cli import main


@pytest.mark.slow
def test_negatives_of_a_run(trained, tmp_path, capsys):
  out = tmp_path / "negatives.png"
  source = ["--workdir", str(trained[1]), "--episodes", "8", "--out", str(out)]
  assert main.main(["plot", "negatives", *source]) == 0
  text = capsys.readouterr().out
  numbers = json.loads(text[text.index("{") : text.rindex("}") + 1])
  assert numbers
  assert min(Image.open(out).size) > 300


@pytest.mark.slow
def test_prototypes_of_one_species_have_nothing_to_be_compared_with(
  trained, tmp_path, capsys
):
  out = tmp_path / "prototypes.png"
  command = ["plot", "prototypes", "--workdirs", str(trained[1]), "--out", str(out)]
  assert main.main([*command, "--episodes", "2"]) == 2
  assert "there is ['pond']" in capsys.readouterr().err
  assert not out.exists()


@pytest.mark.parametrize("kind", ["negatives", "prototypes"])
def test_a_run_that_is_none_is_named(kind, tmp_path, capsys):
  option = "--workdir" if kind == "negatives" else "--workdirs"
  out = ["--out", str(tmp_path / "x.png")]
  assert main.main(["plot", kind, option, str(tmp_path / "nothing"), *out]) == 2
  assert "nothing" in capsys.readouterr().err
