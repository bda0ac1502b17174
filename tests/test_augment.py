"""Every augmentation of the table under the same tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment
from dlcore.errors import UserError

ON = {"shift": 2, "flip": True}
IMAGES = np.random.default_rng(0).integers(1, 256, (6, 9, 7, 3), np.uint8)
SLOTS = jnp.arange(6)


def apply(settings, key, images=IMAGES, slots=SLOTS):
  return augment.compose(settings)(key, {"image": images}, slots)["image"]


def test_every_augmentation_is_tested():
  assert ON.keys() == augment.AUGMENTATIONS.keys()


@pytest.mark.parametrize("name", ON)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shape_and_dtype_are_kept_and_the_key_decides(name, dtype):
  images = IMAGES.astype(dtype)
  first = apply({name: ON[name]}, jax.random.key(1), images)
  again = jax.jit(lambda k: apply({name: ON[name]}, k, images))(
    jax.random.key(1)
  )
  other = apply({name: ON[name]}, jax.random.key(2), images)
  assert first.shape == images.shape
  assert first.dtype == dtype
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  assert (first != images).any()


@pytest.mark.parametrize("name", ON)
def test_an_example_depends_on_its_slot_and_not_on_its_neighbours(name):
  whole = apply({name: ON[name]}, jax.random.key(1))
  part = apply({name: ON[name]}, jax.random.key(1), IMAGES[4:], SLOTS[4:])
  np.testing.assert_array_equal(whole[4:], part)


def test_shift_moves_all_pixels_alike_and_covers_its_range():
  image = np.zeros((9, 9, 1), np.uint8)
  image[4, 4] = 255
  keys = jax.random.split(jax.random.key(0), 300)
  moved = jax.vmap(augment.shift(2), (0, None))(keys, jnp.asarray(image))
  places = {tuple(np.argwhere(picture[..., 0])[0]) for picture in moved}
  assert places == {(y, x) for y in range(2, 7) for x in range(2, 7)}


def test_flip_mirrors_about_half_of_the_images():
  keys = jax.random.split(jax.random.key(0), 400)
  image = jnp.asarray(IMAGES[0])
  flipped = jax.vmap(augment.flip(True), (0, None))(keys, image)
  mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
  assert ((flipped == image).all((1, 2, 3)) | mirrored).all()
  # Four standard deviations of a fair coin tossed 400 times are 40.
  assert abs(int(mirrored.sum()) - 200) < 40


def test_nothing_switched_on_is_no_augmentation():
  assert augment.compose({}) is None
  assert augment.compose({"shift": 0, "flip": False}) is None


@pytest.mark.parametrize(
  ("settings", "message"),
  [({"shfit": 1}, "did you mean 'shift'"), ({"shift": -1}, "got -1")],
)
def test_bad_settings_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    augment.compose(settings)


def test_data_without_images_is_refused():
  with pytest.raises(UserError, match="images"):
    augment.compose({"shift": 1})(jax.random.key(0), {"features": 1}, SLOTS)
