"""`fskd plot` on a small TransPose: pictures of a run and of files, and refusals."""

import contextlib
import functools

import jax
import numpy as np
import pytest
from helpers.seeded_variables import seeded_variables
from PIL import Image

from fskd_jax import config
from fskd_jax.analysis.attention import pictures
from fskd_jax.cli import main, pose_source
from fskd_jax.config import (
  Config,
  DataConfig,
  LossConfig,
  ModelConfig,
  PoseConfig,
  TransformerConfig,
)
from fskd_jax.interop import state_dicts, weights
from fskd_jax.models.transpose import VARIANTS, TransPose, attention_maps
from fskd_jax.training import optim
from fskd_jax.training import state as train_state
from fskd_jax.training.checkpoint import CheckpointStore

pytestmark = pytest.mark.slow

SIZE = 32, 24
NAMES = "nose", "left eye", "tail"


def _config(position="sine", task="pose"):
  return Config(
    name="small",
    task=task,
    data=DataConfig(image_size=SIZE[0], image_width=SIZE[1], base=NAMES),
    model=ModelConfig(
      encoder="small",
      small_widths=(4, 4, 8),
      strides=(8,),
      freeze_until="",
      transformer=TransformerConfig(
        layers=2, width=8, hidden=16, heads=2, position=position
      ),
    ),
    loss=LossConfig(heatmap="cross_entropy"),
    pose=PoseConfig(decoding="argmax"),
  )


def _variables(cfg):
  model = TransPose(cfg.model, SIZE, len(NAMES))
  image = np.zeros((1, *SIZE, 3), np.float32)
  variables = seeded_variables(lambda key: model.init(key, image, train=False))
  variables["params"]["final"]["bias"] -= 50.0  # logits may all be negative
  return variables


def _save_run(cfg, workdir):
  state = train_state.init_state(_variables(cfg), optim.make_optimizer(cfg.optim, 2))
  with contextlib.closing(CheckpointStore(workdir, keep=1)) as store:
    store.save(7, state, config.to_dict(cfg))
  return str(workdir)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  return _save_run(_config(), tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
  path = tmp_path_factory.mktemp("photograph") / "photo.png"
  pixels = np.random.default_rng(0).integers(0, 256, (60, 50, 3), np.uint8)
  Image.fromarray(pixels).save(path)
  return str(path)


def _plot(kind, *arguments):
  return main.main(["plot", kind, *map(str, arguments)])


def test_maps_of_a_layer_and_a_head(run, photograph, tmp_path, monkeypatch, capsys):
  drawn, draw_maps = [], pictures.draw_maps
  record = lambda *args, **options: drawn.append(args) or draw_maps(*args, **options)
  monkeypatch.setattr(pictures, "draw_maps", record)
  common = ["--workdir", run, "--image", photograph, "--box", 5, 5, 30, 40]
  shown = {}
  for name, options in {
    "last": [],
    "same": ["--layer", 1, "--relative-threshold", 0.00075 * 12],
    "other": ["--layer", 0, "--head", 1],
  }.items():
    out = tmp_path / f"{name}.png"
    assert _plot("dependency", *common, *options, "--out", out) == 0
    assert str(out) in capsys.readouterr().out
    pixels = np.asarray(Image.open(out))
    shown[name] = pixels[pixels.shape[0] // 5 :]  # below the heading
  assert (shown["last"] == shown["same"]).all()
  assert (shown["last"] != shown["other"]).any()

  crop, maps, points, names = drawn[0]
  cfg = _config()
  model = TransPose(cfg.model, SIZE, len(NAMES))
  explain = jax.jit(functools.partial(attention_maps, model))
  heatmaps, weights = jax.device_get(explain(_variables(cfg), crop[None]))
  assert names == NAMES and maps.shape == (3, *SIZE)
  for point, pixels, heatmap in zip(points, maps, heatmaps[0]):
    row, column = np.unravel_index(heatmap.argmax(), heatmap.shape)
    np.testing.assert_allclose(point, (4 * column + 1.5, 4 * row + 1.5))
    token = (row // 2) * 3 + column // 2
    cells = weights[-1, 0, :, token].mean(0).reshape(4, 3)
    np.testing.assert_allclose(pixels[:4, :4], cells[0, 0], rtol=1e-4)  # the corner
    np.testing.assert_allclose(pixels[-4:, -4:], cells[-1, -1], rtol=1e-4)


def test_sheet_and_gradients(run, photograph, tmp_path, capsys, monkeypatch):
  drawn, draw = [], pictures.draw_sheet

  def spy(*args, **options):
    drawn.append(args)
    return draw(*args, **options)

  monkeypatch.setattr(pictures, "draw_sheet", spy)
  source = ["--workdir", run, "--image", photograph]
  out = tmp_path / "sheet.svg"
  assert _plot("sheet", *source, "--map", "affected", "--out", out) == 0
  assert "<svg" in out.read_text()
  ((_, maps, points, names, predicted),) = drawn
  assert list(names) == [*NAMES, "random", "random"] and predicted == len(NAMES)
  assert maps.shape[1] == len(points) == len(names)
  assert (points[predicted:] >= 0).all() and (points[predicted:] <= SIZE[::-1]).all()
  out = tmp_path / "gradients.jpg"
  capsys.readouterr()
  assert _plot("gradients", *source, "--keypoint", "tail", "--out", out) == 0
  table = capsys.readouterr().out.splitlines()
  assert Image.open(out).format == "JPEG"
  assert [line[:8].strip() for line in table[3:7]] == [*NAMES, "mean"]
  rows = np.array([line[8:].split() for line in table[3:7]], float)
  assert rows.shape == (4, 8)
  np.testing.assert_allclose(rows[:3].mean(0), rows[3], rtol=0.06, atol=1e-4)
  assert (abs(rows[:, [0, 1, 3, 4, 6, 7]]) <= 1).all() and (rows[:, [2, 5]] > 0).all()
  assert (rows[:, 2] < rows[:, 5]).all()  # the closed form is the better one


def test_position_similarity_of_files(tmp_path, monkeypatch, capsys):
  cfg = _config("learnable")
  tensors = state_dicts.state_dict(_variables(cfg), cfg)
  file, out = tmp_path / "model.safetensors", tmp_path / "out.png"
  weights.write_weights(file, tensors, {})
  source = ["--weights", file, "--out", out]
  assert _plot("position-similarity", *source) == 2
  assert "name its --variant" in capsys.readouterr().err
  monkeypatch.setitem(VARIANTS, "tp_r_a3", cfg.model)
  monkeypatch.setattr(pose_source, "PUBLISHED_SIZE", SIZE)
  source += ["--variant", "tp_r_a3"]
  assert _plot("position-similarity", *source) == 2
  assert "wrong shape: final_layer.weight (3, 8, 1, 1)" in capsys.readouterr().err
  assert _plot("position-similarity", *source, "--keypoints", 3) == 0
  assert Image.open(out).format == "PNG"


def test_no_position_embedding_no_picture(tmp_path, capsys):
  workdir = _save_run(_config("none"), tmp_path / "run")
  out = tmp_path / "out.png"
  assert _plot("position-similarity", "--workdir", workdir, "--out", out) == 2
  assert "no position embedding" in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
  "options, message",
  [
    (["--layer", 2], "--layer 2: the model has the layers 0..1"),
    (["--head", 2], "--head 2: the model has the heads 0..1"),
    (["--box", 5, 5, 46, 40], "--box 5 5 46 40: must lie in"),
    (["--box", 5, 5, 0, 40], "--box 5 5 0 40: must lie in"),
    (["--image", "nowhere.jpg"], "there is no file nowhere.jpg"),
    (["--workdir", "nowhere"], "nowhere is no workdir"),
  ],
)
def test_refusals(run, photograph, tmp_path, options, message, capsys):
  common = ["--workdir", run, "--image", photograph, "--out", tmp_path / "out.png"]
  assert _plot("dependency", *common, *options) == 2
  assert message in capsys.readouterr().err
  assert not list(tmp_path.iterdir())
