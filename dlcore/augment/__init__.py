"""Augmentation: pure functions `(key, example) -> example` inside the step."""

from collections.abc import Callable, Mapping

import jax

from dlcore.augment.geometry import flip, shift
from dlcore.errors import UserError, nearest
from dlcore.typing import Array, Batch

__all__ = ["AUGMENTATIONS", "compose", "flip", "shift"]

AUGMENTATIONS = {
  "shift": (0, shift),
  "flip": (False, flip),
}
"""Name to (value that switches it off, `(value) -> (key, image) -> image`),
in the order in which they are applied."""


def compose(
  settings: Mapping[str, float | int | bool],
) -> Callable[[Array, Batch, Array], Batch] | None:
  """Chains the augmentations that `settings` switches on.

  Args:
    settings: a number or a switch for every name in `AUGMENTATIONS`; a name
      that is absent is off.

  Returns:
    `(key, batch, slots) -> batch`, or None where nothing is switched on.
    `slots`, int32 `[B]`, are the places of the examples in the whole batch:
    each gets its own key from them, the same on any number of devices.

  Raises:
    UserError: a name is unknown or a value out of range.
  """
  for name in settings:
    if name not in AUGMENTATIONS:
      raise UserError(
        "expected the name of a known augmentation",
        f"got {name!r}",
        nearest(name, AUGMENTATIONS),
      )
  chain = [
    make(settings[name])
    for name, (off, make) in AUGMENTATIONS.items()
    if settings.get(name, off) != off
  ]
  if not chain:
    return None

  def augment_one(key: Array, slot: Array, image: Array) -> Array:
    keys = jax.random.split(jax.random.fold_in(key, slot), len(chain))
    for function, function_key in zip(chain, keys, strict=True):
      image = function(function_key, image)
    return image

  def augment(key: Array, batch: Batch, slots: Array) -> Batch:
    if "image" not in batch:
      raise UserError(
        "expected images, which data.augment changes",
        f"got examples with {', '.join(sorted(batch))}",
        "set every --config.data.augment.NAME to 0",
      )
    images = jax.vmap(augment_one, (None, 0, 0))(key, slots, batch["image"])
    return {**batch, "image": images}

  return augment
