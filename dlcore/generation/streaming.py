"""Generation that yields every token as soon as it is known."""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.generation.decoding_state import DecodingState
from dlcore.generation.sampling import Progress, Sampler, begin
from dlcore.typing import Array, PyTree


def stream(
  prepare: Callable[[PyTree], DecodingState],
  variables: PyTree,
  *,
  sampler: Sampler | None = None,
  key: Array | None = None,
  eos_ids: Sequence[int] = (),
  pad_id: int = 0,
  suppress_tokens: Sequence[int] = (),
) -> Iterator[np.ndarray]:
  """Yields the tokens of `generate` one by one, from two compiled programs.

  Example: `stream(lambda v: prefill(model, v, ids, max_new_tokens=20),
  variables)`.

  Args:
    prepare: `variables -> state`, a pure function; it is traced for the first
      state and again for the step.
    variables: of the model, arguments of the programs.
    sampler: see `generate`, as for the next ones.
    key: random key.
    eos_ids: ids that end a sequence.
    pad_id: the id after the end of a sequence.
    suppress_tokens: ids that are never generated.

  Yields:
    int32 `[B]`, the next token of every sequence, until all have ended or
    `max_new_tokens` is reached.

  Raises:
    UserError: see `generate`; from the first token.
  """

  def start(variables: PyTree):
    state = prepare(variables)
    return begin(
      state,
      sampler=sampler,
      key=key,
      eos_ids=eos_ids,
      pad_id=pad_id,
      suppress_tokens=suppress_tokens,
    ), jnp.int32(state.max_new_tokens)

  @jax.jit
  def first(variables: PyTree) -> tuple[Progress, Array]:
    begun, count = start(variables)
    return begun.progress, count

  @jax.jit
  def advance(variables: PyTree, t: int, progress: Progress) -> Progress:
    # The compiler removes the first state, of which only the step is used.
    return start(variables)[0].advance(t, progress)

  progress, count = first(variables)
  for t in range(int(count)):
    progress = advance(variables, t, progress)
    yield np.asarray(progress.ids)
    if bool(progress.finished.all()):
      return
