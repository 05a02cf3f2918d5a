"""The `fskd` command on small detectors: files out, files in, comparisons, refusals."""

import contextlib
import dataclasses
import functools
import json
import os
import pickle
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from helpers import shapes
from helpers.paths import ROOT
from helpers.seeded_variables import seeded_variables

from fskd_jax import config, experiment
from fskd_jax.cli import main
from fskd_jax.few_shot import calibration, evaluation
from fskd_jax.heatmaps.prior import Places, Prior
from fskd_jax.interop import stablehlo, weights
from fskd_jax.interop.stages import seeded_episode
from fskd_jax.models.detector import FewShotDetector, fuse_heatmaps
from fskd_jax.prediction.load import load
from fskd_jax.training import optim, state
from fskd_jax.training.checkpoint import CheckpointStore
from fskd_jax.training.runs import load_run

CALIBRATED = calibration.Calibration(
  mass_slope=1.0, peak_slope=0.0, offset=0.3, covariance_scale=1.0,
  split="validation", shots=1, keypoints=90, step=7,
)  # fmt: skip
CHANGED = "weight_generator_list.0.weight_net_part2.0.0.weight"


def _config_file(path, cfg):
  path.write_text(
    "import json\nfrom fskd_jax import config\n\n"
    f"def get_config():\n  return config.from_dict(json.loads({_text(cfg)!r}))\n"
  )
  return str(path)


def _text(cfg):
  return json.dumps(config.to_dict(cfg))


@pytest.fixture(scope="module")
def cfg(tmp_path_factory):
  cfg = shapes.config(tmp_path_factory.mktemp("shapes") / "data", steps=2, log_every=1)
  cfg.data.validation_species = ()
  return cfg


@pytest.fixture(scope="module")
def run(cfg, tmp_path_factory):
  """A run with one checkpoint, of step 7."""
  workdir = tmp_path_factory.mktemp("run")
  detector = FewShotDetector(cfg.model, cfg.data.image_size)
  batch = seeded_episode(cfg.data.image_size)
  variables = seeded_variables(lambda key: detector.init(key, batch, train=False))
  tx = optim.make_optimizer(cfg.optim, cfg.train.steps)
  with contextlib.closing(CheckpointStore(workdir, keep=1)) as store:
    store.save(7, state.init_state(variables, tx), config.to_dict(cfg))
  return str(workdir)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
  path = str(tmp_path_factory.mktemp("export") / "model.safetensors")
  assert main.main(["export", "--workdir", run, "--out", path]) == 0
  return path


@pytest.mark.slow
def test_export_carries_its_configuration(run, exported, cfg, capsys):
  with safetensors.safe_open(exported, "numpy") as file:
    about = file.metadata()
  assert about["step"] == "7"
  assert config.from_dict(json.loads(about["config"])) == cfg
  assert main.main(["export", "--workdir", run, "--out", exported]) == 0
  assert "shapes, step 7, " in capsys.readouterr().out
  assert main.main(["export", "--workdir", run, "--out", "model.onnx"]) == 2
  assert ".safetensors or .pth" in capsys.readouterr().err
  assert main.main(["export", "--workdir", run, "--out", "nowhere/x.safetensors"]) == 2


def test_half_the_size_differs_by_the_rounding_of_bfloat16(run, exported, capsys):
  path = exported.replace("model", "half")
  command = ["export", "--workdir", run, "--half", "--out"]
  assert main.main([*command, path]) == 0
  assert weights.read_config(path) == weights.read_config(exported)
  whole, half = map(weights.read_weights, (exported, path))
  assert whole.keys() == half.keys()
  for name, x in whole.items():
    assert half[name].dtype == x.dtype
    np.testing.assert_allclose(half[name], x, rtol=2**-8)
  assert any((half[name] != x).any() for name, x in whole.items())
  stored = [safetensors.numpy.load_file(x) for x in (exported, path)]
  size, smaller = (sum(x.nbytes for x in tensors.values()) for tensors in stored)
  assert smaller < 0.51 * size
  assert main.main([*command, "half.pth"]) == 2
  assert "ends in .safetensors" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_import_continues_what_was_exported(run, cfg, suffix, tmp_path, capsys):
  if suffix == ".pth":
    pytest.importorskip("torch", reason=".pth files need PyTorch")
  path, copy = str(tmp_path / f"model{suffix}"), str(tmp_path / "copy")
  written = _config_file(tmp_path / "experiment.py", cfg)
  assert main.main(["export", "--workdir", run, "--out", path]) == 0
  command = ["import", "--from", path, "--config", written, "--workdir", copy]
  assert main.main(command) == 0
  assert main.main(["compare", run, copy]) == 0
  assert "bitwise equal\nstage" in capsys.readouterr().out
  assert main.main(command) == 2
  assert "holds checkpoints already" in capsys.readouterr().err
  assert load_run(copy)[1] == 0
  if suffix == ".pth":
    assert main.main(["import", "--from", path, "--workdir", copy + "2"]) == 2
    assert "name it with --config" in capsys.readouterr().err
    return
  shapes.write_folder(tmp_path / "data")
  cfg = config.from_dict(json.loads(_text(cfg)))
  cfg.data.path, cfg.eval.episodes = str(tmp_path / "data"), 2
  cfg.eval.settings = ("unseen/novel",)
  model, step = load_run(copy)
  evaluation.evaluate(cfg, model.variables, step, copy)
  assert int(experiment.train(cfg, copy).step) == 2
  assert main.main(["compare", run, copy]) == 1


def _altered(exported, tmp_path, change):
  tensors = safetensors.numpy.load_file(exported)
  change(tensors)
  path = str(tmp_path / "altered.safetensors")
  about = {"config": _text(weights.read_config(exported)), "step": "7"}
  weights.write_weights(path, tensors, about)
  return path


def test_compare_tells_what_differs_and_from_which_stage_on(
  run, exported, tmp_path, capsys
):
  def change(tensors):
    tensors[CHANGED][0, 0] += 0.5

  path, table = _altered(exported, tmp_path, change), str(tmp_path / "table.json")
  assert main.main(["compare", run, path, "--json", table]) == 1
  found = json.loads(open(table).read())
  assert found["equal"] is False and found["unmatched"] == []
  off = {row["name"]: row for row in found["parameters"] if row["max_abs"]}
  assert set(off) == {CHANGED}
  assert off[CHANGED]["max_abs"] == pytest.approx(0.5)
  differing = [row["name"].split(",")[0] for row in found["stages"] if row["relative"]]
  assert set(differing) == {"kernels", "heat-maps"}
  names = [row["name"] for row in found["stages"]]
  assert names[:3] == ["encoder stem", "encoder layer1", "encoder layer2"]
  assert names[-4:] == [
    "encoder map, stride 8",
    "prototypes, stride 8",
    "kernels, stride 8, size 1",
    "heat-maps, stride 8, size 1",
  ]
  lines = capsys.readouterr().out.splitlines()
  assert lines[1].split()[0] == CHANGED and lines[-1].startswith("NOT equal")
  assert main.main(["compare", run, path, "--tolerance", "10"]) == 0


def test_detectors_of_another_shape_are_not_equal(run, cfg, tmp_path, capsys):
  other = config.from_dict(json.loads(_text(cfg)))
  other.model.kernel_sizes = (3,)
  experiment = _config_file(tmp_path / "other.py", other)
  assert main.main(["parameters", "--config", experiment]) == 0
  detector = FewShotDetector(other.model, 48)
  batch = seeded_episode(48)
  variables = seeded_variables(lambda key: detector.init(key, batch, train=False))
  with contextlib.closing(CheckpointStore(tmp_path, keep=1)) as store:
    tx = optim.make_optimizer(other.optim, 2)
    store.save(0, state.init_state(variables, tx), config.to_dict(other))
  assert main.main(["compare", run, str(tmp_path)]) == 1
  found = capsys.readouterr().out
  assert "shape: weight_generator_list.0.weight_net_part1.0.0.weight" in found


class _Code:
  def __reduce__(self):
    return os.mkdir, ("executed",)


def _broken_files(exported):
  """Yields (name, content or change of the tensors, what the error says)."""
  whole = open(exported, "rb").read()
  name = "encoder.bn1.weight"
  return {
    "truncated.safetensors": (whole[: len(whole) // 2], "damaged"),
    "header.safetensors": (whole[:20], "damaged"),
    "noise.safetensors": (b"\xff" * 1000, "damaged"),
    "empty.safetensors": (b"", "damaged"),
    "nan.safetensors": (
      lambda t: t[name].__setitem__(0, np.nan),
      "not finite: " + name,
    ),
    "missing.safetensors": (lambda t: t.pop(name), "missing: " + name),
    "shape.safetensors": (lambda t: t.update({name: t[name][1:]}), "wrong shape: "),
    "code.pth": (pickle.dumps({name: _Code()}), "holds more than tensors"),
    "noise.pth": (b"\xff" * 1000, "damaged"),
    "nested.pth": ({"model": {}, "epoch": 3}, "not a plain state dict"),
    "list.pth": ([1, 2], "holds a list"),
    "truncated.pth": (None, "damaged"),
    "folder": ("", "ends in .safetensors or .pth"),
  }


@pytest.mark.parametrize(
  "name",
  ["truncated.safetensors", "header.safetensors", "noise.safetensors",
   "empty.safetensors", "nan.safetensors", "missing.safetensors", "shape.safetensors",
   "code.pth", "noise.pth", "nested.pth", "list.pth", "truncated.pth", "folder"],
)  # fmt: skip
def test_bad_files_give_one_error_and_change_nothing(
  exported, cfg, name, tmp_path, monkeypatch, capsys
):
  monkeypatch.chdir(tmp_path)
  content, message = _broken_files(exported)[name]
  if name.endswith(".pth"):
    torch = pytest.importorskip("torch", reason=".pth files need PyTorch")
    if content is None:
      torch.save({"weight": torch.ones(1000)}, name)
      content = open(name, "rb").read()[:2000]
    elif not isinstance(content, bytes):
      torch.save(content, name)
  if callable(content):
    os.rename(_altered(exported, tmp_path, content), name)
  elif isinstance(content, bytes):
    (tmp_path / name).write_bytes(content)
  written = _config_file(tmp_path / "experiment.py", cfg)
  before = sorted(os.listdir())
  command = ["import", "--from", name, "--config", written, "--workdir", "new"]
  assert main.main(command) == 2
  error = capsys.readouterr().err
  assert error.count("fskd: ") == 1 and name in error and message in error
  assert "Traceback" not in error
  assert sorted(set(os.listdir()) - {"__pycache__"}) == before


@pytest.mark.parametrize(
  "content, message",
  [
    (None, "no configuration file"),
    ("x = 1", "get_config"),
    ("def get_config():\n  return {}", "get_config"),
  ],
)
def test_bad_configuration_files(exported, content, message, tmp_path, capsys):
  path = tmp_path / "experiment.py"
  if content:
    path.write_text(content)
  workdir = str(tmp_path / "new")
  command = ["import", "--from", exported, "--config", str(path), "--workdir", workdir]
  assert main.main(command) == 2
  assert message in capsys.readouterr().err
  assert not os.path.exists(workdir)


@pytest.mark.slow
def test_parameters_are_the_paper_s(capsys):
  path = str(ROOT / "configs" / "lightweight.py")
  for sizes, total in ("1", "27.44 M"), ("1 3", "27.46 M"), ("1 3 5", "27.51 M"):
    command = ["parameters", "--config", path, "--kernel-sizes", *sizes.split()]
    assert main.main(command) == 0
    assert total in capsys.readouterr().out.splitlines()[-1]


def _documented_loader():
  """The block of docs/pytorch.md, with our inputs in the place of its blank ones."""
  text = (ROOT / "docs" / "pytorch.md").read_text()
  blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
  (block,) = [block for block in blocks if "export.deserialize" in block]
  inputs = "images, keypoints, visible, queries"
  ours = f"{inputs} = np.load('inputs.npz').values()\nkernels = encode"
  again = block[block.index("kernels = encode") :].replace("kernels = encode", ours)
  return (
    "import sys\nsys.modules['fskd_jax'] = sys.modules['flax'] = None\n"
    + block
    + again.replace("found =", "places['query_boxes'][..., 1] = 0.5\nfound =")
    + "np.savez('found.npz', **found)\n"
  )


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, Prior(strength=1.5, sigma=0.08)])
def test_stablehlo_runs_without_the_package(run, cfg, tmp_path, monkeypatch, prior):
  calibrated = dataclasses.replace(CALIBRATED, prior=prior)
  monkeypatch.setattr(calibration, "load", lambda path: calibrated)
  out = str(tmp_path / "detector.zip")
  command = ["export", "--workdir", run, "--format", "stablehlo", "--out"]
  assert main.main([*command, out[:-4]]) == 2
  assert main.main([*command, out, "--shots", "0"]) == 2
  assert os.listdir(tmp_path) == []
  assert main.main([*command, out, "--keypoints", "5"]) == 0
  with zipfile.ZipFile(out) as file:
    about = json.loads(file.read("about.json"))
  assert about["sizes"] == {"shots": 1, "queries": 1, "keypoints": 5}
  assert about["decoding"] == "mode"
  assert about["jax"] == jax.__version__
  assert stablehlo.read_stablehlo(out).about == about
  assert about["prior"] == (prior and dataclasses.asdict(prior))

  batch = seeded_episode(48)
  batch.support.visible[0, 0, 1] = False
  np.savez(
    tmp_path / "inputs.npz",
    images=batch.support.images,
    keypoints=batch.support.keypoints,
    visible=batch.support.visible,
    queries=batch.query.images,
  )
  subprocess.run([sys.executable, "-c", _documented_loader()], cwd=tmp_path, check=True)
  found = np.load(tmp_path / "found.npz")
  model, _ = load_run(run)
  detector = FewShotDetector(cfg.model, 48)
  apply = jax.jit(functools.partial(detector.apply, train=False))
  expected = fuse_heatmaps(apply(model.variables, batch).heatmaps)
  largest = np.abs(expected).max()
  np.testing.assert_allclose(found["heatmaps"], expected, atol=1e-5 * largest)
  encode = jax.jit(functools.partial(detector.apply, method="encode_support"))
  kernels = encode(model.variables, *batch.support[:3])
  places = Places(*batch.support[1:3], np.ones((1, 1, 2)), np.array([[[1.0, 0.5]]]))
  user, others = (
    load(run)._network._detect(model.variables, batch.query.images, kernels, *given)[0]
    for given in ([places], [])
  )
  np.testing.assert_allclose(found["keypoints"][0], user.keypoints, atol=1e-3)
  moved = np.abs(user.keypoints - others.keypoints).max()
  assert (moved > 0.1) == bool(prior)
