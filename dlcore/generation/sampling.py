"""Token-by-token generation: greedy decoding and random sampling."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.errors import UserError
from dlcore.generation import validation
from dlcore.generation.decoding_state import DecodingState, suppress
from dlcore.typing import Array, PyTree

Sampler = Callable[[Array, Array], Array]
"""`(key, logits [V]) -> id`, for one sequence."""


class GenerateOutput(NamedTuple):
  """Generated tokens, without the prompts."""

  ids: Array
  """Int32 `[B, max_new_tokens]`, padded at the end."""

  lengths: Array
  """Int32 `[B]`: the number of tokens, including the end-of-sequence id."""


def generate(
  state: DecodingState,
  *,
  sampler: Sampler | None = None,
  key: Array | None = None,
  eos_ids: Sequence[int] = (),
  pad_id: int = 0,
  suppress_tokens: Sequence[int] = (),
) -> GenerateOutput:
  """Generates tokens until every sequence ends or `max_new_tokens` is reached.

  Every sequence has its own random key, so the output for one prompt does not
  depend on the others of the batch.

  Args:
    state: the state to decode from, see `prefill`.
    sampler: chooses the next token from its logits, `greedy` by default. See
      `sampling`.
    key: random key; required unless the sampler is `greedy`.
    eos_ids: ids that end a sequence and belong to it; those of a published
      folder are `transfer.load_tokenizer(folder).eos_ids`.
    pad_id: the id after the end of a sequence, an integer.
    suppress_tokens: ids that are never generated.

  Raises:
    UserError: the key is missing, `sampler` is not a sampler, or one of
      `eos_ids` or `suppress_tokens` is outside of the vocabulary.
  """
  start = begin(
    state,
    sampler=sampler,
    key=key,
    eos_ids=eos_ids,
    pad_id=pad_id,
    suppress_tokens=suppress_tokens,
  )
  batch, length = state.ids.shape[0], state.max_new_tokens

  def unfinished(carry):
    t, progress, *_ = carry
    return (t < length) & ~progress.finished.all()

  def body(carry):
    t, progress, ids, lengths = carry
    lengths += ~progress.finished
    progress = start.advance(t, progress)
    return t + 1, progress, ids.at[:, t].set(progress.ids), lengths

  ids = jnp.full((batch, length), pad_id, jnp.int32)
  carry = (0, start.progress, ids, jnp.zeros(batch, jnp.int32))
  _, _, ids, lengths = lax.while_loop(unfinished, body, carry)
  return GenerateOutput(ids, lengths)


class Progress(NamedTuple):
  """Sequences between two steps."""

  cache: PyTree
  """That of `DecodingState`."""

  ids: Array
  """Int32 `[B]`, the latest tokens, the input of the next step."""

  finished: Array
  """Bool `[B]`, whether the sequences have ended."""


class Start(NamedTuple):
  """The first progress, and the function of a step."""

  progress: Progress
  advance: Callable[[Array, Progress], Progress]
  """`(number of the step, progress) -> progress` with the next tokens, which
  are padding in sequences that had ended."""


def begin(
  state: DecodingState,
  *,
  sampler: Sampler | None,
  key: Array | None,
  eos_ids: Sequence[int],
  pad_id: int,
  suppress_tokens: Sequence[int],
) -> Start:
  """Returns the start of a generation; see `generate` for the arguments."""
  sampler = _check_sampler(sampler, key)
  validation.token_id("pad_id", pad_id)
  eos = validation.token_ids("eos_ids", eos_ids)
  state = suppress(state, suppress_tokens)
  key = jax.random.key(0) if key is None else key
  batch = state.ids.shape[0]
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch))

  def advance(t: Array, progress: Progress) -> Progress:
    cache, logits = state.step(progress.cache, progress.ids)
    validation.check_in_vocabulary("eos_ids", eos, logits.shape[-1])
    step_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
    ids = jax.vmap(sampler)(step_keys, logits).astype(jnp.int32)
    ids = jnp.where(progress.finished, pad_id, ids)
    return Progress(cache, ids, progress.finished | is_eos(ids, eos))

  return Start(
    Progress(state.cache, state.ids, jnp.zeros(batch, bool)), advance
  )


def _check_sampler(sampler: Any, key: Array | None) -> Sampler:
  """Returns the sampler, `greedy` by default."""
  sampler = greedy if sampler is None else sampler
  if not callable(sampler) or sampler is sampling:
    raise UserError(
      "expected sampler to be a function (key, logits) -> id",
      f"got {'sampling itself' if sampler is sampling else repr(sampler)}",
      "call generation.sampling(...), or leave it out for greedy decoding",
    )
  if sampler is not greedy and key is None:
    raise UserError(
      "expected a key for the sampler",
      "got key=None, with which every call would return the same tokens",
      "pass key=jax.random.key(seed)",
    )
  return sampler


def is_eos(ids: Array, eos_ids: Array | np.ndarray) -> Array:
  """Returns whether each id ends a sequence, bool of the shape of `ids`."""
  return jnp.isin(ids, jnp.asarray(eos_ids, jnp.int32))


def greedy(key: Array, logits: Array) -> Array:
  """Returns the id of the largest logit; the key is not used."""
  del key
  return jnp.argmax(logits)


def sampling(
  *,
  temperature: float | Array = 1.0,
  top_k: int | None = None,
  top_p: float | Array | None = None,
  min_p: float | Array | None = None,
) -> Sampler:
  """Returns a sampler of the categorical distribution of the logits.

  Args:
    temperature: divisor of the logits, above 0. May be traced.
    top_k: samples from the `top_k` tokens of highest probability, from all by
      default (Fan et al. 2018, arXiv:1805.04833).
    top_p: of those, samples from the smallest set of the most probable tokens
      whose total probability is at least `top_p`, above 0 and at most 1
      (Holtzman et al. 2020, arXiv:1904.09751). May be traced.
    min_p: of those, samples from the tokens whose probability is at least
      `min_p` times that of the most probable one, from 0 to 1 (Nguyen et al.
      2024, arXiv:2407.01082). May be traced.

  Raises:
    UserError: an argument is out of range.
  """
  smallest = validation.SMALLEST
  validation.check_number(
    "temperature > 0", temperature, smallest, float("inf")
  )
  if top_k is not None:
    validation.check_positive_integer("top_k", top_k)
  if top_p is not None:
    validation.check_number("0 < top_p <= 1", top_p, smallest, 1)
  if min_p is not None:
    validation.check_number("0 <= min_p <= 1", min_p, 0, 1)

  def sampler(key: Array, logits: Array) -> Array:
    size = min(top_k or logits.size, logits.size)
    values, ids = lax.top_k(logits / temperature, size)
    if top_p is not None:
      probabilities = jax.nn.softmax(values)
      preceding = jnp.cumsum(probabilities) - probabilities
      values = jnp.where(preceding < top_p, values, -jnp.inf)
    if min_p is not None:
      # Of probabilities, since their quotient needs no softmax.
      likely = jnp.exp(values - values[0]) >= min_p
      values = jnp.where(likely, values, -jnp.inf)
    return ids[jax.random.categorical(key, values)]

  return sampler
