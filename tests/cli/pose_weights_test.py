"""`fskd export`, `import`, `compare` and `parameters` on a run of TransPose."""

import contextlib
import json

import pytest
from helpers import shapes
from helpers.seeded_variables import seeded_variables

from fskd_jax import config
from fskd_jax.cli import main
from fskd_jax.config import TransformerConfig
from fskd_jax.interop.stages import seeded_inputs
from fskd_jax.models.build import make_model
from fskd_jax.training import optim, state
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.runs import load_run


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
  cfg = shapes.config(tmp_path_factory.mktemp("shapes") / "data", steps=2, log_every=1)
  cfg.task, cfg.name, cfg.data.image_width = "pose", "attentive", 32
  cfg.eval.settings = ("seen/base",)
  cfg.model.transformer = TransformerConfig(layers=1, width=8, hidden=8, heads=2)
  return cfg


@pytest.fixture(scope="module")
def run(cfg, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("run")
  model = make_model(cfg)
  variables = seeded_variables(model.init, seeded_inputs(cfg), train=False)
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps)
  with contextlib.closing(CheckpointStore(workdir, keep=1)) as store:
    store.save(7, state.init_state(variables, tx), config.to_dict(cfg))
  return str(workdir)


@pytest.mark.slow
def test_a_run_survives_the_way_there_and_back(run, cfg, tmp_path, capsys):
  path, copy = str(tmp_path / "model.safetensors"), str(tmp_path / "copy")
  assert main.main(["export", "--workdir", run, "--out", path]) == 0
  assert "attentive, step 7, " in capsys.readouterr().out
  assert main.main(["import", "--from", path, "--workdir", copy]) == 0
  assert load_run(copy)[0].config == cfg
  assert main.main(["compare", run, copy]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[-2].split()[0] == "heat-maps" and lines[-1].startswith("equal")
  assert main.main(["compare", path, run]) == 0


def test_no_program_is_written(run, tmp_path, capsys):
  out = str(tmp_path / "model.zip")
  command = ["export", "--workdir", run, "--format", "stablehlo", "--out", out]
  assert main.main(command) == 2
  assert "export weights" in capsys.readouterr().err


def test_parameters_and_cost(cfg, tmp_path, capsys):
  path = tmp_path / "experiment.py"
  text = json.dumps(config.to_dict(cfg))
  path.write_text(
    "import json\nfrom fskd_jax import config\n\n"
    f"def get_config():\n  return config.from_dict(json.loads({text!r}))\n"
  )
  assert main.main(["parameters", "--config", str(path)]) == 0
  lines = [line.split() for line in capsys.readouterr().out.splitlines()]
  count = {words[0]: words[1] for words in reversed(lines)}  # the first of a name
  assert count["deconv_0"] == "1,024" and count["final"] == str(3 * (8 + 1))
  learned, positions = int(count["total"].replace(",", "")), 6 * 4 * 8
  published = next(words[-1] for words in lines if words[:2] == ["as", "published"])
  assert int(published.replace(",", "")) == learned + positions
  assert count["deconvolution"] == f"{24 * 8 * 8 * 16:,}"
