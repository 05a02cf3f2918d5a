"""Official state dicts of TransPose: names, layouts, round trips, refusals."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from benchmarks.parity.cases import seeded_weights
from fskd_jax import config as configuration
from fskd_jax.config import Config, DataConfig, ModelConfig, TransformerConfig
from fskd_jax.interop import pretrained, state_dicts, torch, transpose, weights
from fskd_jax.interop.compare import compare
from fskd_jax.models import hrnet
from fskd_jax.models.build import Model
from fskd_jax.models.transpose import VARIANTS

SIZE = (256, 192)
TINY = ModelConfig(
  strides=(8,),
  resnet_blocks=(1, 1),
  transformer=TransformerConfig(layers=1, width=8, hidden=12, heads=2),
  freeze_until="",
)


def _shapes(config, size=SIZE, num_keypoints=17, full=False):
  """Returns what a state dict holds; counters only if it is to be `full`."""
  table = transpose.transpose_table(config, size, num_keypoints)
  shapes = {entry.name: entry.torch_shape for entry in table}
  sine = transpose.sine_tensor(config, size)
  shapes |= {name: x.shape for name, x in sine.items()}
  if full:
    running = [name for name in shapes if name.endswith("running_var")]
    shapes |= {
      name.replace("running_var", "num_batches_tracked"): () for name in running
    }
  return shapes


def _tensors(config, size=SIZE, num_keypoints=17):
  drawn = seeded_weights(_shapes(config, size, num_keypoints, full=True))
  return drawn | transpose.sine_tensor(config, size)


def _with(config, **options):
  transformer = dataclasses.replace(config.transformer, **options)
  return dataclasses.replace(config, transformer=transformer)


@pytest.mark.slow
@pytest.mark.parametrize("family", "rh")
def test_names_and_shapes_are_the_official_codes(golden_transpose, family):
  expected = json.loads(str(golden_transpose[family]["key_shapes"]))
  found = _shapes(VARIANTS[f"tp_{family}_a4"], full=True)
  assert {name: list(shape) for name, shape in found.items()} == expected


@pytest.mark.slow
@pytest.mark.parametrize(
  "variant, keys",
  [("tp_r_a3", 190), ("tp_r_a4", 202), ("tp_h_s", 982), ("tp_h_a4", 982),
   ("tp_h_a6", 1006)],
)  # fmt: skip
def test_number_of_tensors(variant, keys):
  """Counts of docs/transpose.md#names; a narrow convolution of HRNet by its name."""
  config = VARIANTS[variant]
  shapes = _shapes(config, full=True)
  assert len(shapes) == keys
  if config.encoder == "hrnet":
    c = config.hrnet_width
    assert shapes["stage3.2.fuse_layers.2.0.1.0.weight"] == (4 * c, c, 3, 3)
    assert shapes["stage3.3.fuse_layers.0.2.0.weight"] == (c, 4 * c, 1, 1)
    assert "stage3.3.fuse_layers.1.0.0.0.weight" not in shapes


@pytest.mark.parametrize("variant", ["tp_r_a3", "tp_h_s"])
def test_round_trip_is_the_identity(variant, monkeypatch):
  monkeypatch.setattr(hrnet, "NUM_BLOCKS", 1)
  config = VARIANTS[variant]
  original = _tensors(config)
  parallel = {f"module.{name}": x for name, x in original.items()}
  variables = transpose.load_state_dict(parallel, config, SIZE, 17)
  exported = transpose.state_dict(variables, config, SIZE, 17)
  assert exported.keys() == original.keys()
  for name, value in original.items():
    assert exported[name].dtype == value.dtype
    np.testing.assert_array_equal(exported[name], value, err_msg=name)


@pytest.mark.slow
def test_positions_that_are_learned_or_absent():
  learnable, none = (_with(TINY, position=kind) for kind in ("learnable", "none"))
  assert _shapes(learnable, (32, 24))["pos_embedding"] == (12, 1, 8)
  tensors = _tensors(learnable, (32, 24))
  variables = transpose.load_state_dict(tensors, learnable, (32, 24), 17)
  found = variables["params"]["encoder"]["transformer"]["position"]
  np.testing.assert_array_equal(found, tensors["pos_embedding"][:, 0])
  assert "pos_embedding" not in _shapes(none)
  with pytest.raises(ValueError, match=r"unexpected: pos_embedding \(12, 1, 8\)"):
    transpose.load_state_dict(tensors, none, (32, 24), 17)


def test_sine_embeddings_are_looked_at():
  tensors = _tensors(TINY, (32, 24))
  # Of another grid it is the formula's as well, and computed anew for this one.
  transpose.load_state_dict(tensors, TINY, (64, 32), 17)
  zero_based = np.roll(tensors["pos_embedding"], 1, 0)
  for wrong, message in (
    (zero_based, r"pos_embedding \(12, 1, 8\) is not the sine embedding"),
    (tensors["pos_embedding"][..., :4], "is not the sine embedding"),
    (None, "missing: pos_embedding"),
  ):
    changed = tensors | {"pos_embedding": wrong}
    if wrong is None:
      del changed["pos_embedding"]
    with pytest.raises(ValueError, match=message):
      transpose.load_state_dict(changed, TINY, (32, 24), 17)


@pytest.mark.slow
def test_encoders_of_the_detector_keep_their_official_names():
  original = _shapes(TINY, (32, 32))
  head = ("final_layer", "deconv_layers")
  expected = {f"encoder.{name}" for name in original if not name.startswith(head)}
  for config in (TINY, _with(TINY, position="learnable")):
    tensors = {entry.name: entry.torch_shape for entry in torch.detector_table(config)}
    tensors = seeded_weights(tensors)
    tensors |= transpose.sine_tensor(config, (32, 32), "encoder.")
    assert {name for name in tensors if name.startswith("encoder")} == expected
    variables = torch.load_state_dict(tensors, config, 32)
    exported = torch.state_dict(variables, config, 32)
    for name, value in tensors.items():
      np.testing.assert_array_equal(exported[name], value, err_msg=name)


def _pose(model=TINY, num_keypoints=3):
  names = tuple(f"p{i}" for i in range(num_keypoints))
  data = DataConfig(image_size=32, image_width=16, base=names)
  return Config(task="pose", data=data, model=model)


def _variables(cfg):
  size = configuration.crop_size(cfg.data)
  tensors = _tensors(cfg.model, size, len(cfg.data.base))
  return state_dicts.load_state_dict(tensors, cfg)


@pytest.mark.slow
def test_stages_of_two_models_are_compared():
  cfg = _pose()
  variables = _variables(cfg)
  other = jax.tree.map(np.copy, variables)
  other["params"]["encoder"]["reduce"]["kernel"] *= 1.5
  found = compare(Model(cfg, variables), Model(cfg, other))
  assert found.unmatched == []
  assert [row.name for row in found.parameters if row.max_abs] == ["reduce.weight"]
  assert [(row.name, row.max_abs > 0) for row in found.stages] == [
    ("encoder stem", False),
    ("encoder layer1", False),
    ("encoder layer2", False),
    ("encoder tokens", True),
    ("encoder attention  1", True),
    ("encoder map, stride 8", True),
    ("heat-maps", True),
  ]


def test_a_training_checkpoint_of_pytorch_is_read(tmp_path):
  pytorch = pytest.importorskip("torch", reason=".pth files need PyTorch")
  tensors = _tensors(TINY, (32, 24), 3)
  named = {f"module.{name}": pytorch.tensor(x) for name, x in tensors.items()}
  path = tmp_path / "checkpoint.pth"
  pytorch.save({"epoch": 3, "perf": 0.5, "state_dict": named}, path)
  loaded = state_dicts.load_state_dict(weights.read_weights(path), _pose())
  jax.tree.map(np.testing.assert_array_equal, loaded, _variables(_pose()))


def test_fine_tuning_starts_from_another_number_of_keypoints(tmp_path, caplog):
  tensors = _tensors(TINY, (64, 64), 17)
  path = tmp_path / "other.safetensors"
  weights.write_weights(path, tensors, {})
  blank = jax.tree.map(np.zeros_like, _variables(_pose()))
  with caplog.at_level("INFO", logger="fskd_jax"):
    found = pretrained.pretrained_variables(blank, path, TINY)
  assert "not used: final_layer.bias, final_layer.weight" in caplog.text
  assert not found["params"]["final"]["kernel"].any()
  exported = state_dicts.state_dict(found, _pose())
  for name, value in tensors.items():
    if not name.startswith(("final_layer", "pos_embedding")):
      np.testing.assert_array_equal(exported[name], value, err_msg=name)

  with pytest.raises(ValueError, match=r"other.safetensors: .* does not fit"):
    pretrained.pretrained_variables(
      blank, path, dataclasses.replace(TINY, encoder="hrnet")
    )


@pytest.mark.parametrize("encoder", ["resnet50", "hrnet"])
def test_backbones_start_from_classifiers(encoder, monkeypatch):
  monkeypatch.setattr(hrnet, "NUM_BLOCKS", 1)
  model = {"resnet50": TINY, "hrnet": _with(VARIANTS["tp_h_s"], layers=1)}[encoder]
  expected = _variables(_pose(model))
  # A classifier has the same names, without attention and with more behind.
  tensors = state_dicts.state_dict(expected, _pose(model))
  others = ("pos_", "reduce", "global_encoder", "deconv_layers", "final_layer")
  tensors = {name: x for name, x in tensors.items() if not name.startswith(others)}
  more = {
    "resnet50": ("layer1.1.conv1.weight", "layer4.0.bn1.bias", "fc.bias"),
    "hrnet": ("stage4.0.branches.0.0.bn1.bias", "stage3.3.fuse_layers.1.0.0.0.weight",
              "classifier.bias"),
  }[encoder]  # fmt: skip
  extra = {name: np.zeros(1, np.float32) for name in more}
  blank = jax.tree.map(np.zeros_like, expected)
  found, unused = pretrained.load_pretrained(tensors | extra, blank, model)
  assert sorted(unused) == sorted(more)
  for name in expected:
    backbones = (part[name]["encoder"]["backbone"] for part in (found, expected))
    jax.tree.map(np.testing.assert_array_equal, *backbones)
    if name == "params":
      assert not any(map(np.any, jax.tree.leaves(found[name]["encoder"]["reduce"])))
  with pytest.raises(ValueError, match="unexpected: head.bias"):
    pretrained.load_pretrained(tensors | {"head.bias": np.zeros(1)}, blank, model)
