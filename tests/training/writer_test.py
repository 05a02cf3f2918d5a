import io
import json
import subprocess
import sys

import numpy as np
from PIL import Image
from tensorboard.backend.event_processing import event_file_loader

from fskd_jax.training import writer as training_writer


def _lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def _events(workdir):
  for path in sorted(workdir.glob("events.out.tfevents.*")):
    yield from event_file_loader.LegacyEventFileLoader(str(path)).Load()


def test_scalars_go_to_both_files_at_once(tmp_path):
  writer = training_writer.MetricWriter(tmp_path / "run")
  writer.scalars(3, {"train/loss": np.float32(0.5), "train/pck": 1})
  assert _lines(tmp_path / "run") == [{"step": 3, "train/loss": 0.5, "train/pck": 1.0}]
  writer.close()
  values = {
    value.tag: (event.step, value.simple_value)
    for event in _events(tmp_path / "run")
    for value in event.summary.value
  }
  assert values == {"train/loss": (3, 0.5), "train/pck": (3, 1.0)}


def test_a_resumed_run_writes_no_step_twice(tmp_path):
  with training_writer.MetricWriter(tmp_path) as writer:
    for step in range(1, 6):
      writer.scalars(step, {"loss": step})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"step": 6, "lo')  # the machine went down here
  with training_writer.MetricWriter(tmp_path, first_step=4) as writer:
    for step in range(4, 8):
      writer.scalars(step, {"loss": -step})
  assert [line["step"] for line in _lines(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
  assert [line["loss"] for line in _lines(tmp_path)] == [1, 2, 3, -4, -5, -6, -7]
  starts = [e.step for e in _events(tmp_path) if e.HasField("session_log")]
  assert starts == [0, 4]  # TensorBoard hides older events from step 4 on


def test_lines_are_valid_json_whatever_the_value(tmp_path):
  with training_writer.MetricWriter(tmp_path) as writer:
    writer.scalars(0, {"loss": float("nan"), "norm": float("inf")})
  assert _lines(tmp_path) == [{"step": 0, "loss": None, "norm": None}]


def test_images_come_back(tmp_path):
  pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
  with training_writer.MetricWriter(tmp_path) as writer:
    writer.image(2, "predictions", pixels)
  (value,) = (v for event in _events(tmp_path) for v in event.summary.value)
  assert (value.tag, value.image.height, value.image.width) == ("predictions", 5, 7)
  decoded = Image.open(io.BytesIO(value.image.encoded_image_string))
  np.testing.assert_array_equal(decoded, pixels)


def test_other_processes_are_silent(tmp_path, monkeypatch):
  monkeypatch.setattr(training_writer.jax, "process_index", lambda: 1)
  with training_writer.MetricWriter(tmp_path / "run") as writer:
    writer.scalars(0, {"loss": 1.0})
    writer.image(0, "x", np.zeros((2, 2, 3), np.uint8))
  assert not (tmp_path / "run").exists()


def test_tensorflow_is_not_imported(tmp_path):
  code = (
    "import sys; from fskd_jax.training import writer as metric_writer\n"
    f"with metric_writer.MetricWriter({str(tmp_path)!r}) as writer:\n"
    "  writer.scalars(0, {'loss': 1})\n"
    "sys.exit('tensorflow' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
