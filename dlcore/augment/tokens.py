"""Augmentations of token ids: dropout, masking and word order."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from dlcore.augment.pixels import check_range
from dlcore.errors import UserError
from dlcore.typing import Array, Batch

MAX_DISTANCE = 1000


class TokenIds(NamedTuple):
  """The ids of a vocabulary that are not those of text."""

  special: tuple[int, ...] = ()
  """Ids that no augmentation changes or moves, such as padding."""

  unknown: int | None = None
  mask: int | None = None


class TokenRow(NamedTuple):
  """The tokens of an example, besides their ids."""

  fixed: Array
  """Whether a token is special or padding, bool `[T]`."""

  group: Array
  """Ascending int `[T]`; tokens are moved among those of the same group."""

  token_ids: TokenIds

  is_labelled: bool
  """Whether each token has a label, which is not moved with it."""


TokenTransform = Callable[[Array, Array, TokenRow], Array]
"""`(key, ids int [T], row) -> ids` of the same shape and dtype."""


def token_dropout(rate: Array | float) -> TokenTransform:
  """Replaces random tokens by the unknown token.

  The dropout of words of Iyyer et al. 2015, "Deep unordered composition rivals
  syntactic methods for text classification", without a change of the length.

  Args:
    rate: probability of each token, 0 to 1.
  """
  check_range("token_dropout", rate, 0, 1)

  def apply(key: Array, ids: Array, row: TokenRow) -> Array:
    unknown = row.token_ids.unknown
    if unknown is None:
      raise UserError(
        "expected a tokenizer with an unknown token for token_dropout",
        "got one without",
        "use token_masking, or set token_dropout to 0",
      )
    return _replace(key, ids, row, rate, unknown)

  return apply


def token_masking(rate: Array | float) -> TokenTransform:
  """Replaces random tokens by the mask token of the tokenizer.

  Args:
    rate: probability of each token, 0 to 1.
  """
  check_range("token_masking", rate, 0, 1)

  def apply(key: Array, ids: Array, row: TokenRow) -> Array:
    mask = row.token_ids.mask
    if mask is None:
      raise UserError(
        "expected a tokenizer with a mask token, [MASK], for token_masking",
        "got one without",
        "use token_dropout, or set token_masking to 0",
      )
    return _replace(key, ids, row, rate, mask)

  return apply


def word_order(distance: Array | int) -> TokenTransform:
  """Shuffles tokens locally (Lample et al. 2018, arXiv:1711.00043).

  Tokens are sorted by their position plus a random number from 0 to
  `distance` + 1. Special tokens stay in place, and no token passes them.

  Args:
    distance: k, the largest distance that a token moves; 3 in the paper.
  """
  check_range("word_order", distance, 0, MAX_DISTANCE, " tokens")

  def apply(key: Array, ids: Array, row: TokenRow) -> Array:
    if row.is_labelled:
      raise UserError(
        "expected a batch without labels of tokens for word_order",
        "got an array 'labels'",
        "set word_order to 0",
      )
    span = jnp.asarray(distance + 1, jnp.float32)
    rank = jnp.cumsum(~row.fixed) - 1
    noise = jax.random.uniform(key, ids.shape) * span
    sort_key = rank + noise + span * row.group
    order = jnp.argsort(jnp.where(row.fixed, jnp.inf, sort_key))
    return jnp.where(row.fixed, ids, ids[order[rank]])

  return apply


TOKEN_AUGMENTATIONS = {
  "word_order": (0, word_order),
  "token_dropout": (0.0, token_dropout),
  "token_masking": (0.0, token_masking),
}
"""As `compose.AUGMENTATIONS`: name to (off value, `(value) ->
TokenTransform`)."""


def describe_rows(batch: Batch, token_ids: TokenIds) -> TokenRow:
  """Returns the rows of a batch, `[B, T]`.

  Args:
    batch: `input_ids`, optionally with `attention_mask`, `token_type_ids` and
      `segment_ids`.
    token_ids: of the vocabulary.
  """
  ids = jnp.asarray(batch["input_ids"])
  special = [i for i in token_ids.special if i != token_ids.unknown]
  fixed = jnp.isin(ids, jnp.asarray(special, ids.dtype))
  if "attention_mask" in batch:
    fixed |= jnp.asarray(batch["attention_mask"]) == 0
  group = jnp.cumsum(fixed, axis=1)
  for name in ("token_type_ids", "segment_ids"):
    if name in batch:
      group += jnp.asarray(batch[name])
  return TokenRow(fixed, group, token_ids, "labels" in batch)


def _replace(
  key: Array, ids: Array, row: TokenRow, rate: Array | float, new: int
) -> Array:
  """Returns ids of which a share `rate` is `new`."""
  chosen = jax.random.uniform(key, ids.shape) < rate
  return jnp.where(chosen & ~row.fixed, jnp.asarray(new, ids.dtype), ids)
