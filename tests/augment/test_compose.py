"""Every augmentation of the tables under the same tests, and composition."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment
from dlcore.errors import UserError

ON = {
  "flip": True,
  "resized_crop": 0.3,
  "rotate": 30.0,
  "scale": 0.3,
  "shear": 20.0,
  "shift": 2,
  "crop": 2,
  "randaugment": 8.0,
  "trivialaugment": True,
  "brightness": 0.5,
  "contrast": 0.5,
  "saturation": 0.5,
  "blur": 1.5,
  "noise": 0.2,
  "erase": 0.4,
  "cutout": 4,
}
MIXED = {"mixup": 0.8, "cutmix": 1.0}
COMPILED = ("flip", "rotate", "crop", "contrast", "noise", "erase", "mixup")
"""Augmentations whose programs the fast tier compiles."""
SLOTS = jnp.arange(6)
KEY = jax.random.key(1)


def augmented_images(settings, key, images, slots):
  batch = {"image": images, "label": jnp.arange(len(images)), "slot": slots}
  return augment.compose(settings)(key, batch)["image"]


def as_floats(images):
  return (images / 255).astype(np.float32)


@pytest.fixture(scope="module")
def program(compiled):
  """`(name) -> (key, images, slots) -> images` of one augmentation."""

  @functools.cache
  def make(name):
    settings = {name: {**ON, **MIXED}[name]}
    return compiled(functools.partial(augmented_images, settings))

  return make


def test_every_augmentation_is_tested():
  assert ON.keys() == augment.AUGMENTATIONS.keys()
  assert MIXED.keys() == augment.MIXTURES.keys()


# Shapes and dtypes of all are inferred without compiling below.
@pytest.mark.fast_cases(*(f"float32-{name}" for name in COMPILED))
@pytest.mark.parametrize("name", {**ON, **MIXED})
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shape_range_and_dtype_are_kept_and_the_key_decides(
  program, photos, name, dtype
):
  images = photos if dtype == np.uint8 else as_floats(photos)
  first, again, other = (
    program(name)(jax.random.key(seed), images, SLOTS) for seed in (1, 1, 2)
  )
  assert first.shape == images.shape
  assert first.dtype == dtype
  assert first.min() >= 0
  assert first.max() <= (255 if dtype == np.uint8 else 1)
  np.testing.assert_array_equal(first, again)
  assert (first != other).any()
  assert (first != images).any()


@pytest.mark.fast_cases(*COMPILED)
@pytest.mark.parametrize("name", ON)
def test_an_augmentation_depends_on_the_slot_and_not_on_other_images(
  program, photos, name
):
  images = as_floats(photos)
  whole = program(name)(KEY, images, SLOTS)
  order = np.array([4, 0, 5, 1, 3, 2])
  others = np.ones_like(images)
  images = np.where(order[:, None, None, None] == 4, images[order], others)
  moved = program(name)(KEY, images, order)
  np.testing.assert_array_equal(moved[0], whole[4])


def test_the_batch_size_does_not_matter(photos, compiled):
  settings = {"flip": True, "rotate": 30.0, "shift": 2, "cutout": 4}
  run = compiled(functools.partial(augmented_images, settings))
  whole, part = run(KEY, photos, SLOTS), run(KEY, photos[4:5], SLOTS[4:5])
  # The compiler may order sums differently, which changes the rounding.
  assert np.abs(whole[4:5].astype(int) - part).max() <= 1


def test_slots_default_to_the_positions_in_the_batch(photos, compiled):
  function = compiled(augment.compose({"shift": 2, "flip": True}))
  with_slots = function(KEY, {"image": photos, "slot": SLOTS})
  without = function(KEY, {"image": photos})
  np.testing.assert_array_equal(with_slots["image"], without["image"])
  assert "slot" not in without
  reverse = function(KEY, {"image": photos, "slot": SLOTS[::-1]})
  assert (reverse["image"] != without["image"]).any()


@pytest.mark.parametrize("name", ON)
def test_gray_images_and_many_channels_work(photos, name):
  for channels in (1, 5):
    images = np.resize(photos, (2, 9, 7, channels))
    run = functools.partial(augmented_images, {name: ON[name]})
    out = jax.eval_shape(run, KEY, images, SLOTS[:2])
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


def test_all_augmentations_compose(photos):
  run = functools.partial(augmented_images, {**ON, **MIXED})
  out = jax.eval_shape(run, KEY, photos, SLOTS)
  assert (out.shape, out.dtype) == (photos.shape, np.uint8)


@pytest.mark.fast_cases(*COMPILED)
@pytest.mark.parametrize("name", {**ON, **MIXED})
def test_a_traced_value_acts_as_the_python_number_and_zero_as_the_identity(
  compiled, program, photos, name
):
  images = as_floats(photos)
  off, _ = {**augment.AUGMENTATIONS, **augment.MIXTURES}[name]
  on = {**ON, **MIXED}[name]

  def run(value):
    return augmented_images({name: value}, KEY, images, SLOTS)

  values = jnp.array([off, on], jnp.float32)
  unchanged, augmented = compiled(jax.vmap(run))(values)
  np.testing.assert_array_equal(unchanged, images)
  # float32 arithmetic of the strength: 1 ulp, enlarged by interpolation.
  np.testing.assert_allclose(
    augmented, program(name)(KEY, images, SLOTS), atol=1e-5
  )


def test_traced_values_compile_once(photos):
  traces = []

  @jax.jit
  def run(strength):
    traces.append(strength)
    return augmented_images({"rotate": strength}, KEY, photos, SLOTS)

  assert (run(5.0) != run(90.0)).any()
  assert len(traces) == 1


def test_a_member_with_other_numbers_is_another_member_alone(photos, compiled):
  def run(hparams):
    return augmented_images(hparams, KEY, photos / 255.0, SLOTS)

  population = {"shift": jnp.arange(4), "brightness": jnp.arange(4) / 5}
  together = compiled(jax.vmap(run))(population)
  for member in range(1, 4):
    alone = compiled(
      functools.partial(run, {"shift": member, "brightness": member / 5})
    )()
    np.testing.assert_allclose(together[member], alone, atol=1e-5)


def test_all_off_is_no_augmentation():
  assert augment.compose({}) is None
  tables = {**augment.AUGMENTATIONS, **augment.MIXTURES}
  off = {name: value for name, (value, _) in tables.items()}
  assert augment.compose(off) is None


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"shfit": 1}, "did you mean 'shift'"),
    ({"shift": -1}, "got -1"),
    ({"rotate": 200.0}, "expected rotate from 0 to 180 degrees"),
    ({"rotate": float("nan")}, "got nan"),
    ({"resized_crop": 1.5}, "from 0 to 1"),
    ({"mixup": -0.1}, "got -0.1"),
    ({"noise": jnp.float32(2)}, "got 2"),
  ],
)
def test_bad_settings_are_rejected(settings, message):
  with pytest.raises(UserError, match=message):
    augment.compose(settings)


@pytest.mark.parametrize(
  ("settings", "names", "message"),
  [
    ({"shift": 1}, ["features"], "images"),
    ({"mixup": 1.0}, ["image"], "class labels"),
    ({"mixup": 1.0}, ["image", "label"], "even number"),
    ({"shift": 7}, ["image"], "less than the image's height and width"),
  ],
)
def test_data_that_cannot_be_augmented_is_rejected(
  photos, settings, names, message
):
  arrays = {"image": photos[:5], "label": SLOTS[:5], "features": SLOTS[:5]}
  batch = {name: arrays[name] for name in names}
  with pytest.raises(UserError, match=message):
    augment.compose(settings)(KEY, batch)


@pytest.mark.parametrize("value", ["x", None, (1,), 10**400, math.nan])
@pytest.mark.parametrize("name", {**ON, **MIXED})
def test_a_setting_that_is_not_a_number_in_range_is_refused(name, value):
  with pytest.raises(UserError):
    augment.compose({name: value})


@pytest.mark.parametrize(
  ("name", "most"),
  [
    *(("blur", 20), ("noise", 1), ("cutout", 65535), ("erase", 1)),
    *(("mixup", 100), ("cutmix", 100), ("shift", 65535), ("crop", 65535)),
    *(("resized_crop", 1), ("rotate", 180), ("scale", 9), ("shear", 80)),
    *(("randaugment", 10), ("brightness", 1), ("contrast", 1)),
    ("saturation", 1),
  ],
)
def test_the_range_of_a_setting_ends_where_it_is_documented(name, most):
  _, make = {**augment.AUGMENTATIONS, **augment.MIXTURES}[name]
  make(0)
  make(most)
  for value in (-1e-3, most + 1e-3):
    with pytest.raises(UserError, match=f"expected .* from 0 to {most}"):
      make(value)
