"""Mixup and CutMix: pairs, shares and labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore import augment
from dlcore.augment import mixing

MIXED = {"mixup": 0.8, "cutmix": 1.0}


@pytest.fixture(scope="module")
def mixed(compiled):
  """`(settings, seed, images, slots, labels) -> batch`."""

  def run(settings, seed, images, slots, labels):
    batch = {"image": images, "slot": slots, "label": labels}
    return compiled(augment.compose(settings))(jax.random.key(seed), batch)

  return run


@pytest.mark.parametrize("name", MIXED)
def test_partners_share_one_mixture_and_their_shares_add_up_to_one(mixed, name):
  images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))] * 20)
  labels = jnp.arange(40) % 2
  batch = mixed({name: 1.0}, 0, images, jnp.arange(40), labels)
  np.testing.assert_array_equal(batch["partner_label"], 1 - labels)
  np.testing.assert_array_equal(batch["label"], labels)
  share = np.asarray(batch["share"])
  np.testing.assert_array_equal(share[::2], share[1::2])
  mean = np.asarray(batch["image"]).mean((1, 2, 3))
  np.testing.assert_allclose(mean[1::2], share[1::2], atol=1e-6)
  np.testing.assert_allclose(mean[::2], 1 - share[::2], atol=1e-6)
  assert len(np.unique(share)) > 10  # Of 20; areas of pixels may coincide.


@pytest.mark.fast_cases("settings1")
@pytest.mark.parametrize("settings", [MIXED, {"mixup": 0.3}])
def test_a_mixture_is_the_same_on_any_number_of_devices(
  mixed, photos, settings
):
  slots = labels = jnp.arange(6)
  whole = mixed(settings, 5, photos, slots, labels)
  part = mixed(settings, 5, photos[4:], slots[4:], labels[4:])
  np.testing.assert_array_equal(whole["share"][4:], part["share"])
  np.testing.assert_array_equal(whole["image"][4:], part["image"])


def test_two_mixtures_alternate_at_random(mixed):
  images = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))] * 50)
  settings = {"mixup": 1.0, "cutmix": 1.0}
  batch = mixed(settings, 0, images, jnp.arange(100), jnp.zeros(100, int))
  pasted = jnp.isin(batch["image"], jnp.arange(2)).all((1, 2, 3))
  assert 20 < pasted.sum() < 80


@pytest.mark.parametrize("make", [augment.mixup, augment.cutmix])
def test_alpha_zero_keeps_the_image(make):
  image, partner = jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))
  for alpha in (0.0, jnp.float32(0)):
    new, share = jax.jit(make(alpha))(jax.random.key(0), image, partner)
    np.testing.assert_array_equal(new, image)
    assert share == 1


def test_partners_are_swapped():
  swapped = mixing.swap_partners(jnp.arange(6))
  np.testing.assert_array_equal(swapped, [1, 0, 3, 2, 5, 4])
