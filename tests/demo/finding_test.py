"""The page finds what `fskd predict` finds with the labels that the page saved."""

import json

import numpy as np
import pytest
from helpers.demo_page import marked, point

from fskd_jax.cli import main
from fskd_jax.demo import marks
from fskd_jax.demo.finding import Finder
from fskd_jax.demo.gallery import Gallery
from fskd_jax.prediction.load import load

pytestmark = pytest.mark.slow


def test_points_are_those_of_the_command(trained, shapes_folder, tmp_path):
  gallery = Gallery(shapes_folder / "images")
  pictures = [*gallery.folder.values()]
  supports, queries = pictures[4:15:5], pictures[19:40:5]
  first = {"north": point(31.25, 12), "middle": point(30.125, 24.5)}
  second = {"middle": point(29, 22), "north": point(8, 7, sure=0.3)}
  content = marked(
    ("north", "middle"),
    {
      supports[0].key: (first, [10.0, 2.0, 40.5, 44.0]),
      supports[1].key: (second, None),  # the north there is a machine's: not a support
      queries[0].key: ({}, [8.25, 3.5, 42.75, 40.625]),
    },
  )
  read = marks.from_json(content, gallery)
  finder = Finder(load(trained[1]))
  found = finder.find(read, queries, False)
  assert found == finder.find(read, queries, False)

  labels, boxes = tmp_path / "labels.json", tmp_path / "boxes.json"
  marks.write(read, "coco", labels)
  boxes.write_text(json.dumps({queries[0].name: [8.25, 3.5, 42.75, 40.625]}))
  command = [
    *("predict", "--workdir", trained[1], "--keypoints", labels, "--boxes", boxes),
    *("--support", supports[0].source, supports[1].source, "--query"),
    *(query.source for query in queries),
    *("--out", tmp_path / "out"),
  ]
  assert main.main(list(map(str, command))) == 0
  written = json.loads((tmp_path / "out" / "predictions.json").read_text())
  for entry, one in zip(written["annotations"], found):
    triples = np.reshape(entry["keypoints"], (-1, 3))[:, :2]
    expected = [(p["x"], p["y"]) for p in one["points"].values()]
    np.testing.assert_allclose(triples, expected, atol=1e-4)
    sure = [p["sure"] for p in one["points"].values()]
    np.testing.assert_allclose(entry["confidences"], sure, atol=1e-4)

  whole = finder.find(read, queries, True)
  assert whole[0]["box"] == found[0]["box"]  # drawn: it stays
  assert whole[1]["box"] == [0, 0, *queries[1].size]
