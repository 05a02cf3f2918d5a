"""Identities of the crops of persons, on drawn examples."""

import numpy as np
from helpers.affine import compose
from hypothesis import given
from hypothesis import strategies as st

from fskd_jax import geometry
from fskd_jax.config import CROP_MARGIN, DataConfig
from fskd_jax.data import augment
from fskd_jax.pose import crops

CENTERS = st.tuples(st.floats(-500, 500), st.floats(-500, 500)).map(np.array)
WIDTHS, ANGLES = st.floats(1, 2000), st.floats(-np.pi, np.pi)
SIZES = st.tuples(st.integers(1, 512), st.integers(1, 512))


@given(CENTERS, WIDTHS, ANGLES, st.booleans(), SIZES)
def test_the_middle_of_the_crop_is_its_center(center, width, angle, mirrored, size):
  matrix = geometry.crop_matrix(center, width, angle, mirrored, size)
  middle = np.array([[size[1] - 1, size[0] - 1]]) / 2
  np.testing.assert_allclose(
    geometry.apply_affine(matrix, middle), center[None], rtol=1e-5, atol=1e-2
  )
  np.testing.assert_allclose(geometry.affine_scale(matrix) * size[1], width, rtol=1e-5)


@given(CENTERS, WIDTHS, ANGLES, SIZES)
def test_a_mirrored_crop_is_the_crop_of_mirrored_pixels(center, width, angle, size):
  upright, mirrored = (
    geometry.crop_matrix(center, width, angle, flag, size) for flag in (False, True)
  )
  mirror = np.array([[-1.0, 0, size[1] - 1], [0, 1, 0]])
  np.testing.assert_allclose(
    compose(upright.astype(float), mirror),
    mirrored,
    rtol=1e-4,
    atol=1e-2,
  )


@given(CENTERS, st.floats(1, 500), st.floats(1, 500), st.sampled_from([32, 64, 192]))
def test_square_crops_are_those_of_the_few_shot_detector(corner, w, h, side):
  box = np.array([*corner, w, h])
  cfg = DataConfig(image_size=side, crop_margin=CROP_MARGIN)
  np.testing.assert_allclose(
    crops.evaluation_crop(box, (side, side)),
    augment.evaluation_crops(box[None], cfg)[0],
    rtol=1e-5,
    atol=1e-3,
  )
