import functools
import io
import itertools
import threading

import jax
import numpy as np
import pytest
from PIL import Image, ImageFilter

from fskd_jax import episode, geometry
from fskd_jax.config import DataConfig
from fskd_jax.data import images, pipeline, plans, resident
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.device import store as image_store
from fskd_jax.episode import BORDER_COLOR
from fskd_jax.few_shot import pools
from fskd_jax.few_shot.sampler import EpisodeSampler

SIDE = 32
SIZES = [(33, 47), (90, 64), (151, 110), (300, 221)]


def _encode(pixels: np.ndarray, kind: str) -> bytes:
  file = io.BytesIO()
  Image.fromarray(pixels).save(
    file, kind, **({"quality": 95} if kind == "JPEG" else {})
  )
  return file.getvalue()


def _dataset(
  pixels: list[np.ndarray], points: list, kinds: list[str]
) -> KeypointDataset:
  data = [_encode(image, kind) for image, kind in zip(pixels, kinds)]
  instances = []
  for number, (image, keypoint) in enumerate(zip(pixels, points)):
    height, width, _ = image.shape
    instances.append(
      Instance(
        instance_id=number,
        image=number,
        image_size=(width, height),
        species="cat",
        box=(width * 0.1, height * 0.2, width * 0.7, height * 0.6),
        keypoints=np.float32([keypoint]),
        visible=np.ones(1, bool),
      )
    )
  return KeypointDataset(
    name="photographs",
    keypoint_names=("nose",),
    skeleton=(),
    species=("cat",),
    instances=tuple(instances),
    image_names=tuple(f"{i}.{kind.lower()}" for i, kind in enumerate(kinds)),
    read_image=data.__getitem__,
  )


@pytest.fixture(scope="module")
def photographs_in_memory() -> KeypointDataset:
  rng = np.random.default_rng(0)
  pixels = [
    np.asarray(
      Image.fromarray(rng.integers(0, 255, (h, w, 3), np.uint8)).filter(
        ImageFilter.GaussianBlur(1)
      )
    )
    for w, h in SIZES * 2
  ]
  points = [(w / 2, h / 2) for w, h in SIZES * 2]
  return _dataset(pixels, points, ["JPEG"] * 4 + ["PNG"] * 4)


@pytest.fixture(scope="module")
def dots() -> KeypointDataset:
  """A white Gaussian dot on black; its centre is the keypoint."""
  rng = np.random.default_rng(1)
  pixels, points = [], []
  for w, h in [(60, 45), (100, 150), (200, 160), (90, 40), (400, 300), (50, 50)]:
    x, y = rng.uniform(0.4, 0.6, 2) * [w, h]
    sigma = min(w, h) * 0.06
    rows, columns = np.mgrid[:h, :w]
    dot = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    pixels.append(np.repeat(np.uint8(np.round(255 * dot))[..., None], 3, axis=2))
    points.append((x, y))
  return _dataset(pixels, points, ["PNG", "JPEG"] * 3)


def _sampler(dataset: KeypointDataset, **fields) -> EpisodeSampler:
  return pools.make_sampler(
    dataset.instances,
    types=np.zeros(1, np.int32),
    auxiliary=None,
    shots=1,
    queries=3,
    num_slots=2,
    permutation=np.zeros(1, np.int32),
    cfg=DataConfig(
      image_size=SIDE,
      min_support_types=1,
      min_query_types=1,
      min_query_fraction=0.1,
      rotation_probability=0.7,
      rotation_degrees=40.0,
      **fields,
    ),  # fmt: skip
    seed=0,
    training=True,
  )


materialize = jax.jit(functools.partial(image_store.materialize, size=(SIDE, SIDE)))


def _resident_batches(dataset, sampler, index_batches, batch_size):
  store = jax.device_put(resident.load_store(dataset))
  for batch in resident.episode_batches(sampler, index_batches, batch_size):
    yield jax.tree.map(np.asarray, materialize(store, batch))


def test_the_store_holds_every_image_at_every_level(photographs_in_memory):
  store = resident.load_store(photographs_in_memory)
  assert store.pixels.shape == (store.sizes.prod(axis=-1).sum(), 3)
  for number, level in np.ndindex(8, 4):
    expected = images.decode(photographs_in_memory.read_image(number), "", level)
    width, height = store.sizes[number, level]
    start = store.offsets[number, level]
    found = store.pixels[start : start + width * height].reshape(height, width, 3)
    np.testing.assert_array_equal(found, expected)


def test_images_that_are_not_loaded_show_border_and_leave_the_others_alone(
  photographs_in_memory,
):
  sampler = _sampler(photographs_in_memory)
  plan = plans.plan_batch(sampler, [0, 1], 2)
  full = materialize(resident.load_store(photographs_in_memory), plan)
  part = materialize(resident.load_store(photographs_in_memory, [2, 5, 6]), plan)
  loaded = np.isin(plan.query.images, [2, 5, 6])
  assert 0 < loaded.sum() < loaded.size
  np.testing.assert_array_equal(
    np.asarray(part.query.images)[loaded], np.asarray(full.query.images)[loaded]
  )
  border = np.float32(BORDER_COLOR)
  np.testing.assert_allclose(
    np.asarray(part.query.images)[~loaded] - border, 0, atol=1e-3
  )


@pytest.mark.slow
def test_both_executors_give_the_same_batches(photographs_in_memory):
  sampler = _sampler(photographs_in_memory, crop_context=1.0)
  index_batches = [[0, 1, 2], [3, 4, 5], [6]]
  levels, mirrors = set(), set()
  for host, device in zip(
    pipeline.episode_batches(photographs_in_memory, sampler, index_batches, 3),
    _resident_batches(photographs_in_memory, sampler, index_batches, 3),
  ):
    assert host.query.images.dtype == np.uint8
    assert device.query.images.dtype == np.float32
    for a, b in ((host.support, device.support), (host.query, device.query)):
      np.testing.assert_allclose(np.float32(a.images), b.images, atol=1.0)
      off = abs(np.float32(a.images) - b.images) > 0.51
      assert off.mean() < 1e-3
      levels |= set(geometry.reduction_level(a.to_original).flat)
      mirrors |= set(np.sign(np.linalg.det(a.to_original[..., :2])).flat)
    without = [x._replace(support=0, query=0) for x in (host, device)]
    jax.tree.map(np.testing.assert_array_equal, *without)
    np.testing.assert_array_equal(host.query.keypoints, device.query.keypoints)
  assert levels >= {0, 1, 2} and mirrors == {-1, 1}


@pytest.mark.slow
@pytest.mark.parametrize("batches", [pipeline.episode_batches, _resident_batches])
def test_a_dot_is_warped_to_where_its_keypoint_is_moved(dots, batches):
  sampler = _sampler(dots, scale_range=(0.8, 1.3), shift=0.1, crop_context=0.6)
  measured = 0
  for batch in batches(dots, sampler, [range(8)], 8):
    views = episode.all_views(batch)
    for e, t in np.ndindex(8, 4):
      if not views.visible[e, t, 0]:
        continue
      rows, columns = np.mgrid[:SIDE, :SIDE]
      weight = np.float32(views.images[e, t, ..., 0])
      x, y = views.keypoints[e, t, 0]
      near = (columns - x) ** 2 + (rows - y) ** 2 < 7**2
      if min(x, y) < 7 or max(x, y) > SIDE - 8:
        continue
      weight = weight * near  # the border colour is not black
      center = np.array([(columns * weight).sum(), (rows * weight).sum()])
      # 0.1 pixel: half a pixel, or a swap of x and y, would fail.
      np.testing.assert_allclose(center / weight.sum(), (x, y), atol=0.1)
      measured += 1
  assert measured > 20


def test_the_level_on_the_device_is_the_level_on_the_host():
  rng = np.random.default_rng(0)
  scale = np.concatenate([2.0 ** rng.uniform(-2, 5, 400), [1, 2, 4, 8, 1.5, 3, 99]])
  angle = rng.uniform(-1, 1, len(scale))
  matrices = np.zeros((len(scale), 2, 3), np.float32)
  matrices[:, 0, :2] = np.stack([np.cos(angle), -np.sin(angle)], -1) * scale[:, None]
  matrices[:, 1, :2] = np.stack([np.sin(angle), np.cos(angle)], -1) * scale[:, None]
  level = jax.jit(geometry.reduction_level)(matrices)
  np.testing.assert_array_equal(level, geometry.reduction_level(matrices))
  assert set(np.asarray(level)) == {0, 1, 2, 3}


def test_plan_batches_come_in_order_and_padded(photographs_in_memory):
  sampler = _sampler(photographs_in_memory)
  index_batches = [[3 * i, 3 * i + 1] for i in range(7)] + [[50]]
  found = list(resident.episode_batches(sampler, index_batches, 2))
  assert len(found) == 8
  for batch, indices in zip(found, index_batches):
    expected = plans.plan_batch(sampler, indices, 2)
    jax.tree.map(np.testing.assert_array_equal, batch, expected)


def test_an_endless_stream_can_be_left_and_its_thread_ends(photographs_in_memory):
  before = threading.active_count()
  stream = resident.episode_batches(
    _sampler(photographs_in_memory), ([i] for i in itertools.count()), 1
  )
  assert next(stream).episode_index.tolist() == [0]
  assert threading.active_count() == before + 1
  stream.close()
  assert threading.active_count() == before


def test_an_episode_that_cannot_be_drawn_stops_the_stream(photographs_in_memory):
  sampler = _sampler(photographs_in_memory, crop="box", shift=1e3)
  with pytest.raises(ValueError, match="draws were rejected"):
    next(resident.episode_batches(sampler, [[0]], 1))


def test_a_broken_image_is_named(photographs_in_memory):
  broken = KeypointDataset(
    **{n: getattr(photographs_in_memory, n) for n in photographs_in_memory.__slots__}
    | {"read_image": lambda number: b"GIF89a"}
  )
  with pytest.raises(ValueError, match="'0.jpeg' cannot be decoded"):
    resident.load_store(broken)
