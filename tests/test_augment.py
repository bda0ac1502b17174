"""Every augmentation of the tables under the same tests, and each by itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from dlcore import augment
from dlcore.augment import color, mixing, pixels, policies
from dlcore.augment.geometry import rotation, slant, translation
from dlcore.errors import UserError

# Compiling is what takes the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
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
PHOTO = np.random.default_rng(0).integers(1, 256, (6, 9, 7, 3), np.uint8)
KEYS = jax.random.split(jax.random.key(0), 300)
SLOTS = jnp.arange(6)


def pictures(dtype):
  """Returns images in the range of their dtype."""
  return PHOTO if dtype == np.uint8 else (PHOTO / 255).astype(dtype)


def apply(settings, key, images=PHOTO, slots=SLOTS, **rest):
  function = jit(augment.compose(settings))
  return function(key, {"image": images, **rest}, slots)


def images_of(settings, key, images, slots):
  batch = {"image": images, "label": jnp.arange(len(images))}
  return augment.compose(settings)(key, batch, slots)["image"]


@functools.cache
def program(name):
  """Returns `(key, images, slots) -> images` of one augmentation."""
  return jit(functools.partial(images_of, {name: {**ON, **MIXED}[name]}))


def drawn(function, image, keys=KEYS):
  """Returns an image augmented by each key."""
  return jit(jax.vmap(function, (0, None)))(keys, jnp.asarray(image))


def test_every_augmentation_is_tested():
  assert ON.keys() == augment.AUGMENTATIONS.keys()
  assert MIXED.keys() == augment.MIXTURES.keys()


@pytest.mark.parametrize("name", {**ON, **MIXED})
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_shape_range_and_dtype_are_kept_and_the_key_decides(name, dtype):
  images = pictures(dtype)
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


@pytest.mark.parametrize("name", ON)
def test_an_image_is_drawn_by_its_slot_whatever_stands_beside_it(name):
  whole = program(name)(jax.random.key(1), PHOTO, SLOTS)
  order = np.array([4, 0, 5, 1, 3, 2])
  images = np.where(order[:, None, None, None] == 4, PHOTO[order], 255)
  moved = program(name)(jax.random.key(1), images.astype(np.uint8), order)
  np.testing.assert_array_equal(moved[0], whole[4])


def test_the_number_of_images_does_not_matter():
  settings = {"flip": True, "rotate": 30.0, "shift": 2, "cutout": 4}
  whole = apply(settings, jax.random.key(1))["image"]
  part = apply(settings, jax.random.key(1), PHOTO[4:5], SLOTS[4:5])["image"]
  # Rounding may fall the other way where the compiler orders sums anew.
  assert np.abs(whole[4:5].astype(int) - part).max() <= 1


@pytest.mark.parametrize("name", ON)
def test_greyscale_and_many_channels_work(name):
  for channels in (1, 5):
    images = np.resize(PHOTO, (2, 9, 7, channels))
    run = functools.partial(images_of, {name: ON[name]})
    out = jax.eval_shape(run, jax.random.key(3), images, SLOTS[:2])
    assert (out.shape, out.dtype) == (images.shape, images.dtype)


def test_all_at_once():
  run = functools.partial(images_of, {**ON, **MIXED})
  out = jax.eval_shape(run, jax.random.key(0), PHOTO, SLOTS)
  assert (out.shape, out.dtype) == (PHOTO.shape, np.uint8)


@pytest.mark.parametrize(
  ("make", "reach"), [(augment.shift, 2), (augment.crop, 2)]
)
def test_moves_go_to_every_place_in_reach(make, reach):
  image = np.zeros((9, 9, 1), np.uint8)
  image[4, 4] = 255
  moved = drawn(make(reach), image)
  places = {tuple(np.argwhere(picture[..., 0])[0]) for picture in moved}
  assert places == {(y, x) for y in range(2, 7) for x in range(2, 7)}


def test_crop_mirrors_the_border_and_shift_blackens_it():
  image = jnp.full((6, 6, 1), 9, jnp.uint8)
  cropped = drawn(augment.crop(3), image)
  shifted = drawn(augment.shift(3), image)
  assert (cropped == 9).all()
  assert (shifted == 0).any()


def test_flip_mirrors_about_half_of_the_images():
  image = jnp.asarray(PHOTO[0])
  flipped = drawn(augment.flip(True), image)
  mirrored = (flipped == image[:, ::-1]).all((1, 2, 3))
  assert ((flipped == image).all((1, 2, 3)) | mirrored).all()
  # Four standard deviations of a fair coin tossed 300 times are 35.
  assert abs(int(mirrored.sum()) - 150) < 35


@pytest.mark.parametrize(
  "matrix",
  [
    rotation(jnp.float32(0.7)),
    slant(0.2, 0.0),
    slant(0.0, -0.3),
    translation(1.25, -0.5),
  ],
)
def test_warp_samples_as_scipy_does(matrix):
  image = np.random.default_rng(1).random((11, 8, 2)).astype(np.float32)
  center = np.array([5.0, 3.5])
  linear, offset = np.array(matrix[:, :2]), np.array(matrix[:, 2])
  wanted = np.stack(
    [
      ndimage.affine_transform(
        np.pad(image[..., channel], 3),
        linear,
        offset + (center + 3) - linear @ (center + 3),
        order=1,
      )[3:-3, 3:-3]
      for channel in range(2)
    ],
    -1,
  )
  np.testing.assert_allclose(pixels.warp(image, matrix), wanted, atol=1e-5)


def test_warps_have_the_direction_that_their_names_tell():
  image = np.zeros((9, 9, 1), np.uint8)
  image[4, 7] = 200
  turned = pixels.warp(jnp.asarray(image), rotation(jnp.pi / 2))
  assert np.argwhere(turned[..., 0]).tolist() in ([[1, 4]], [[7, 4]])
  moved = pixels.warp(jnp.asarray(image), translation(2, -3))
  assert np.argwhere(moved[..., 0]).tolist() == [[6, 4]]


def test_scale_makes_larger_and_smaller_and_resized_crop_only_larger():
  square = np.zeros((21, 21, 1), np.float32)
  square[8:13, 8:13] = 1

  def sizes(function):
    out = drawn(function, square)
    return out.sum((1, 2, 3)) / 25

  areas = sizes(augment.scale(0.5))
  assert 0.35 < areas.min() < 0.6
  assert 1.8 < areas.max() < 2.6
  # The part has at least half of the area, and the square may be cut off.
  assert sizes(augment.resized_crop(0.5)).max() == pytest.approx(2.0, abs=0.3)


@pytest.mark.parametrize("make", [augment.brightness, augment.contrast])
def test_strength_zero_changes_nothing_and_one_can_take_all_away(make):
  image = jnp.asarray(PHOTO[0])
  np.testing.assert_array_equal(make(0.0)(KEYS[0], image), image)
  spans = drawn(make(1.0), image)
  spans = spans.max((1, 2, 3)) - spans.min((1, 2, 3))
  assert spans.min() < 10


def test_saturation_leaves_grey_alone():
  grey = jnp.repeat(jnp.asarray(PHOTO[0, ..., :1]), 3, -1)
  np.testing.assert_allclose(
    augment.saturation(0.9)(KEYS[0], grey), grey, atol=1
  )


def test_blur_is_a_gaussian():
  image = np.zeros((15, 15, 1), np.float32)
  image[7, 7] = 1
  blurred = drawn(augment.blur(1.5), image, KEYS[:40])
  for picture in np.asarray(blurred)[..., 0]:
    assert picture.sum() == pytest.approx(1, abs=1e-4)
    sigma = np.sqrt((picture.sum(0) * np.square(np.arange(15) - 7)).sum())
    assert sigma <= 1.5
    if sigma > 0.7:
      wanted = ndimage.gaussian_filter(image[..., 0], sigma, truncate=6)
      np.testing.assert_allclose(picture, wanted, atol=0.01)


def test_noise_has_at_most_its_deviation():
  image = jnp.full((64, 64, 1), 128, jnp.uint8)
  noisy = drawn(augment.noise(0.1), image, KEYS[:60])
  deviations = np.asarray(noisy, float).std((1, 2, 3)) / 255
  assert deviations.max() < 0.105
  assert deviations.min() < 0.01


def test_cutout_and_erase_take_the_area_that_they_say():
  image = jnp.full((20, 20, 1), 200, jnp.uint8)
  cut = drawn(augment.cutout(6), image)
  black = (cut == 0).sum((1, 2, 3))
  assert black.max() == 36
  assert black.min() >= 9  # A square around a corner's pixel.
  erased = drawn(augment.erase(0.25), image)
  changed = (erased != image).mean((1, 2, 3))
  # A rectangle covers every pixel that it touches: up to a row and a column.
  assert 0.15 < changed.max() <= 0.25 * 1.25 + 0.02
  assert abs(float((changed > 0).mean()) - 0.5) < 0.12


@pytest.mark.parametrize("name", MIXED)
def test_partners_share_one_mixture_and_the_shares_of_both_are_one(name):
  images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))] * 20)
  labels = jnp.arange(40) % 2
  key = jax.random.key(0)
  batch = apply({name: 1.0}, key, images, jnp.arange(40), label=labels)
  np.testing.assert_array_equal(batch["partner_label"], 1 - labels)
  np.testing.assert_array_equal(batch["label"], labels)
  share = np.asarray(batch["share"])
  np.testing.assert_array_equal(share[::2], share[1::2])
  mean = np.asarray(batch["image"]).mean((1, 2, 3))
  np.testing.assert_allclose(mean[1::2], share[1::2], atol=1e-6)
  np.testing.assert_allclose(mean[::2], 1 - share[::2], atol=1e-6)
  assert len(np.unique(share)) > 10  # Of 20; areas of pixels may coincide.


def test_a_mixture_is_the_same_on_any_number_of_devices():
  labels = jnp.arange(6)
  for settings in (MIXED, {"mixup": 0.3}):
    whole = apply(settings, jax.random.key(5), label=labels)
    part = apply(
      settings, jax.random.key(5), PHOTO[4:], SLOTS[4:], label=labels[4:]
    )
    np.testing.assert_array_equal(whole["share"][4:], part["share"])
    np.testing.assert_array_equal(whole["image"][4:], part["image"])


def test_two_mixtures_take_turns():
  images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))] * 50)
  batch = apply(
    {"mixup": 1.0, "cutmix": 1.0},
    jax.random.key(0),
    images,
    jnp.arange(100),
    label=jnp.zeros(100, int),
  )
  pasted = [
    bool(jnp.isin(image, jnp.arange(2)).all()) for image in batch["image"]
  ]
  assert 20 < sum(pasted) < 80


def tones(image, name, strength, wide=False):
  names = (
    "identity",
    "brightness",
    "contrast",
    "sharpness",
    "solarize",
    "posterize",
    "autocontrast",
    "equalize",
    "color",
  )
  function = policies._tones(jnp.asarray(image), wide)[names.index(name)]
  values = jnp.asarray(image, jnp.float32) / 255
  changed = function(values, jnp.float32(strength), jnp.float32(strength))
  return np.asarray(pixels.like(changed * 255, jnp.asarray(image)))


@pytest.mark.parametrize(
  ("name", "strength", "reference"),
  [
    ("identity", 0.5, lambda image: image),
    ("solarize", 0.5, lambda image: ImageOps.solarize(image, 128)),
    ("posterize", 0.5, lambda image: ImageOps.posterize(image, 6)),
    ("autocontrast", 0.5, ImageOps.autocontrast),
  ],
)
def test_tones_are_those_of_pillow(name, strength, reference):
  photo = np.random.default_rng(3).integers(30, 220, (16, 16, 3), np.uint8)
  wanted = np.asarray(reference(Image.fromarray(photo)), int)
  assert np.abs(tones(photo, name, strength) - wanted).max() <= 3


def test_equalize_spreads_greys_evenly_and_keeps_their_order():
  photo = (np.random.default_rng(3).random((32, 32, 1)) ** 3 * 120).astype(
    np.uint8
  )
  out = tones(photo, "equalize", 0.5)
  order = np.argsort(photo.ravel(), kind="stable")
  assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()
  assert out.max() == 255
  bright = np.histogram(out, 4, (0, 256))[0][1:] / out.size
  np.testing.assert_allclose(bright, 0.25, atol=0.08)
  flat = np.full((5, 5, 1), 77, np.uint8)
  np.testing.assert_array_equal(tones(flat, "equalize", 0.5), flat)
  np.testing.assert_array_equal(tones(flat, "autocontrast", 0.5), flat)


def test_randaugment_draws_every_operation():
  image = jnp.asarray(
    np.random.default_rng(3).integers(40, 200, (12, 12, 3)), jnp.uint8
  )
  out = drawn(augment.trivialaugment(True), image)
  different = {picture.tobytes() for picture in np.asarray(out)}
  # 3 of 14 operations have no strength: about a fifth repeats itself.
  assert 150 < len(different) < 290


def test_magnitude_zero_moves_nothing():
  number = jnp.arange(len(policies.MOVES) + 1)
  for at in number:
    matrix = policies._move(at, jnp.float32(0), wide=True)
    np.testing.assert_allclose(matrix, translation(0, 0), atol=1e-7)


def test_blend_goes_from_the_other_to_beyond_the_image():
  image, other = jnp.float32(0.6), jnp.float32(0.2)
  for factor, wanted in ((0, 0.2), (1, 0.6), (1.5, 0.8)):
    assert color.blend(image, other, factor) == pytest.approx(wanted)


def test_views_hold_the_image_and_keep_its_shape():
  images = jnp.asarray(PHOTO / 255, jnp.float32)
  for name, view in augment.VIEWS.items():
    seen = view(images)
    assert all(other.shape == images.shape for other in seen), name
  assert len(augment.VIEWS["crops"](images)) == 5
  np.testing.assert_array_equal(augment.VIEWS["shifts"](images)[0], images)
  np.testing.assert_array_equal(
    augment.VIEWS["flip"](images)[1], images[:, :, ::-1]
  )


def test_nothing_switched_on_is_no_augmentation():
  assert augment.compose({}) is None
  off = {
    name: value
    for name, (value, _) in {
      **augment.AUGMENTATIONS,
      **augment.MIXTURES,
    }.items()
  }
  assert augment.compose(off) is None


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"shfit": 1}, "did you mean 'shift'"),
    ({"shift": -1}, "got -1"),
    ({"rotate": 200.0}, "from 0 to 180 degrees"),
    ({"resized_crop": 1.5}, "from 0 to 1"),
    ({"mixup": -0.1}, "got -0.1"),
  ],
)
def test_bad_settings_are_refused(settings, message):
  with pytest.raises(UserError, match=message):
    augment.compose(settings)


def test_data_that_cannot_be_augmented_is_refused():
  key = jax.random.key(0)
  with pytest.raises(UserError, match="images"):
    augment.compose({"shift": 1})(key, {"features": 1}, SLOTS)
  with pytest.raises(UserError, match="a class"):
    apply({"mixup": 1.0}, key)
  with pytest.raises(UserError, match="even batch"):
    apply({"mixup": 1.0}, key, PHOTO[:5], SLOTS[:5], label=SLOTS[:5])
  with pytest.raises(UserError, match="less than the image"):
    apply({"shift": 7}, key)


def test_pairs_are_swapped():
  swapped = mixing.partners(jnp.arange(6))
  np.testing.assert_array_equal(swapped, [1, 0, 3, 2, 5, 4])
