"""Prefill: from a model and its prompts to the first decoding step."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.generation import validation
from dlcore.typing import Array, PyTree


class DecodingState(NamedTuple):
  """A model with a filled cache, before its first generated token."""

  step: Callable[[PyTree, Array], tuple[PyTree, Array]]
  """`(cache, ids [B]) -> (cache, logits [B, V])`: appends `ids` to the
  sequences and returns the logits of the tokens after them."""

  cache: PyTree
  """Arrays that a step reads and updates: keys and values or recurrent
  carries, and the encoder's output."""

  ids: Array
  """Int32 `[B]`, the input of the first step."""

  max_new_tokens: int
  """The number of steps that the cache has room for."""

  take_rows: Callable[[PyTree, Array], PyTree]
  """`(cache, rows [N]) -> cache` of these sequences."""

  prompt: Array | None = None
  """Int32 `[B, T]`, the tokens before the first generated one, of which `ids`
  are the last; -1 for padding, which precedes them. None for `ids` alone."""


def prefill(
  model: Any,
  variables: PyTree,
  input_ids: Array,
  *,
  attention_mask: Array | None = None,
  max_new_tokens: int,
  decoder_start_id: int | None = None,
) -> DecodingState:
  """Runs the model over the prompts in one call and fills its cache.

  A decoder-only model, such as `models.GPT2`, continues the prompts. An
  encoder-decoder, such as `models.Transformer`, encodes them and generates
  target sequences that start with `decoder_start_id`.

  Args:
    model: called as `(input_ids, attention_mask=, train=, decode=)`, or a
      model with the methods `encode` and `decode`.
    variables: variables of the model.
    input_ids: int `[B, T]`.
    attention_mask: `[B, T]`, 1 for kept tokens, all by default. Padding may
      be on either side and does not change the output.
    max_new_tokens: the largest number of tokens to generate.
    decoder_start_id: the id before the first target token, for
      encoder-decoders only. Marian starts with its `pad_id` and must not
      generate it: pass `suppress_tokens=(pad_id,)` to `generate`. For published
      folders, `transfer.load_special_ids` returns all of these ids.

  Raises:
    UserError: an argument has the wrong type, shape or range, the sequences
      exceed the positions of the model, or the model does not predict tokens.
  """
  start_id = validation.start_id(model, decoder_start_id)
  validation.check_predicts_tokens(model)
  validation.check_positive_integer("max_new_tokens", max_new_tokens)
  ids, mask = validation.prompts(model, input_ids, attention_mask)
  if start_id is None:
    return _prefill_decoder(model, variables, ids, mask, max_new_tokens)
  return _prefill_encoder_decoder(
    model, variables, ids, mask, max_new_tokens, start_id
  )


def suppress(
  state: DecodingState, suppress_tokens: Sequence[int]
) -> DecodingState:
  """Returns a state whose steps set the logits of some tokens to -inf.

  Args:
    state: the state to decode from.
    suppress_tokens: ids that are never generated.

  Raises:
    UserError: an id is outside of the vocabulary, or all of it is suppressed.
  """
  suppressed = validation.token_ids("suppress_tokens", suppress_tokens)
  if not suppressed.size:
    return state

  def step(cache, ids):
    cache, logits = state.step(cache, ids)
    validation.check_suppressed(suppressed, logits.shape[-1])
    return cache, logits.at[:, suppressed].set(-jnp.inf)

  return state._replace(step=step)


def _prefill_decoder(
  model: Any,
  variables: PyTree,
  ids: Array,
  mask: Array | None,
  max_new_tokens: int,
) -> DecodingState:
  batch, length = ids.shape
  validation.check_positions(model, length, max_new_tokens)
  if mask is None:
    mask = jnp.ones((batch, length), bool)
  # Padding moves to the left, so that all sequences end in the last column.
  order = jnp.argsort(mask, axis=1, stable=True)
  ids = jnp.take_along_axis(ids, order, 1)
  mask = jnp.take_along_axis(mask, order, 1)

  def apply(cache, ids, mask=None):
    return _apply(model, variables, cache, ids, attention_mask=mask)

  def cache_shapes(batch):
    longest = jnp.zeros((batch, length + max_new_tokens - 1), jnp.int32)
    return jax.eval_shape(lambda: apply(None, longest)[0])

  def step(cache, ids):
    cache, logits = apply(cache, ids[:, None])
    return cache, logits[:, 0]

  shapes = cache_shapes(batch)
  cache = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
  if length > 1:
    cache, _ = apply(cache, ids[:, :-1], mask[:, :-1])
  return DecodingState(
    step,
    cache,
    ids[:, -1],
    max_new_tokens,
    _take_rows(cache_shapes),
    jnp.where(mask, ids, -1),
  )


def _prefill_encoder_decoder(
  model: Any,
  variables: PyTree,
  source: Array,
  mask: Array | None,
  max_new_tokens: int,
  start_id: Array | np.ndarray,
) -> DecodingState:
  def decode(cache, ids, encoded, mask):
    return _apply(model, variables, cache, ids, encoded, mask, method="decode")

  def encode(source, mask):
    encoded = model.apply(
      variables, source, attention_mask=mask, train=False, method="encode"
    )
    ids = jnp.zeros((source.shape[0], max_new_tokens), jnp.int32)
    cache, logits = decode(None, ids, encoded, mask)
    validation.check_in_vocabulary(
      "decoder_start_id", start_id, logits.shape[-1]
    )
    return cache, encoded, mask

  def step(state, ids):
    cache, encoded, mask = state
    cache, logits = decode(cache, ids[:, None], encoded, mask)
    return (cache, encoded, mask), logits[:, 0]

  def cache_shapes(batch):
    inputs = (_with_batch(x, batch) for x in (source, mask))
    return jax.eval_shape(encode, *inputs)

  cache = encode(source, mask)
  ids = jnp.full(source.shape[0], start_id, jnp.int32)
  return DecodingState(
    step, cache, ids, max_new_tokens, _take_rows(cache_shapes)
  )


def _apply(model, variables, cache, *inputs, **settings):
  """Returns the updated cache and the logits; creates the cache if None."""
  variables = {**variables, "cache": cache} if cache else dict(variables)
  logits, updated = model.apply(
    variables, *inputs, **settings, train=False, decode=True, mutable=["cache"]
  )
  return updated["cache"], logits


def _take_rows(cache_shapes: Callable[[int], PyTree]) -> Callable:
  """Returns `take_rows` of caches with these shapes per batch size."""

  def take_rows(cache, rows):
    axes = jax.tree.map(_batch_axis, cache_shapes(1), cache_shapes(2))
    return jax.tree.map(
      lambda leaf, axis: leaf if axis < 0 else jnp.take(leaf, rows, axis),
      cache,
      axes,
    )

  return take_rows


def _batch_axis(one, two) -> int:
  """Returns the axis that differs between batch sizes 1 and 2, or -1."""
  differ = [a != b for a, b in zip(one.shape, two.shape, strict=True)]
  return differ.index(True) if True in differ else -1


def _with_batch(x: Array | None, batch: int) -> jax.ShapeDtypeStruct | None:
  if x is None:
    return None
  return jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
