"""Penalties of repetition: against their definitions, step by step."""

import functools

import jax
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.generation import (
  beam_search,
  forbid_repeated_ngrams,
  generate,
  penalize_repetition,
)

# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def logits_of(make_state):
  """Returns the logits of the first step of a state."""

  def step():
    state = make_state()
    return state.step(state.cache, state.ids)[1]

  return np.asarray(jit(step)())


def penalized(transitions, start, length, penalty):
  """Returns the greedy tokens with a penalty, by its definition."""
  ids = [start]
  for t in range(length):
    logits = transitions[t, ids[-1]].astype(np.float64)
    for token in set(ids):
      value = logits[token]
      logits[token] = value / penalty if value > 0 else value * penalty
    ids.append(int(logits.argmax()))
  return ids[1:]


@pytest.mark.parametrize("penalty", [0.5, 1.0, 1.7, 5.0])
@pytest.mark.fast_cases("1.7")
def test_tokens_of_the_sequence_become_less_probable(
  chains, transitions, penalty
):
  ids = jit(lambda: generate(penalize_repetition(chains(5), penalty)).ids)()
  for chain in range(2):
    expected = penalized(transitions[chain], 0, 5, penalty)
    assert ids[chain].tolist() == expected
  plain = jit(lambda: generate(chains(5)).ids)()
  assert (penalty == 1.0) == bool((ids == plain).all())


def test_tokens_of_the_prompt_count_and_padding_does_not(chains):
  state = chains(1)
  logits = logits_of(lambda: state)
  best = np.asarray(logits.argmax(-1))
  other = (best + 1) % 4
  prompt = np.array([[-1, best[0], 0], [other[1], other[1], 0]], np.int32)
  new = logits_of(lambda: penalize_repetition(state._replace(prompt=prompt), 9))
  seen = np.zeros((2, 4), bool)
  seen[[0, 0, 1, 1], [0, best[0], 0, other[1]]] = True
  np.testing.assert_array_equal(new[~seen], logits[~seen])
  assert (new[seen] != logits[seen]).all()


def repeats(ids, size):
  grams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
  return len(grams) - len(set(grams))


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.fast_cases("2")
def test_no_ngram_of_prompt_and_output_occurs_twice(chains, size):
  state = chains(5 if size > 1 else 1)
  prompt = np.array([[-1, 2, 0], [1, 2, 0]], np.int32)
  state = state._replace(prompt=prompt)
  ids = jit(lambda: generate(forbid_repeated_ngrams(state, size)).ids)()
  for row, before in zip(ids.tolist(), ([2, 0], [1, 2, 0]), strict=True):
    assert repeats([*before, *row], size) == 0


def test_only_tokens_that_would_repeat_are_forbidden(chains):
  prompt = np.array([[2, 0, 1, 2, 0], [0, 3, 0, 1, 0]], np.int32)
  state = chains(1)._replace(prompt=prompt)
  logits = logits_of(lambda: state)
  new = logits_of(lambda: forbid_repeated_ngrams(state, 2))
  # After 0 came 1 in the first prompt, 3 and 1 in the second.
  assert np.argwhere(np.isneginf(new)).tolist() == [[0, 1], [1, 1], [1, 3]]
  kept = np.isfinite(new)
  np.testing.assert_array_equal(new[kept], logits[kept])


@pytest.mark.parametrize("size", [6, 2**31 - 1, 10**30])
def test_a_size_that_no_sequence_has_twice_changes_nothing(chains, size):
  """It took memory in proportion."""
  state = chains(4)._replace(prompt=np.zeros((2, 2), np.int32))
  assert forbid_repeated_ngrams(state, size) is state


def test_beams_take_their_history_with_them(chains):
  @jit
  def search():
    state = forbid_repeated_ngrams(chains(5), 1)
    return beam_search(state._replace(max_new_tokens=3)).ids

  for beam in np.asarray(search()).reshape(-1, 3).tolist():
    assert repeats([0, *beam], 1) == 0


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("inf"), None])
def test_a_penalty_out_of_range_is_refused(chains, penalty):
  with pytest.raises(UserError, match="repetition_penalty > 0"):
    penalize_repetition(chains(3), penalty)


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_a_size_that_is_no_integer_is_refused(chains, size):
  with pytest.raises(UserError, match="no_repeat_ngram_size"):
    forbid_repeated_ngrams(chains(3), size)
