import itertools

import jax
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.generation import beam_search, generate


def all_sequences(transitions, length, eos_id, length_penalty):
  """Returns all sequences of a chain with their scores, the best first."""
  log_probs = np.asarray(jax.nn.log_softmax(transitions))
  scores = {}
  for ids in itertools.product(range(4), repeat=length):
    if eos_id in ids:
      ids = ids[: ids.index(eos_id) + 1]
    steps = zip(log_probs, (0, *ids[:-1]), ids, strict=False)
    total = sum(table[a, b] for table, a, b in steps)
    scores[ids] = total / len(ids) ** length_penalty
  return sorted(scores.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_sequences(
  chains, transitions, length_penalty
):
  beams = jax.jit(
    lambda: beam_search(
      chains(4),
      num_beams=70,
      length_penalty=length_penalty,
      eos_ids=(3,),
      pad_id=9,
    )
  )()
  for chain in range(2):
    best = all_sequences(transitions[chain], 4, 3, length_penalty)[:20]
    for i, (ids, score) in enumerate(best):
      length = beams.lengths[chain, i]
      assert tuple(beams.ids[chain, i, :length].tolist()) == ids
      assert (beams.ids[chain, i, length:] == 9).all()
      np.testing.assert_allclose(beams.scores[chain, i], score, rtol=1e-5)


def narrow_search(transitions, length, num_beams, eos_ids, length_penalty):
  """Returns the best sequences of a chain and their scores, without a bound."""
  log_probs = np.asarray(jax.nn.log_softmax(transitions))
  alive, finished = [(0.0, (0,))], []
  for table in log_probs[:length]:
    extended = [
      (score + table[ids[-1], token], (*ids, token))
      for score, ids in alive
      for token in range(len(table))
    ]
    count = num_beams * (1 + len(eos_ids))
    best = sorted(extended, reverse=True)[:count]
    ended = [beam for beam in best if beam[1][-1] in eos_ids]
    finished += ended
    alive = [beam for beam in best if beam not in ended][:num_beams]
  scores = {
    ids[1:]: score / (len(ids) - 1) ** length_penalty
    for score, ids in (*finished, *alive)
  }
  return sorted(scores.items(), key=lambda item: -item[1])[:num_beams]


@pytest.mark.parametrize("length_penalty", [0.0, 2.0])
@pytest.mark.parametrize(("num_beams", "eos_ids"), [(1, (3,)), (2, (1, 3))])
def test_a_narrow_beam_ends_only_when_no_sequence_can_become_better(
  chains, transitions, num_beams, eos_ids, length_penalty
):
  beams = beam_search(
    chains(5),
    num_beams=num_beams,
    eos_ids=eos_ids,
    length_penalty=length_penalty,
  )
  for chain in range(2):
    best = narrow_search(
      transitions[chain], 5, num_beams, eos_ids, length_penalty
    )
    for i, (ids, score) in enumerate(best):
      length = beams.lengths[chain, i]
      assert tuple(beams.ids[chain, i, :length].tolist()) == ids
      assert beams.scores[chain, i] == pytest.approx(score, rel=1e-5)


def test_scores_are_finite_up_to_the_largest_length_penalty(chains):
  beams = beam_search(chains(4), num_beams=2, length_penalty=49.8)
  scores = np.asarray(beams.scores)
  assert np.isfinite(scores).all()
  assert (scores < 0).all()


def test_one_beam_is_greedy(chains):
  ids = generate(chains(5)).ids
  beams = beam_search(chains(5), num_beams=1)
  np.testing.assert_array_equal(beams.ids[:, 0], ids)


def test_suppressed_tokens_are_never_generated(chains):
  assert 1 in np.asarray(generate(chains(4)).ids)
  output = generate(chains(4), suppress_tokens=(1,))
  assert 1 not in np.asarray(output.ids)
  beams = beam_search(
    chains(4), num_beams=3, length_penalty=0.0, suppress_tokens=(1,)
  )
  assert 1 not in np.asarray(beams.ids)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"num_beams": 0}, "num_beams to be an integer >= 1"),
    ({"num_beams": True}, "num_beams to be an integer >= 1"),
    ({"num_beams": 2**29}, "num_beams of at most 536,870,911"),
    ({"num_beams": 10**30}, "num_beams of at most 536,870,911"),
    ({"length_penalty": -1.0}, "length_penalty >= 0"),
    ({"length_penalty": np.float32(-1)}, "length_penalty >= 0"),
    ({"length_penalty": float("inf")}, "length_penalty >= 0"),
    (
      {"length_penalty": 500.0},
      "length_penalty <= 49.83 with max_new_tokens=4",
    ),
    (
      {"length_penalty": np.float32(500)},
      "length_penalty <= 49.83 with max_new_tokens=4",
    ),
  ],
)
def test_invalid_settings_raise(chains, settings, message):
  with pytest.raises(UserError, match=message):
    beam_search(chains(4), **settings)


@pytest.mark.parametrize("search", [generate, beam_search])
@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"eos_ids": (4,)}, "eos_ids from 0 to 3"),
    ({"eos_ids": (1, -1)}, "eos_ids from 0 to 3"),
    ({"eos_ids": 2**32 + 1}, "eos_ids from 0 to 3"),
    ({"eos_ids": (1.5,)}, "eos_ids to be token ids"),
    ({"eos_ids": [[1, 2]]}, "eos_ids to be token ids"),
    ({"eos_ids": None}, "eos_ids to be token ids"),
    ({"pad_id": 1.5}, "pad_id to be token ids"),
    ({"pad_id": None}, "pad_id to be token ids"),
    ({"pad_id": (0, 1)}, "pad_id to be one token id"),
    ({"suppress_tokens": range(4)}, "suppress_tokens to leave a token"),
    ({"suppress_tokens": (1, 4)}, "suppress_tokens from 0 to 3"),
    ({"suppress_tokens": 1.5}, "suppress_tokens to be token ids"),
  ],
)
def test_invalid_ids_raise(chains, search, settings, message):
  with pytest.raises(UserError, match=message):
    search(chains(4), **settings)


@pytest.mark.parametrize("search", [generate, beam_search])
@pytest.mark.parametrize("name", ["eos_ids", "suppress_tokens"])
def test_ids_may_be_traced(chains, search, name):
  traced = jax.jit(lambda ids: search(chains(4), **{name: (ids, 3)}).ids)
  concrete = search(chains(4), **{name: (1, 3)}).ids
  np.testing.assert_array_equal(traced(1), concrete)


def test_eos_ids_may_be_a_single_id(chains):
  one, several = (
    beam_search(chains(4), num_beams=2, eos_ids=ids) for ids in (3, (3,))
  )
  np.testing.assert_array_equal(one.ids, several.ids)
