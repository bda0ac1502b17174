"""Hidden tokens of masked language models (arXiv:1810.04805, section 3.1)."""

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.info import IGNORED, LABELS
from dlcore.typing import Array, Batch

MASKED_LABELS = "masked_labels"
"""Name of the array of the hidden tokens, int `[B, T]`, -100 elsewhere. The
task adds it to a batch."""

MASK_SHARE, RANDOM_SHARE = 0.8, 0.1
"""Shares of the hidden tokens that the mask token and a random token replace.
The others are unchanged, so that the model represents every token."""

MULTIPLIER = np.uint32(0x9E3779B1)
"""Of a hash; odd."""


def hide_tokens(
  key: Array,
  ids: Array,
  maskable: Array,
  *,
  rate: Array | float,
  mask_id: int,
  text_ids: np.ndarray,
) -> tuple[Array, Array]:
  """Hides random tokens of a sequence.

  The tokens do not depend on the length of the padding.

  Args:
    key: of the example.
    ids: int `[T]`.
    maskable: which tokens may be hidden, bool `[T]`.
    rate: probability of each.
    mask_id: id of the mask token.
    text_ids: ids among which a random one is sampled, `[V']`.

  Returns:
    The ids with others in place of the hidden ones, and the hidden ones, int
    `[T]`, -100 elsewhere.
  """
  choice_key, kind_key, token_key = jax.random.split(key, 3)
  hidden = maskable & (jax.random.uniform(choice_key, ids.shape) < rate)
  labels = jnp.where(hidden, ids, IGNORED)
  kind = jax.random.uniform(kind_key, ids.shape)
  new = ids
  if len(text_ids):
    number = jax.random.randint(token_key, ids.shape, 0, len(text_ids))
    sampled = jnp.asarray(text_ids, ids.dtype)[number]
    new = jnp.where(kind < MASK_SHARE + RANDOM_SHARE, sampled, new)
  new = jnp.where(kind < MASK_SHARE, jnp.asarray(mask_id, ids.dtype), new)
  return jnp.where(hidden, new, ids), labels


def with_mask(batch: Batch, ids: Array, pad_id: int | None) -> Batch:
  """Returns a batch that tells tokens from padding.

  Rows of running text have labels at every position that holds a token.
  """
  if "attention_mask" in batch or "segment_ids" in batch:
    return batch
  if LABELS in batch:
    kept = jnp.asarray(batch[LABELS]) != IGNORED
  elif pad_id is not None:
    kept = ids != pad_id
  else:
    return batch
  return {**batch, "attention_mask": kept.astype(jnp.int32)}


def is_token(batch: Batch, ids: Array) -> Array:
  """Returns which positions hold a token, bool `[B, T]`."""
  kept = jnp.ones(ids.shape, bool)
  for name in ("attention_mask", "segment_ids"):
    if name in batch:
      kept &= jnp.asarray(batch[name]) > 0
  return kept


def example_keys(batch: Batch, key: Array, number: str, size: int) -> Array:
  """Returns a key for each example, by its number in the batch's array."""
  numbers = batch[number] if number in batch else jnp.arange(size)
  return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(numbers))


def hash_tokens(ids: Array, kept: Array) -> Array:
  """Returns a hash of the tokens of each row, uint32 `[B]`.

  Args:
    ids: int `[B, T]`.
    kept: which positions hold a token, bool `[B, T]`.
  """
  position = jnp.arange(ids.shape[1], dtype=jnp.uint32)
  factors = MULTIPLIER * (2 * position + 1)
  values = (ids.astype(jnp.uint32) + 1) * factors
  values ^= values >> 15
  return jnp.sum(jnp.where(kept, values * MULTIPLIER, 0), axis=1)
