"""Decoding states whose logits depend on the tokens before.

Each function takes a `DecodingState` and returns one, for `generate`,
`beam_search` and `stream`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.generation import validation
from dlcore.generation.decoding_state import DecodingState
from dlcore.typing import Array


def penalize_repetition(
  state: DecodingState, repetition_penalty: float | Array
) -> DecodingState:
  """Returns a state that makes the tokens of a sequence less probable.

  The logits of all tokens that occur in the prompt or have been generated are
  divided by the penalty if they are positive, and otherwise multiplied by it
  (Keskar et al. 2019, arXiv:1909.05858, section 4.1, as in Hugging Face
  transformers).

  Args:
    state: the state to decode from.
    repetition_penalty: above 0. 1 changes nothing, less than 1 makes repetition
      more probable. May be traced.

  Raises:
    UserError: the penalty is out of range.
  """
  validation.check_number(
    "a finite repetition_penalty > 0",
    repetition_penalty,
    validation.SMALLEST,
    validation.LARGEST,
  )

  def step(cache, ids):
    inner, seen = cache
    rows = jnp.arange(ids.shape[0])
    seen = seen.at[rows, ids].set(True)
    inner, logits = state.step(inner, ids)
    factor = jnp.where(logits > 0, 1 / repetition_penalty, repetition_penalty)
    return (inner, seen), jnp.where(seen, logits * factor, logits)

  prompt = _prompt(state)
  shape = (prompt.shape[0], _vocab_size(state))
  rows = jnp.arange(shape[0])[:, None]
  # An index out of bounds is dropped; a negative one would count from the end.
  columns = jnp.where(prompt < 0, shape[1], prompt)
  seen = jnp.zeros(shape, bool).at[rows, columns].set(True, mode="drop")
  return _with_history(state, step, seen)


def forbid_repeated_ngrams(
  state: DecodingState, no_repeat_ngram_size: int
) -> DecodingState:
  """Returns a state that generates no n-gram of a sequence again.

  A token that would complete an n-gram of the prompt or of the generated tokens
  gets a logit of -inf (Paulus et al. 2018, arXiv:1705.04304, section 2.5).

  Args:
    state: the state to decode from.
    no_repeat_ngram_size: n, at least 1.

  Raises:
    UserError: it is not an integer of at least 1.
  """
  validation.check_positive_integer(
    "no_repeat_ngram_size", no_repeat_ngram_size
  )
  prompt, size = _prompt(state), no_repeat_ngram_size
  if size >= prompt.shape[1] + state.max_new_tokens:
    return state  # No sequence is long enough for two.
  vocab_size = _vocab_size(state)

  def step(cache, ids):
    inner, (history, length) = cache
    history = history.at[:, length[0]].set(ids)
    inner, logits = state.step(inner, ids)
    last = lax.dynamic_slice_in_dim(history, length[0] - size + 2, size - 1, 1)
    follows = _follows(history, last, size)
    columns = jnp.where(follows, history[:, size - 1 :], vocab_size)
    rows = jnp.arange(ids.shape[0])[:, None]
    logits = logits.at[rows, columns].set(-jnp.inf, mode="drop")
    return (inner, (history, length + 1)), logits

  # The first step appends the last token of the prompt. In front, n tokens of
  # padding make room for the n - 1 tokens before a short prompt.
  length = size + prompt.shape[1] - 1
  history = jnp.pad(
    prompt[:, :-1],
    ((0, 0), (size, 1 + state.max_new_tokens)),
    constant_values=-1,
  )
  lengths = jnp.full(prompt.shape[0], length)
  return _with_history(state, step, (history, lengths))


def _follows(history: Array, last: Array, size: int) -> Array:
  """Returns where an n-gram ends that begins with `last`, bool `[B, S]`.

  Args:
    history: int `[B, L]`, -1 for padding.
    last: int `[B, n - 1]`, the latest tokens.
    size: n.
  """
  count = history.shape[1] - size + 1
  follows = history[:, size - 1 :] >= 0
  for i in range(size - 1):
    same = history[:, i : i + count] == last[:, i, None]
    follows &= same & (last[:, i, None] >= 0)
  return follows


def _with_history(
  state: DecodingState, step: Any, history: Any
) -> DecodingState:
  """Returns `state` with `history`, arrays `[B, ...]`, next to its cache."""

  def take_rows(cache, rows):
    inner, history = cache
    taken = jax.tree.map(lambda leaf: jnp.take(leaf, rows, 0), history)
    return state.take_rows(inner, rows), taken

  return state._replace(
    step=step, cache=(state.cache, history), take_rows=take_rows
  )


def _prompt(state: DecodingState) -> Array:
  return state.ids[:, None] if state.prompt is None else state.prompt


def _vocab_size(state: DecodingState) -> int:
  _, logits = jax.eval_shape(state.step, state.cache, state.ids)
  return logits.shape[-1]
