"""Beam search."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.errors import UserError
from dlcore.generation import validation
from dlcore.generation.decoding_state import DecodingState, suppress
from dlcore.generation.sampling import is_eos
from dlcore.typing import Array, PyTree

LARGEST_DIVISOR = 1e30
"""Upper bound of `max_new_tokens ** length_penalty`. Scores, float32, do not
underflow to equal values for log-probabilities below -1e-7."""


class Beams(NamedTuple):
  """Sequences in order of decreasing score, G of them per prompt."""

  ids: Array
  """Int32 `[B, G, max_new_tokens]`, padded at the end."""

  lengths: Array
  """Int32 `[B, G]`: the number of tokens, including the end-of-sequence id."""

  scores: Array
  """Float32 `[B, G]`: the log-probability divided by
  `length ** length_penalty`, or -inf where the search found fewer than
  `num_beams` sequences."""


class _Alive(NamedTuple):
  """Unfinished sequences, which the next step extends."""

  cache: PyTree
  """The cache of `B * G` sequences."""

  ids: Array
  """Int32 `[B, G, max_new_tokens]`."""

  last: Array
  """Int32 `[B, G]`, the input of the next step."""

  scores: Array
  """Float32 `[B, G]`, log-probabilities."""


def beam_search(
  state: DecodingState,
  *,
  num_beams: int = 4,
  length_penalty: float = 1.0,
  eos_ids: Sequence[int] = (),
  pad_id: int = 0,
  suppress_tokens: Sequence[int] = (),
) -> Beams:
  """Searches for the sequences with the highest scores.

  Each step extends the `num_beams` most probable unfinished sequences. The
  search ends when none of them can exceed the scores of the finished ones.

  Args:
    state: the state to decode from, see `prefill`.
    num_beams: the number of unfinished sequences that are kept, and of
      sequences that are returned per prompt, G.
    length_penalty: exponent of the length that divides log-probabilities, at
      least 0, with `max_new_tokens ** length_penalty` up to 1e30. With 0 the
      search prefers short sequences (Wu et al. 2016, arXiv:1609.08144,
      section 7, with the length for its length plus 5).
    eos_ids: ids that end a sequence and belong to it.
    pad_id: the id after the end of a sequence, an integer.
    suppress_tokens: ids that are never generated.

  Raises:
    UserError: an argument is out of range, or one of `eos_ids` or
      `suppress_tokens` outside of the vocabulary.
  """
  validation.check_positive_integer("num_beams", num_beams)
  validation.check_number(
    "a finite length_penalty >= 0", length_penalty, 0, validation.LARGEST
  )
  validation.token_id("pad_id", pad_id)
  eos = validation.token_ids("eos_ids", eos_ids)
  _check_beams(state, num_beams)
  state = suppress(state, suppress_tokens)
  batch, length = state.ids.shape[0], state.max_new_tokens
  _check_divisor(length, length_penalty)
  largest_divisor = float(length) ** length_penalty

  def unfinished(carry):
    t, alive, finished = carry
    # Log-probabilities only decrease, and the largest divisor bounds them.
    bound = alive.scores.max(1) / largest_divisor
    return (t < length) & (bound > finished.scores.min(1)).any()

  def body(carry):
    t, alive, finished = carry
    parents, candidates = _extend(state, alive, t, eos)
    ended = is_eos(candidates.last, eos)
    scores = candidates.scores / (t + 1.0) ** length_penalty
    new = Beams(
      jnp.where(jnp.arange(length) > t, pad_id, candidates.ids),
      jnp.full(ended.shape, t + 1),
      jnp.where(ended, scores, -jnp.inf),
    )
    finished = _best(finished, new, num_beams)
    scores, chosen = lax.top_k(
      jnp.where(ended, -jnp.inf, candidates.scores), num_beams
    )
    ids, last, parents = (
      _take(x, chosen) for x in (candidates.ids, candidates.last, parents)
    )
    rows = jnp.arange(batch)[:, None] * num_beams + parents
    cache = state.take_rows(candidates.cache, rows.reshape(-1))
    return t + 1, _Alive(cache, ids, last, scores), finished

  alive = _initial(state, num_beams, pad_id)
  finished = Beams(
    alive.ids,
    jnp.zeros((batch, num_beams), jnp.int32),
    jnp.full((batch, num_beams), -jnp.inf),
  )
  carry = (0, alive, finished)
  _, alive, finished = lax.while_loop(unfinished, body, carry)
  truncated = Beams(
    alive.ids,
    jnp.full((batch, num_beams), length),
    alive.scores / largest_divisor,
  )
  return _best(finished, truncated, num_beams)


def _check_beams(state: DecodingState, num_beams: int) -> None:
  """Checks that the candidates of a step have int32 indices."""
  _, logits = jax.eval_shape(state.step, state.cache, state.ids)
  most = np.iinfo(np.int32).max // logits.shape[-1]
  if num_beams > most:
    raise UserError(
      f"expected num_beams of at most {most:,} with a vocabulary of "
      f"{logits.shape[-1]:,} ids",
      f"got {num_beams}",
    )


def _check_divisor(length: int, length_penalty: float) -> None:
  """Checks that scores of sequences of the maximum length do not underflow."""
  largest = math.log(LARGEST_DIVISOR) / math.log(max(length, 2))
  validation.check_number(
    f"length_penalty <= {largest:.4g} with max_new_tokens={length}",
    length_penalty,
    0,
    largest,
  )


def _initial(state: DecodingState, num_beams: int, pad_id: int) -> _Alive:
  batch = state.ids.shape[0]
  rows = jnp.repeat(jnp.arange(batch), num_beams)
  shape = (batch, num_beams, state.max_new_tokens)
  # All beams of a prompt are equal at first, so one of them is extended.
  scores = jnp.where(jnp.arange(num_beams) == 0, 0.0, -jnp.inf)
  return _Alive(
    state.take_rows(state.cache, rows),
    jnp.full(shape, pad_id, jnp.int32),
    jnp.repeat(state.ids[:, None], num_beams, 1),
    jnp.tile(scores, (batch, 1)),
  )


def _extend(
  state: DecodingState, alive: _Alive, t: Array, eos_ids: Array | np.ndarray
) -> tuple[Array, _Alive]:
  """Returns the C best sequences that are one token longer.

  C is `num_beams * (1 + len(eos_ids))`, at most all of them, so at least
  `num_beams` candidates do not end, even if every beam can end by every id.

  Returns:
    The beam that each candidate extends, int `[B, C]`, and the candidates,
    with the cache of the beams, not yet of the candidates.
  """
  batch, num_beams = alive.scores.shape
  cache, logits = state.step(alive.cache, alive.last.reshape(-1))
  vocab_size = logits.shape[-1]
  validation.check_in_vocabulary("eos_ids", eos_ids, vocab_size)
  log_probs = jax.nn.log_softmax(logits.astype(jnp.float32))
  scores = alive.scores[..., None] + log_probs.reshape(batch, num_beams, -1)
  count = num_beams * min(1 + len(eos_ids), vocab_size)
  scores, index = lax.top_k(scores.reshape(batch, -1), count)
  parents, token = index // vocab_size, index % vocab_size
  ids = _take(alive.ids, parents).at[:, :, t].set(token)
  return parents, _Alive(cache, ids, token, scores)


def _best(first: Beams, second: Beams, count: int) -> Beams:
  """Returns the `count` best of both; ties go to `first`."""
  both = Beams(
    *(jnp.concatenate(pair, 1) for pair in zip(first, second, strict=True))
  )
  scores, chosen = lax.top_k(both.scores, count)
  return Beams(_take(both.ids, chosen), _take(both.lengths, chosen), scores)


def _take(x: Array, chosen: Array) -> Array:
  """Returns the entries `[B, M]` of each row of `[B, N, ...]`."""
  return jax.vmap(lambda x, i: x[i])(x, chosen)
