"""The configuration of one's own images: derived from a folder, ready to train."""

import json
import pathlib

import pytest

from fskd_jax import config
from fskd_jax.data.feed import Feed
from fskd_jax.few_shot.pools import evaluation_sampler, training_sampler

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture
def get_config(monkeypatch):
  monkeypatch.syspath_prepend(ROOT)
  from configs import own_images

  return own_images.get_config


@pytest.mark.parametrize(
  "images, shots, queries", [(12, 1, 1), (20, 3, 1), (30, 5, 1), (40, 5, 3)]
)
def test_few_images_are_enough(
  get_config, shapes_folder, tmp_path, images, shots, queries
):
  """Every name is trained on, and every sampler has what its episodes need."""
  content = json.loads((shapes_folder / "annotations.json").read_text())
  names = content["categories"][0]["keypoints"]
  content["categories"] = [{"id": 0, "name": "shape", "keypoints": names}]
  content["images"] = content["images"][:images]
  content["annotations"] = content["annotations"][:images]
  for entry in content["annotations"]:
    entry["category_id"] = 0
  folder = tmp_path / "own"
  folder.mkdir()
  (folder / "images").symlink_to(shapes_folder / "images")
  (folder / "annotations.json").write_text(json.dumps(content))
  cfg = get_config(str(folder))
  config.validate(cfg)
  assert cfg.data.base == tuple(names)
  assert (cfg.eval.shots, cfg.eval.queries) == (shots, queries)
  feed = Feed.open(cfg.data)
  assert len(feed.splits.validation) == round(0.2 * images)
  assert len(feed.splits.train) == images - len(feed.splits.validation)
  training_sampler(feed, cfg.train).plan(0)
  (setting,) = cfg.eval.settings
  evaluation_sampler(feed, setting, cfg.eval).plan(0)


def test_a_folder_that_is_not_there_is_named(get_config):
  with pytest.raises(FileNotFoundError, match="nowhere"):
    get_config("nowhere")
