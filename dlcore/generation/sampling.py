"""One token after another: the likeliest, or at random."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.errors import UserError
from dlcore.generation import checks
from dlcore.generation.start import Start
from dlcore.typing import Array

Choose = Callable[[Array, Array], Array]
"""`(key, logits [V]) -> id`, of one text."""


class Generated(NamedTuple):
  """Texts, without what they go on from."""

  ids: Array
  """Int32 `[B, length]`, padded at the end."""

  lengths: Array
  """Int32 `[B]`: the number of tokens, with the one that stops."""


def generate(
  start: Start,
  *,
  choose: Choose | None = None,
  key: Array | None = None,
  stop: Sequence[int] = (),
  pad: int = 0,
) -> Generated:
  """Takes token after token, until every text has stopped or has no room.

  Every text has its own key, so that it does not depend on the others.

  Args:
    start: after what, see `after_prompt` and `after_source`.
    choose: which token, `greedy` by default.
    key: random key, for choices at random.
    stop: ids that end a text, and belong to it.
    pad: the id after the end of a text.

  Raises:
    UserError: there is a choice, but no key, or an id cannot be.
  """
  choose = greedy if choose is None else choose
  if choose is not greedy and key is None:
    raise UserError(
      "expected a key for the choices",
      "got none: every call would choose the same",
      "give key=jax.random.key(seed)",
    )
  checks.some_ids("pad", pad)
  stop_ids = checks.some_ids("stop", stop)
  key = jax.random.key(0) if key is None else key
  batch = len(start.ids)
  keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch))

  def unfinished(carry):
    t, *_, done = carry
    return (t < start.length) & ~done.all()

  def body(carry):
    t, state, token, ids, lengths, done = carry
    state, logits = start.step(state, token)
    checks.in_vocabulary("stop", stop_ids, logits.shape[-1])
    fresh = jax.vmap(jax.random.fold_in, (0, None))(keys, t)
    token = jax.vmap(choose)(fresh, logits).astype(jnp.int32)
    token = jnp.where(done, pad, token)
    ids = ids.at[:, t].set(token)
    lengths += ~done
    return t + 1, state, token, ids, lengths, done | stops(token, stop_ids)

  ids = jnp.full((batch, start.length), pad, jnp.int32)
  lengths, done = jnp.zeros(batch, jnp.int32), jnp.zeros(batch, bool)
  carry = (0, start.state, start.ids, ids, lengths, done)
  _, _, _, ids, lengths, _ = lax.while_loop(unfinished, body, carry)
  return Generated(ids, lengths)


def stops(token: Array, stop: Array | np.ndarray) -> Array:
  """Tells which tokens, of any shape, end a text."""
  return jnp.isin(token, jnp.asarray(stop, jnp.int32))


def greedy(key: Array, logits: Array) -> Array:
  """Chooses the likeliest token; the key is not used."""
  del key
  return jnp.argmax(logits)


def sampling(
  *,
  temperature: float | Array = 1.0,
  top_k: int | None = None,
  top_p: float | Array | None = None,
) -> Choose:
  """Returns a choice at random, among the likelier tokens only.

  Args:
    temperature: what logits are divided by, above 0.
    top_k: how many of the likeliest tokens there are to choose from; all by
      default (Fan et al. 2018, arXiv:1805.04833).
    top_p: the least probability that, of those, the fewest likeliest have
      together that there are to choose from, above 0 and up to 1 (Holtzman
      et al. 2020, arXiv:1904.09751). It and `temperature` may be traced.

  Raises:
    UserError: a number is out of range.
  """
  above = checks.SMALLEST
  checks.number("a temperature above 0", temperature, above, float("inf"))
  if top_k is not None:
    checks.count("a top_k of at least 1, of whole numbers", top_k)
  if top_p is not None:
    checks.number("a top_p above 0 and up to 1", top_p, above, 1)

  def choose(key: Array, logits: Array) -> Array:
    size = min(top_k or logits.size, logits.size)
    values, ids = lax.top_k(logits / temperature, size)
    if top_p is not None:
      chances = jax.nn.softmax(values)
      before = jnp.cumsum(chances) - chances
      values = jnp.where(before < top_p, values, -jnp.inf)
    return ids[jax.random.categorical(key, values)]

  return choose
