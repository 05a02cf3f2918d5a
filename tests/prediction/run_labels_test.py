"""Without another support, the labels that a run was trained on are the support."""

import json

import numpy as np
import pytest
from helpers import shapes
from PIL import Image

from fskd_jax.config import DataConfig, SourceConfig
from fskd_jax.few_shot import recipe
from fskd_jax.prediction import run_labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return shapes.write_folder(tmp_path_factory.mktemp("labels"), images_per_species=3)


@pytest.mark.parametrize("is_adapted", [False, True])
def test_every_labelled_object_is_a_support(folder, is_adapted):
  data = DataConfig(name="coco_keypoints", path=str(folder))
  if is_adapted:
    data = DataConfig(mixture=(SourceConfig(name=recipe.LABELS, data=data),))
  found = run_labels.supports(data)
  content = json.loads((folder / "annotations.json").read_text())
  assert len(found) == len(content["annotations"])
  for annotated, entry in zip(found, content["annotations"]):
    triples = np.reshape(entry["keypoints"], (-1, 3))
    for point, (x, y, seen) in zip(annotated.marked.keypoints.values(), triples):
      assert (point is not None) == bool(seen)
      assert point is None or np.allclose(point, (x, y), atol=1e-3)
    np.testing.assert_allclose(annotated.marked.box, entry["bbox"], atol=1e-3)
    picture = np.asarray(Image.open(folder / "images" / annotated.path))
    np.testing.assert_array_equal(annotated.image.pixels, picture)


def test_of_many_some_are_taken_from_all_parts(folder, monkeypatch):
  monkeypatch.setattr(run_labels, "MOST", 4)
  data = DataConfig(name="coco_keypoints", path=str(folder))
  names = [annotated.path.name for annotated in run_labels.supports(data)]
  assert names == ["000.png", "005.png", "009.png", "014.png"]


def test_labels_that_were_moved_are_asked_for(tmp_path):
  gone = DataConfig(name="coco_keypoints", path=str(tmp_path / "gone"))
  with pytest.raises(FileNotFoundError, match="gone: give --support and --keypoints"):
    run_labels.supports(gone)


def test_a_run_of_other_data_has_none():
  with pytest.raises(ValueError, match="give --support and --keypoints"):
    run_labels.supports(DataConfig(name="synthetic"))
