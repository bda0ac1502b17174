"""The table of augmentations, and their composition from settings."""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from dlcore.augment import color, corruption, geometry, policies
from dlcore.augment.mixing import MIXTURES, Mixture, swap_partners
from dlcore.augment.pixels import Transform, is_static
from dlcore.augment.tokens import (
  TOKEN_AUGMENTATIONS,
  TokenIds,
  TokenTransform,
  describe_rows,
)
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

TABLES = (AUGMENTATIONS, TOKEN_AUGMENTATIONS, MIXTURES)
"""All augmentations: those of images, of token ids, and of pairs of images."""

MIXTURE_SLOT = 2**32 - 1
"""Folded into the key of mixtures; no example has this slot."""


def compose(
  settings: Mapping[str, Array | float | int | bool],
  token_ids: TokenIds | None = None,
) -> Callable[[Array, Batch], Batch] | None:
  """Composes the augmentations that `settings` enables.

  Args:
    settings: a number or a switch by name, from `TABLES`; an absent name is
      off. A Python 0 or False compiles to nothing; an array or a tracer is a
      value, whose range is not checked while tracing, and 0 leaves inputs
      unchanged. If both mixtures are enabled, each pair of examples gets one of
      them at random.
    token_ids: of the vocabulary, for augmentations of token ids.

  Returns:
    `(key, batch) -> batch`, or None if every augmentation is off.
    `batch["slot"]`, int32 `[B]`, holds the positions in the global batch, by
    default 0 to B - 1. Each example gets a key of its own from its slot, so
    the result is the same on any number of devices. Augmentations of images
    change `image`, those of token ids `input_ids`. A mixture adds
    `partner_label` and `share`, float32 `[B]`, the weight of `label`.

  Raises:
    UserError: an unknown name or a value out of range.
  """
  for name in settings:
    lookup(functools.reduce(operator.or_, TABLES), name, "augmentation")
  chain = _chain(AUGMENTATIONS, settings)
  token_chain = _chain(TOKEN_AUGMENTATIONS, settings)
  mixtures = [make(value) for value, _, make in _enabled(MIXTURES, settings)]
  if not chain and not token_chain and not mixtures:
    return None

  def augment(key: Array, batch: Batch) -> Batch:
    if token_chain:
      batch = _augment_tokens(token_chain, key, batch, token_ids or TokenIds())
    if not chain and not mixtures:
      return batch
    _check_images(batch, mixing=bool(mixtures))
    images = batch["image"]
    slots = _slots(batch, images)
    if chain:
      transform = functools.partial(_transform, chain)
      images = jax.vmap(transform, (None, 0, 0))(key, slots, images)
      batch = {**batch, "image": images}
    return _mix(mixtures, key, batch, slots) if mixtures else batch

  return augment


def _chain(table: Mapping[str, tuple], settings: Mapping[str, Any]) -> list:
  """Returns the functions of the entries that are not off."""
  return [
    make(value) if is_static(value) else _unless(value, off, make(value))
    for value, off, make in _enabled(table, settings)
  ]


def _slots(batch: Batch, rows: Array) -> Array:
  return batch["slot"] if "slot" in batch else jnp.arange(len(rows))


def _enabled(table: Mapping[str, tuple], settings: Mapping[str, Any]) -> list:
  """Returns `(value, off value, make)` of the entries that are not off."""
  entries = []
  for name, (off, make) in table.items():
    value = settings.get(name, off)
    if not is_static(value) or value != off:
      entries.append((value, off, make))
  return entries


def _unless(
  value: Array, off: float, function: Callable[..., Array]
) -> Callable[..., Array]:
  """Returns `function`, or the identity if the traced `value` is `off`."""

  def apply(key: Array, example: Array, *rest: Any) -> Array:
    return jnp.where(value == off, example, function(key, example, *rest))

  return apply


def _transform(
  chain: Sequence[Transform | TokenTransform],
  key: Array,
  slot: Array,
  example: Array,
  *rest: Any,
) -> Array:
  """Applies the chain to one example, with keys derived from its slot."""
  keys = jax.random.split(jax.random.fold_in(key, slot), len(chain))
  for function, function_key in zip(chain, keys, strict=True):
    example = function(function_key, example, *rest)
  return example


def _augment_tokens(
  chain: Sequence[TokenTransform], key: Array, batch: Batch, token_ids: TokenIds
) -> Batch:
  """Applies the chain to the token ids of every example."""
  if "input_ids" not in batch:
    raise UserError(
      f"expected a batch with token ids for {', '.join(TOKEN_AUGMENTATIONS)}",
      f"got {', '.join(sorted(batch))}",
      "set them to 0",
    )
  ids = jnp.asarray(batch["input_ids"])
  rows = describe_rows(batch, token_ids)

  def transform(slot: Array, ids: Array, fixed: Array, group: Array) -> Array:
    row = rows._replace(fixed=fixed, group=group)
    return _transform(chain, key, slot, ids, row)

  ids = jax.vmap(transform)(_slots(batch, ids), ids, rows.fixed, rows.group)
  return {**batch, "input_ids": ids}


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


def _check_images(batch: Batch, mixing: bool) -> None:
  names = ", ".join(sorted(batch))
  if "image" not in batch:
    raise UserError(
      "expected a batch with images to augment",
      f"got {names}",
      "set every augmentation of images to 0",
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
