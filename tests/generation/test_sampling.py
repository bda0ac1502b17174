from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.errors import UserError
from dlcore.generation import generate, greedy, sampling, validation

KEY = jax.random.key(0)
LOGITS = jnp.log(jnp.array([0.1, 0.4, 0.05, 0.15, 0.3]))


@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    ({}, [0.1, 0.4, 0.05, 0.15, 0.3]),
    ({"top_k": 2}, [0, 4 / 7, 0, 0, 3 / 7]),
    ({"top_p": 0.7001}, [0, 8 / 17, 0, 3 / 17, 6 / 17]),
    ({"top_p": 0.6999}, [0, 4 / 7, 0, 0, 3 / 7]),
    # Of the three most probable tokens, the first two have 0.82 of the mass.
    ({"top_k": 3, "top_p": 0.8}, [0, 4 / 7, 0, 0, 3 / 7]),
    ({"min_p": 0.3}, [0, 8 / 17, 0, 3 / 17, 6 / 17]),
    ({"min_p": 0.3, "top_k": 2}, [0, 4 / 7, 0, 0, 3 / 7]),
    # With the square of the probabilities the limit is 0.16 of 0.3.
    ({"min_p": 0.3, "temperature": 0.5}, [0, 0.16, 0, 0, 0.09]),
    ({"temperature": 0.5}, [0.01, 0.16, 0.0025, 0.0225, 0.09]),
    ({"top_k": 99, "top_p": 1.0}, [0.1, 0.4, 0.05, 0.15, 0.3]),
  ],
)
def test_sampled_frequencies_equal_the_probabilities(settings, expected):
  count = 20_000
  sample = jax.jit(jax.vmap(sampling(**settings), (0, None)))
  ids = sample(jax.random.split(KEY, count), LOGITS)
  frequencies = np.bincount(ids, minlength=5) / count
  expected = np.array(expected) / np.sum(expected)
  # Five standard deviations of a frequency.
  assert np.abs(frequencies - expected).max() < 5 * 0.5 / count**0.5
  assert (frequencies[expected == 0] == 0).all()


def test_the_narrowest_settings_are_greedy_and_rates_may_be_traced():
  assert greedy(KEY, LOGITS) == 1
  narrow = ({"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1}, {"temperature": 1e-6})
  for settings in narrow:
    assert sampling(**settings)(KEY, LOGITS) == 1
  traced = jax.jit(lambda t, p: sampling(temperature=t, top_p=p)(KEY, LOGITS))
  assert traced(0.7, 0.9) == sampling(temperature=0.7, top_p=0.9)(KEY, LOGITS)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"temperature": 0.0}, "temperature > 0"),
    ({"top_k": 0}, "top_k to be an integer >= 1"),
    ({"top_p": 1.5}, "0 < top_p <= 1"),
    ({"min_p": 1.5}, "0 <= min_p <= 1"),
    ({"min_p": -0.1}, "0 <= min_p <= 1"),
    ({"top_k": 2.5}, "top_k to be an integer >= 1"),
    ({"temperature": float("nan")}, "temperature > 0"),
    ({"temperature": np.float32(0)}, "temperature > 0"),
    ({"temperature": jnp.float32(-1)}, "temperature > 0"),
    ({"temperature": None}, "temperature > 0"),
    ({"top_k": np.int64(0)}, "top_k to be an integer >= 1"),
    ({"top_k": np.float32(2.5)}, "top_k to be an integer >= 1"),
    ({"temperature": np.array([1.0, -1.0])}, "temperature > 0"),
    ({"top_k": True}, "top_k to be an integer >= 1"),
    ({"top_p": np.float32(1.5)}, "0 < top_p <= 1"),
  ],
)
def test_invalid_settings_raise(settings, message):
  with pytest.raises(UserError, match=message):
    sampling(**settings)


@pytest.mark.parametrize("sampler", ["greedy", sampling])
def test_a_sampler_that_is_not_a_function_of_logits_raises(chains, sampler):
  with pytest.raises(UserError, match=r"call generation\.sampling"):
    generate(chains(4), sampler=sampler, key=KEY)


def test_sampling_without_a_key_raises(chains):
  with pytest.raises(UserError, match="a key"):
    generate(chains(4), sampler=sampling())


def test_token_ids_are_those_of_the_vocabulary():
  validation.check_in_vocabulary("ids", np.array([0, 6]), 7)
  for bad in (-1, 7):
    with pytest.raises(UserError, match=f"ids from 0 to 6.*\ngot {bad}"):
      validation.check_in_vocabulary("ids", np.array([0, bad, 99]), 7)
  validation.check_suppressed(np.array([0, 0, 1, 3]), 4)
  with pytest.raises(UserError, match="got all 4 ids"):
    validation.check_suppressed(np.array([3, 0, 1, 2]), 4)


def test_the_ends_of_a_range_belong_to_it():
  for value in (2, 2.5, np.float32(3), np.array([2, 3]), np.int8(3)):
    validation.check_number("x", value, 2, 3)
  for value in (1.999, np.float32(3.001), np.array([2, 4]), "2", True, None):
    with pytest.raises(UserError, match="expected x"):
      validation.check_number("x", value, 2, 3)
  validation.check_positions(mock.Mock(max_length=8), 8, 1)
  for length, new, remedy in ((8, 2, "to 1"), (9, 1, "truncate")):
    with pytest.raises(UserError, match=remedy):
      validation.check_positions(mock.Mock(max_length=8), length, new)
