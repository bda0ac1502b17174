"""The table of augmentations, and the chain that a config switches on."""

from collections.abc import Callable, Mapping

import jax

from dlcore.augment import color, corruption, geometry, policies
from dlcore.augment.mixing import MIXTURES, partners
from dlcore.errors import UserError, nearest
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
"""Name to (value that switches it off, `(value) -> (key, image) -> image`),
in the order in which they are applied."""


def compose(
  settings: Mapping[str, float | int | bool],
) -> Callable[[Array, Batch, Array], Batch] | None:
  """Chains the augmentations that `settings` switches on.

  Args:
    settings: a number or a switch for every name in `AUGMENTATIONS` and
      `MIXTURES`; a name that is absent is off. Of two mixtures every pair of
      examples gets one or the other.

  Returns:
    `(key, batch, slots) -> batch`, or None where nothing is switched on.
    `slots`, int32 `[B]`, are the places of the examples in the whole batch:
    each gets its own key from them, the same on any number of devices. A
    mixture adds `partner_label` and `share`, float32 `[B]`, the part that
    `label` has in the image.

  Raises:
    UserError: a name is unknown or a value out of range.
  """
  known = {**AUGMENTATIONS, **MIXTURES}
  for name in settings:
    if name not in known:
      raise UserError(
        "expected the name of a known augmentation",
        f"got {name!r}",
        nearest(name, known),
      )

  def switched_on(table) -> list:
    return [
      make(settings[name])
      for name, (off, make) in table.items()
      if settings.get(name, off) != off
    ]

  chain, mixtures = switched_on(AUGMENTATIONS), switched_on(MIXTURES)
  if not chain and not mixtures:
    return None

  def augment_one(key: Array, slot: Array, image: Array) -> Array:
    keys = jax.random.split(jax.random.fold_in(key, slot), len(chain))
    for function, function_key in zip(chain, keys, strict=True):
      image = function(function_key, image)
    return image

  def mix_one(key: Array, slot: Array, image: Array, partner: Array):
    # Partners draw the same numbers.
    key = jax.random.fold_in(key, slot // 2)
    if len(mixtures) == 1:
      return mixtures[0](key, image, partner)
    choice, key = jax.random.split(key)
    number = jax.random.randint(choice, (), 0, len(mixtures))
    return jax.lax.switch(number, mixtures, key, image, partner)

  def augment(key: Array, batch: Batch, slots: Array) -> Batch:
    if "image" not in batch:
      raise UserError(
        "expected images, which data.augment changes",
        f"got examples with {', '.join(sorted(batch))}",
        "set every --config.data.augment.NAME to 0",
      )
    images = batch["image"]
    if chain:
      images = jax.vmap(augment_one, (None, 0, 0))(key, slots, images)
      batch = {**batch, "image": images}
    return mix(key, batch, slots) if mixtures else batch

  def mix(key: Array, batch: Batch, slots: Array) -> Batch:
    images = batch["image"]
    if "label" not in batch:
      raise UserError(
        "expected examples with a class, which mixup and cutmix mix",
        f"got {', '.join(sorted(batch))}",
        "set --config.data.augment.mixup and cutmix to 0",
      )
    if len(images) % 2:
      raise UserError(
        "expected an even batch on each device, for pairs of images to mix",
        f"got {len(images)} examples",
      )
    key = jax.random.fold_in(key, 2**32 - 1)  # No slot has this number.
    images, share = jax.vmap(mix_one, (None, 0, 0, 0))(
      key, slots, images, partners(images)
    )
    other = partners(batch["label"])
    return {**batch, "image": images, "partner_label": other, "share": share}

  return augment
