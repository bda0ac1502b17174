"""Scheduled sampling: inputs of a decoder that it predicted itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.tasks.scheduled_sampling import mix_predictions

KEY = jax.random.key(0)
IDS = np.array([[2, 5, 6, 7, 8], [2, 9, 4, 5, 5]], np.int32)


def mix(rate, rows=200):
  """Ids, and mixtures with the prediction 1 + the true next token."""
  ids = np.tile(IDS, (rows, 1))
  following = np.roll(ids, -1, 1) + 1
  logits = 100 * jax.nn.one_hot(following, 12)
  return ids, np.asarray(mix_predictions(KEY, ids, logits, rate))


def test_the_start_token_stays():
  ids, mixed = mix(1.0)
  np.testing.assert_array_equal(mixed[:, 0], ids[:, 0])


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_a_share_of_the_inputs_are_predictions_of_their_own_position(rate):
  ids, mixed = mix(rate)
  replaced = mixed[:, 1:] != ids[:, 1:]
  np.testing.assert_array_equal(mixed[:, 1:], ids[:, 1:] + replaced)
  assert abs(replaced.mean() - rate) < 0.05


def test_predictions_are_samples_of_their_distribution():
  logits = jnp.log(jnp.broadcast_to(jnp.array([0.2, 0.8]), (500, 5, 2)))
  mixed = mix_predictions(KEY, np.zeros((500, 5), np.int32), logits, 1.0)
  assert abs(mixed[:, 1:].mean() - 0.8) < 0.05
