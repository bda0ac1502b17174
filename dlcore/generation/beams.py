"""Beam search: several beginnings at a time."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from dlcore.generation import checks
from dlcore.generation.sampling import stops
from dlcore.generation.start import Start
from dlcore.typing import Array, PyTree


class Beams(NamedTuple):
  """Likely texts, the best first."""

  ids: Array
  """Int32 `[B, beams, length]`, padded at the end."""

  lengths: Array
  """Int32 `[B, beams]`: the number of tokens, with the one that stops."""

  scores: Array
  """Float32 `[B, beams]`: log-probability over a power of the length. It is
  -inf where fewer texts than beams were found."""


class Alive(NamedTuple):
  """Beginnings that go on."""

  state: PyTree
  """What the model remembers of `B * beams` texts."""

  ids: Array
  """Int32 `[B, beams, length]`."""

  last: Array
  """Int32 `[B, beams]`, the token that the next step is given."""

  scores: Array
  """Float32 `[B, beams]`, log-probabilities."""


def beam_search(
  start: Start,
  *,
  beams: int = 4,
  power: float = 1.0,
  stop: Sequence[int] = (),
  pad: int = 0,
) -> Beams:
  """Looks for texts that are likely as a whole.

  The likeliest beginnings go on, and those that stop are set aside. It ends
  where none that goes on can become better than what is set aside.

  Args:
    start: after what, see `after_prompt` and `after_source`.
    beams: how many beginnings go on, and how many texts come out.
    power: of the length, which log-probabilities are divided by; not
      negative. At 0 texts come out short (Wu et al. 2016, arXiv:1609.08144,
      section 7, with the length itself for its length plus 5).
    stop: ids that end a text, and belong to it.
    pad: the id after the end of a text.

  Raises:
    UserError: a number or an id is out of range.
  """
  checks.count("at least 1 beam", beams)
  checks.number("a power that is not negative", power, 0, checks.LARGEST)
  checks.some_ids("pad", pad)
  stop_ids = checks.some_ids("stop", stop)
  batch, length = len(start.ids), start.length
  most = float(length) ** power

  def unfinished(carry):
    t, alive, aside = carry
    # Log-probabilities only fall; over the greatest length they fall least.
    hope = alive.scores.max(1) / most
    return (t < length) & (hope > aside.scores.min(1)).any()

  def body(carry):
    t, alive, aside = carry
    state, parent, found = _candidates(start, alive, t, stop_ids)
    ended = stops(found.last, stop_ids)
    scores = found.scores / (t + 1.0) ** power
    stopped = Beams(
      jnp.where(jnp.arange(length) > t, pad, found.ids),
      jnp.full(ended.shape, t + 1),
      jnp.where(ended, scores, -jnp.inf),
    )
    aside = _best(aside, stopped, beams)
    going = found._replace(scores=jnp.where(ended, -jnp.inf, found.scores))
    scores, chosen = lax.top_k(going.scores, beams)
    ids, last, parent = (_take(x, chosen) for x in (*found[1:3], parent))
    rows = jnp.arange(batch)[:, None] * beams + parent
    state = start.rows(state, rows.reshape(-1))
    return t + 1, Alive(state, ids, last, scores), aside

  alive = _begun(start, beams, pad)
  aside = Beams(
    alive.ids,
    jnp.zeros((batch, beams), jnp.int32),
    jnp.full((batch, beams), -jnp.inf),
  )
  carry = (0, alive, aside)
  _, alive, aside = lax.while_loop(unfinished, body, carry)
  cut = Beams(alive.ids, jnp.full((batch, beams), length), alive.scores / most)
  return _best(aside, cut, beams)


def _begun(start: Start, beams: int, pad: int) -> Alive:
  batch = len(start.ids)
  state = start.rows(start.state, jnp.repeat(jnp.arange(batch), beams))
  ids = jnp.full((batch, beams, start.length), pad, jnp.int32)
  last = jnp.repeat(start.ids[:, None], beams, 1)
  # All begin alike, so all but one are out.
  scores = jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf)
  return Alive(state, ids, last, jnp.tile(scores, (batch, 1)))


def _candidates(
  start: Start, alive: Alive, t: Array, stop: Array | np.ndarray
) -> tuple[PyTree, Array, Alive]:
  """Returns the likeliest that are one token longer, C of them.

  As many as may all stop and still leave enough that go on.
  """
  batch, beams = alive.scores.shape
  state, logits = start.step(alive.state, alive.last.reshape(-1))
  checks.in_vocabulary("stop", stop, logits.shape[-1])
  chances = jax.nn.log_softmax(logits.astype(jnp.float32))
  scores = alive.scores[..., None] + chances.reshape(batch, beams, -1)
  vocabulary = scores.shape[-1]
  count = beams * min(1 + len(stop), vocabulary)
  scores, place = lax.top_k(scores.reshape(batch, -1), count)
  parent, token = place // vocabulary, place % vocabulary
  ids = _take(alive.ids, parent).at[:, :, t].set(token)
  return state, parent, Alive(state, ids, token, scores)


def _best(first: Beams, second: Beams, count: int) -> Beams:
  """Returns the best of both, of equal ones the first."""
  both = Beams(
    *(jnp.concatenate(pair, 1) for pair in zip(first, second, strict=True))
  )
  scores, chosen = lax.top_k(both.scores, count)
  return Beams(_take(both.ids, chosen), _take(both.lengths, chosen), scores)


def _take(x: Array, chosen: Array) -> Array:
  """Returns of `[B, N, ...]` the entries `[B, M]` of each row."""
  return jax.vmap(lambda x, i: x[i])(x, chosen)
