"""Training of decoders on tokens of their own."""

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.errors import UserError
from dlcore.typing import Array


def check_sampling_rate(rate: Array | float) -> None:
  """Checks the rate of scheduled sampling.

  Raises:
    UserError: a number is out of range.
  """
  if isinstance(rate, int | float) and not 0 <= rate <= 1:
    raise UserError("expected scheduled_sampling from 0 to 1", f"got {rate}")


def mix_predictions(
  key: Array, ids: Array, logits: Array, rate: Array | float
) -> Array:
  """Replaces inputs of a decoder by tokens sampled from its own predictions.

  Bengio et al. 2015, "Scheduled sampling for sequence prediction with recurrent
  neural networks", arXiv:1506.03099. The predictions are those of a pass with
  the true tokens, so that all positions are computed at once (Mihaylova &
  Martins 2019, arXiv:1906.07651).

  Args:
    key: random key, used once.
    ids: int `[B, T]`, the start token and the true tokens.
    logits: float `[B, T, V]`, the predictions of the token after each.
    rate: probability of a replacement at each position but the first.

  Returns:
    int `[B, T]`.
  """
  of_mask, of_tokens = jax.random.split(key)
  sampled = jax.random.categorical(of_tokens, lax.stop_gradient(logits))
  replaced = jax.random.uniform(of_mask, ids[:, 1:].shape) < rate
  mixed = jnp.where(replaced, sampled[:, :-1].astype(ids.dtype), ids[:, 1:])
  return jnp.concatenate([ids[:, :1], mixed], axis=1)
