"""Files of weights that are damaged or hold what NumPy does not have."""

import json
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from fskd_jax.few_shot import calibration
from fskd_jax.interop import weights


def _safetensors(path, header, body=b""):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  path.write_bytes(struct.pack("<Q", len(text)) + text + body)
  return path


def _of_type(path, kind, body):
  entry = {"dtype": kind, "shape": [2], "data_offsets": [0, len(body)]}
  return _safetensors(path, {"a": entry}, body)


def test_bfloat16_becomes_float32(tmp_path):
  path = _of_type(tmp_path / "a.safetensors", "BF16", b"\x80\x3f\x20\xc0")
  (found,) = weights.read_weights(path).values()
  assert found.dtype == np.float32 and found.tolist() == [1.0, -2.5]


@pytest.mark.parametrize("kind, size", [("F8_E4M3", 1), ("F8_E5M2", 1), ("C64", 8)])
def test_other_types_are_named(kind, size, tmp_path):
  path = _of_type(tmp_path / "a.safetensors", kind, bytes(2 * size))
  with pytest.raises(ValueError, match=rf"{path}: .*not read: a \({kind}\)"):
    weights.read_weights(path)


@pytest.mark.parametrize(
  "config",
  ["[" * 100_000, '{"data":' * 1000, "5", "null", "[1]", '{"train": 3}', "\ud800", ""]
  + ['{"train": {"log_every": 0}}', '{"train": {"steps": 1' + "0" * 400 + "}}"],
)
def test_configurations_that_cannot_be_read(config, tmp_path):
  header = {"__metadata__": {"config": config}}
  path = _safetensors(tmp_path / "a.safetensors", header)
  with pytest.raises(ValueError, match=str(path)):
    weights.read_config(path)


@pytest.mark.parametrize(
  "change", [{"offset": "1"}, {"step": None}, {"peak_slope": 1e999}]
)
def test_calibrations_that_cannot_be_read(change, tmp_path):
  values = dict(mass_slope=1.0, peak_slope=2.0, offset=0.0, covariance_scale=1.0)
  values |= dict(split="val", shots=1, keypoints=9, step=3)
  path = tmp_path / "a.safetensors"
  _safetensors(path, {"__metadata__": {"calibration": json.dumps(values)}})
  assert calibration.load_file(path) == calibration.Calibration(**values)
  text = json.dumps(values | change)
  _safetensors(path, {"__metadata__": {"calibration": text}})
  with pytest.raises(ValueError, match=f"{path}: its calibration"):
    calibration.load_file(path)
  (tmp_path / "calibration.json").write_text(f'{{"calibration": {text}}}')
  with pytest.raises(ValueError, match="is damaged"):
    calibration.load(tmp_path)


@pytest.fixture
def torch():
  return pytest.importorskip("torch", reason=".pth files need PyTorch")


def test_parameters_are_tensors(torch, tmp_path):
  saved = {
    "a": torch.nn.Parameter(torch.tensor([1.0, 2.0])),
    "b": torch.ones(3, dtype=torch.bfloat16, requires_grad=True),
    "c": torch.arange(2).expand(3, 2),
  }
  torch.save(saved, tmp_path / "w.pth")
  found = weights.read_weights(tmp_path / "w.pth")
  assert found["a"].tolist() == [1, 2] and found["b"].dtype == np.float32
  assert found["c"].tolist() == [[0, 1]] * 3


TENSORS = {
  "sparse": lambda torch: torch.eye(3).to_sparse(),
  "quantized": lambda torch: torch.quantize_per_tensor(
    torch.ones(3), 0.1, 0, torch.qint8
  ),
  "meta tensor": lambda torch: torch.ones(3, device="meta"),
  "complex": lambda torch: torch.ones(3, dtype=torch.complex64),
  "more than the file holds": lambda torch: torch.ones(1).expand(10**6, 10**6),
}


@pytest.mark.parametrize("kind", TENSORS)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_numpy_does_not_have_are_named(kind, torch, tmp_path):
  path = tmp_path / "w.pth"
  torch.save({"good": torch.ones(2), "bad": TENSORS[kind](torch)}, path)
  with pytest.raises(ValueError, match=f"{path}: .*: bad is .*{kind}") as error:
    weights.read_weights(path)
  assert "\n" not in str(error.value) and "good" not in str(error.value)


def test_a_compressed_file_is_not_unpacked(torch, tmp_path):
  plain, path = tmp_path / "plain.pth", tmp_path / "w.pth"
  torch.save({"a": torch.zeros(10**6)}, plain)
  with zipfile.ZipFile(plain) as source:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
      for name in source.namelist():
        target.writestr(name, source.read(name))
  assert path.stat().st_size < plain.stat().st_size / 100
  with pytest.raises(ValueError, match=f"{path} is compressed"):
    weights.read_weights(path)


def test_every_flipped_byte_is_noticed_or_changes_nothing(tmp_path):
  path = tmp_path / "a.safetensors"
  tensors = {"b": np.arange(4, dtype=np.float32), "a": np.array(7, np.int64)}
  tensors["c"] = tensors["b"].astype(ml_dtypes.bfloat16)
  weights.write_weights(path, tensors, {"calibration": "1 2 3", "config": "{}"})
  whole = path.read_bytes()
  expected = weights.read_metadata(path), weights.read_weights(path)
  assert expected[0] == {"calibration": "1 2 3", "config": "{}"}
  noticed = 0
  for place in range(len(whole)):
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    try:
      found = weights.read_metadata(path), weights.read_weights(path)
    except ValueError as error:
      assert str(path) in str(error)
      noticed += 1
      continue
    assert {k: v for k, v in found[0].items() if k in expected[0]} == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name, x in expected[1].items():
      assert np.array_equal(found[1][name], x)
  assert noticed > 0.8 * len(whole)


def test_a_flipped_byte_of_a_pth_is_noticed(tmp_path):
  torch = pytest.importorskip("torch")
  path = tmp_path / "a.pth"
  torch.save({"w": torch.arange(64.0)}, path)
  whole = path.read_bytes()
  place = whole.index(np.arange(64, dtype=np.float32).tobytes()) + 100
  path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
  with pytest.raises(ValueError, match=f"{path} is damaged: the checksum of its part"):
    weights.read_weights(path)
