import dataclasses
import importlib
import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from fskd_jax.config import DataConfig
from fskd_jax.data import images, plans
from fskd_jax.data.annotations import Instance, KeypointDataset
from fskd_jax.episode import BORDER_COLOR
from fskd_jax.few_shot import pools
from fskd_jax.few_shot.sampler import EpisodeSampler

tf = pytest.importorskip("tensorflow", reason="the extra [tensorflow]")
pipeline = importlib.import_module("fskd_jax.data.pipeline")

SIDE = 24
SIZES = [(31, 47), (64, 40), (151, 90), (260, 203)] * 2


def _photograph(size: tuple[int, int], seed: int) -> np.ndarray:
  noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
  return np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(1)))


def _encode(pixels: np.ndarray, kind: str) -> bytes:
  file = io.BytesIO()
  Image.fromarray(pixels).save(file, kind)
  return file.getvalue()


@pytest.fixture(scope="module")
def dataset() -> KeypointDataset:
  kinds = ["JPEG"] * 4 + ["PNG"] * 4
  data = [_encode(_photograph(s, i), k) for i, (s, k) in enumerate(zip(SIZES, kinds))]
  return KeypointDataset(
    name="photographs",
    keypoint_names=("nose",),
    skeleton=(),
    species=("cat",),
    instances=tuple(
      Instance(
        instance_id=i,
        image=i,
        image_size=size,
        species="cat",
        box=(size[0] * 0.1, size[1] * 0.2, size[0] * 0.7, size[1] * 0.6),
        keypoints=np.float32([[size[0] / 2, size[1] / 2]]),
        visible=np.ones(1, bool),
      )
      for i, size in enumerate(SIZES)
    ),
    image_names=tuple(f"{i}.{kind.lower()}" for i, kind in enumerate(kinds)),
    read_image=data.__getitem__,
  )


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
      **fields,
    ),  # fmt: skip
    seed=0,
    training=True,
  )


def _bilinear(image: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
  """Samples pixel by pixel and tap by tap."""
  height, width, _ = image.shape
  result = np.zeros((side, side, 3))
  for row, column in np.ndindex(side, side):
    x, y = matrix[:, :2] @ [column, row] + matrix[:, 2]
    left, top = int(np.floor(x)), int(np.floor(y))
    for i, j in np.ndindex(2, 2):
      weight = (1 - abs(x - left - j)) * (1 - abs(y - top - i))
      inside = 0 <= left + j < width and 0 <= top + i < height
      color = image[top + i, left + j] if inside else BORDER_COLOR
      result[row, column] += weight * np.asarray(color, float)
  return result


TURN = np.array([[0.8, -0.6], [0.6, 0.8]])
MATRICES = {
  "identity": np.eye(2, 3),
  "half a pixel right": np.array([[1, 0, 0.5], [0, 1, 0]]),
  "half a pixel above": np.array([[1, 0, 0], [0, 1, -0.5]]),
  "turned, mirrored, enlarged": np.c_[0.7 * TURN @ np.diag([-1, 1]), [20.3, 2.8]],
  "turned over the border": np.c_[1.9 * TURN, [10, -12]],
  "all outside": np.c_[TURN, [300, -200]],
}


@pytest.mark.parametrize("name", MATRICES)
def test_the_warp_is_bilinear_and_blends_into_the_border(name):
  image, matrix = _photograph((31, 27), 0), MATRICES[name]
  warped = pipeline._warp(
    tf.constant(image), tf.constant(matrix, tf.float32), (SIDE, SIDE)
  ).numpy()
  assert warped.shape == (SIDE, SIDE, 3) and warped.dtype == np.uint8
  np.testing.assert_allclose(warped, _bilinear(image, matrix, SIDE), atol=0.51)


def test_identity_keeps_pixels_and_mirroring_twice_too():
  image = _photograph((SIDE, SIDE), 1)
  mirror = tf.constant([[-1, 0, SIDE - 1], [0, 1, 0]], tf.float32)
  once = pipeline._warp(tf.constant(image), mirror, (SIDE, SIDE))
  np.testing.assert_array_equal(once, image[:, ::-1])
  np.testing.assert_array_equal(pipeline._warp(once, mirror, (SIDE, SIDE)), image)


def test_decoding_equals_the_one_without_tensorflow(dataset):
  @tf.function(
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], "int32")]
  )
  def decode(data, level):
    return pipeline._decode(data, level)

  for number, level in np.ndindex(8, 4):
    data = dataset.read_image(number)
    expected = images.decode(data, "", level)
    np.testing.assert_array_equal(decode(data, level), expected)


@pytest.mark.slow
def test_turned_images_are_read_turned(dataset):
  def turned(number):
    with Image.open(io.BytesIO(dataset.read_image(number))) as image:
      pixels, file, exif = np.asarray(image)[::-1, ::-1], io.BytesIO(), Image.Exif()
    exif[274] = 3  # by 180 degrees
    Image.fromarray(pixels).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()

  def upright(number):
    shown = images.decode(turned(number), "")
    return _encode(shown, "PNG")

  batches = [
    next(pipeline.episode_batches(other, _sampler(other), [[0, 3]], 2))
    for other in (
      dataclasses.replace(dataset, read_image=read) for read in (turned, upright)
    )
  ]
  np.testing.assert_array_equal(batches[0].query.images, batches[1].query.images)


def test_batches_are_the_plans_in_order_with_pixels(dataset):
  sampler = _sampler(dataset, rotation_probability=1.0)
  index_batches = [[0, 1], [5, 2], [7]]
  batches = list(pipeline.episode_batches(dataset, sampler, index_batches, 2))
  assert len(batches) == 3
  for batch, indices in zip(batches, index_batches):
    plan = plans.plan_batch(sampler, indices, 2)
    assert batch.episode_index.tolist() == plan.episode_index.tolist()
    np.testing.assert_array_equal(batch.keypoint_ids, plan.keypoint_ids)
    for views, planned in ((batch.support, plan.support), (batch.query, plan.query)):
      for name in ("keypoints", "visible", "to_original", "box", "image_size"):
        field, expected = getattr(views, name), getattr(planned, name)
        np.testing.assert_array_equal(field, expected)
        assert field.dtype == expected.dtype
      assert views.images.shape == (*planned.images.shape, SIDE, SIDE, 3)
      assert views.images.dtype == np.uint8
  assert not batches[-1].query.visible[1].any()


def test_pixels_come_from_the_image_reduced_as_often_as_the_crop_allows(dataset):
  sampler = _sampler(dataset, rotation_probability=1.0, crop_context=0.9)
  batch = next(pipeline.episode_batches(dataset, sampler, [[3]], 1))
  plan = sampler.plan(3)
  levels = []
  for pixels, number, matrix in zip(
    batch.query.images[0], plan.query.images, plan.query.to_original
  ):
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    level = max(n for n in range(4) if 2**n <= max(scale, 1))
    image = images.decode(dataset.read_image(number), "", level)
    # Pixel i of the reduced image has its centre at i * t + (t - 1) / 2.
    reduced = matrix / 2**level
    reduced[:, 2] -= (2**level - 1) / 2 / 2**level
    np.testing.assert_allclose(pixels, _bilinear(image, reduced, SIDE), atol=0.52)
    levels.append(level)
  assert max(levels) > 1


def test_an_endless_stream_can_be_left(dataset):
  index_batches = plans.train_index_batches(0, 2, 0, 1)
  stream = pipeline.episode_batches(dataset, _sampler(dataset), index_batches, 2)
  assert [next(stream).episode_index.tolist() for _ in range(2)] == [[0, 1], [2, 3]]
  stream.close()
  assert next(stream, None) is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "nothing"])
def test_a_broken_image_is_named(dataset, kind):
  data = b"" if kind == "nothing" else _encode(_photograph((90, 90), 0), kind)[:-900]

  def read_image(number: int) -> bytes:
    return data if number == 6 else dataset.read_image(number)

  broken = KeypointDataset(
    **{name: getattr(dataset, name) for name in dataset.__slots__}
    | {"read_image": read_image}
  )
  batches = pipeline.episode_batches(
    broken, _sampler(dataset), plans.train_index_batches(0, 2, 0, 1), 2
  )
  with pytest.raises(ValueError, match="'6.png' cannot be decoded"):
    for _ in range(20):
      next(batches)


def test_a_missing_image_is_named(dataset):
  def read_image(number: int) -> bytes:
    raise FileNotFoundError(f"no {dataset.image_names[number]}")

  missing = KeypointDataset(
    **{name: getattr(dataset, name) for name in dataset.__slots__}
    | {"read_image": read_image}
  )
  batches = pipeline.episode_batches(missing, _sampler(dataset), [[0]], 1)
  with pytest.raises(FileNotFoundError, match=r"no \d\.(jpeg|png)"):
    next(batches)


def test_an_episode_that_cannot_be_drawn_is_reported_as_such(dataset):
  sampler = _sampler(dataset, crop="box", shift=1e3)  # crops without keypoints
  batches = pipeline.episode_batches(dataset, sampler, [[3]], 1)
  with pytest.raises(ValueError, match="draws were rejected"):
    next(batches)
