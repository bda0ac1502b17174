"""The table of augmentations, and their composition from settings."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.augment import color, corruption, geometry, policies
from dlcore.augment.mixing import MIXTURES, Mixture, swap_partners
from dlcore.augment.pixels import Transform, is_static
from dlcore.errors import UserError, lookup
from dlcore.typing import Array, Batch

AUGMENTATIONS = {
  "flip": (False, geometry.flip),
  "resized_crop": (0.0, geometry.resized_crop),
  "rotate": (0.0, geometry.rotate),
  "scale": (0.0, geometry.scale),
  "shear": (0.0, geometry.shear),
  "shift": (0, geometry.shift),
  "crop": (0, geometry.crop),
  "randaugment": (0.0, policies.randaugment),
  "trivialaugment": (False, policies.trivialaugment),
  "brightness": (0.0, color.brightness),
  "contrast": (0.0, color.contrast),
  "saturation": (0.0, color.saturation),
  "blur": (0.0, corruption.blur),
  "noise": (0.0, corruption.noise),
  "erase": (0.0, corruption.erase),
  "cutout": (0, corruption.cutout),
}
"""Name to (off value, `(value) -> Transform`), in the order of application."""

MIXTURE_SLOT = 2**32 - 1
"""Folded into the key of mixtures; no example has this slot."""


def compose(
  settings: Mapping[str, Array | float | int | bool],
) -> Callable[[Array, Batch], Batch] | None:
  """Composes the augmentations that `settings` enables.

  Args:
    settings: a number or a switch by name, from `AUGMENTATIONS` and
      `MIXTURES`; an absent name is off. A Python 0 or False compiles to
      nothing; an array or a tracer is a value, whose range is not checked
      while tracing, and 0 leaves images unchanged. If both mixtures are
      enabled, each pair of examples gets one of them at random.

  Returns:
    `(key, batch) -> batch`, or None if every augmentation is off.
    `batch["slot"]`, int32 `[B]`, holds the positions in the global batch, by
    default 0 to B - 1. Each example gets a key of its own from its slot, so
    the result is the same on any number of devices. A mixture adds
    `partner_label` and `share`, float32 `[B]`, the weight of `label`.

  Raises:
    UserError: an unknown name or a value out of range.
  """
  for name in settings:
    lookup({**AUGMENTATIONS, **MIXTURES}, name, "augmentation")
  chain = [
    make(value) if is_static(value) else _unless(value, off, make(value))
    for value, off, make in _enabled(AUGMENTATIONS, settings)
  ]
  mixtures = [make(value) for value, _, make in _enabled(MIXTURES, settings)]
  if not chain and not mixtures:
    return None

  def augment(key: Array, batch: Batch) -> Batch:
    _check_batch(batch, mixing=bool(mixtures))
    images = batch["image"]
    slots = batch["slot"] if "slot" in batch else jnp.arange(len(images))
    if chain:
      transform = functools.partial(_transform, chain)
      images = jax.vmap(transform, (None, 0, 0))(key, slots, images)
      batch = {**batch, "image": images}
    return _mix(mixtures, key, batch, slots) if mixtures else batch

  return augment


def _enabled(table: Mapping[str, tuple], settings: Mapping[str, Any]) -> list:
  """Returns `(value, off value, make)` of the entries that are not off."""
  entries = []
  for name, (off, make) in table.items():
    value = settings.get(name, off)
    if not is_static(value) or value != off:
      entries.append((value, off, make))
  return entries


def _unless(value: Array, off: float, function: Transform) -> Transform:
  """Returns `function`, or the identity if the traced `value` is `off`."""

  def apply(key: Array, image: Array) -> Array:
    return jnp.where(value == off, image, function(key, image))

  return apply


def _transform(
  chain: Sequence[Transform], key: Array, slot: Array, image: Array
) -> Array:
  """Applies the chain to one image, with keys derived from its slot."""
  keys = jax.random.split(jax.random.fold_in(key, slot), len(chain))
  for function, function_key in zip(chain, keys, strict=True):
    image = function(function_key, image)
  return image


def _mix(
  mixtures: Sequence[Mixture], key: Array, batch: Batch, slots: Array
) -> Batch:
  """Mixes every example with its partner, by one of the mixtures."""

  def mix_one(key: Array, slot: Array, image: Array, partner: Array):
    # Partners must use the same random numbers.
    key = jax.random.fold_in(key, slot // 2)
    if len(mixtures) == 1:
      return mixtures[0](key, image, partner)
    choice_key, key = jax.random.split(key)
    number = jax.random.randint(choice_key, (), 0, len(mixtures))
    return jax.lax.switch(number, mixtures, key, image, partner)

  key = jax.random.fold_in(key, MIXTURE_SLOT)
  images, share = jax.vmap(mix_one, (None, 0, 0, 0))(
    key, slots, batch["image"], swap_partners(batch["image"])
  )
  partner_label = swap_partners(batch["label"])
  return {
    **batch,
    "image": images,
    "partner_label": partner_label,
    "share": share,
  }


def _check_batch(batch: Batch, mixing: bool) -> None:
  names = ", ".join(sorted(batch))
  if "image" not in batch:
    raise UserError(
      "expected a batch with images to augment",
      f"got {names}",
      "set every augmentation to 0",
    )
  if mixing and "label" not in batch:
    raise UserError(
      "expected a batch with class labels for mixup and cutmix",
      f"got {names}",
      "set mixup and cutmix to 0",
    )
  if mixing and len(batch["image"]) % 2:
    raise UserError(
      "expected an even number of images per device for mixup and cutmix",
      f"got {len(batch['image'])}",
    )
