import io
import json
import logging
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing import event_file_loader

from fskd_jax.metrics import lines
from fskd_jax.pictures import curves
from fskd_jax.training import log
from fskd_jax.training import writer as training_writer


def _lines(workdir):
  text = (workdir / "metrics.jsonl").read_text()
  return [json.loads(line) for line in text.splitlines()]


def _events(workdir):
  for path in sorted(workdir.glob("events.out.tfevents.*")):
    yield from event_file_loader.LegacyEventFileLoader(str(path)).Load()


@pytest.mark.slow
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


DAMAGED = (
  b'{"step": 2, "train/l\xf3ss": 1}',  # a flipped bit
  b"null",
  b"7",
  b'"step"',
  b'["step"]',
  b"{}",
  b'{"step": null}',
  b'{"step": "2"}',
  b'{"step": true}',
  b'{"step": 2.5}',
  b'{"step": 2, "train/loss": "1"}',
  b'{"step": 2, "train/loss": [1]}',
  b'{"step": 2',
  b"",
  b"[" * 100_000,
  b'{"step": ' + b"9" * 10_000 + b"}",
)


@pytest.mark.slow
@pytest.mark.parametrize("damaged", DAMAGED, ids=lambda line: repr(line[:20]))
def test_a_damaged_line_costs_itself_alone(tmp_path, caplog, damaged):
  file = tmp_path / "metrics.jsonl"
  whole = b'{"step": 1, "train/loss": 0.1, "train/seconds": 2.5}\n'
  later = b'{"step": 3, "train/loss": null, "train/seconds": null}\n'
  file.write_bytes(whole + damaged + b"\n" + later)
  with caplog.at_level(logging.WARNING):
    assert lines.read(file) == [json.loads(whole), json.loads(later)]
  assert (
    "metrics.jsonl: 1 of 3 lines are damaged and left out, the first is line 2"
    in (caplog.text)
  )
  assert log.recorded_seconds(file) == 2.5
  curves.draw_curves({"run": file})
  with training_writer.MetricWriter(tmp_path, first_step=4) as writer:
    writer.scalars(4, {"train/loss": 0.5})
  fresh = b'{"step": 4, "train/loss": 0.5}\n'
  assert file.read_bytes() == whole + later + fresh


def test_whole_lines_are_read_without_a_word(tmp_path, caplog):
  with training_writer.MetricWriter(tmp_path) as writer:
    writer.scalars(1, {"train/loss": float("nan"), "train/seconds": 1 / 3})
  line = {"step": 1, "train/loss": None, "train/seconds": 1 / 3}
  with caplog.at_level(logging.WARNING):
    assert lines.read(tmp_path / "metrics.jsonl") == [line]
  assert not caplog.records


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


@pytest.mark.slow
def test_tensorflow_is_not_imported(tmp_path):
  code = (
    "import sys; from fskd_jax.training import writer as metric_writer\n"
    f"with metric_writer.MetricWriter({str(tmp_path)!r}) as writer:\n"
    "  writer.scalars(0, {'loss': 1})\n"
    "sys.exit('tensorflow' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
