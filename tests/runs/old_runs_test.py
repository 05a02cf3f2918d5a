"""What version 0.1.0 wrote still loads, and predicts what it predicted then."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import orbax.checkpoint
import pytest
from helpers import shapes

import fskd_jax
from fskd_jax import config, experiment
from fskd_jax.training.runs import load_run

WRITTEN_BY_0_1_0 = pathlib.Path(__file__).parents[1] / "fixtures" / "v0_1_0"
"""A run of `shapes.config` with 40 steps, and its export. Both were asked for all
keypoints that image 0 shows, in the annotated boxes of images 5 and 10."""

CHECKPOINT = WRITTEN_BY_0_1_0 / "run" / "checkpoints" / "40"

NAMES = ("north", "south", "west", "middle")
KEYPOINTS = [
  [
    [26.79715582, 19.74092358],
    [40.00104612, 42.3157145],
    [37.23450835, 35.22422928],
    [37.23149611, 14.5836809],
  ],
  [
    [34.58687302, 34.07516217],
    [32.11414191, 38.41796385],
    [32.82869796, 33.65477303],
    [33.31168091, 33.82846103],
  ],
]


@pytest.mark.parametrize("source", ("run", "detector.safetensors"))
def test_a_detector_of_0_1_0_predicts_as_it_did(source, shapes_folder):
  annotations = json.loads((shapes_folder / "annotations.json").read_text())
  triples = np.reshape(annotations["annotations"][0]["keypoints"], (-1, 3))
  shown = {
    name: (x, y)
    for name, (x, y, flag) in zip(annotations["categories"][0]["keypoints"], triples)
    if flag
  }
  images = shapes_folder / "images"
  detector = fskd_jax.load(WRITTEN_BY_0_1_0 / source)
  found = detector.predict(
    detector.support([images / "000.png"], [shown]),
    [images / "005.png", images / "010.png"],
    boxes=[annotations["annotations"][i]["bbox"] for i in (5, 10)],
  )
  assert found.names == NAMES
  np.testing.assert_allclose(found.keypoints, KEYPOINTS, atol=1e-3)


def test_a_run_of_0_1_0_is_taken_up_again(shapes_folder, tmp_path):
  shutil.copytree(WRITTEN_BY_0_1_0 / "run", tmp_path / "run")
  model, step = load_run(tmp_path / "run")
  assert step == 40
  cfg = config.from_dict(config.to_dict(model.config))
  cfg.data = dataclasses.replace(cfg.data, path=str(shapes_folder))
  assert cfg.data.base == shapes.config(shapes_folder).data.base
  state = jax.device_get(experiment.train(cfg, tmp_path / "run"))
  assert int(state.step) == cfg.train.steps == 40
  jax.tree.map(np.testing.assert_array_equal, state.params, model.variables["params"])


def test_the_loader_of_orbax_v1_restores_what_v0_wrote():
  v1 = getattr(orbax.checkpoint, "v1", None)
  if v1 is None:
    pytest.skip("this Orbax has no v1")
  found = v1.load_checkpointables(CHECKPOINT)
  expected = load_run(WRITTEN_BY_0_1_0 / "run")[0].variables
  for part in ("params", "batch_stats"):
    shapes.assert_identical(found["model"][part], expected[part])
  assert found["optimizer"]["leaves"] and found["about"]["config"]["name"] == "shapes"
