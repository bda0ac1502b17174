"""Losses per example; totals and weights are the business of the tasks."""

import chex
import jax
import jax.numpy as jnp

from dlcore.typing import Array


def softmax_cross_entropy(
  logits: Array, labels: Array, label_smoothing: Array | float = 0.0
) -> Array:
  """Returns the cross-entropy of softmax(logits) with smoothed labels.

  With smoothing e the target is 1 - e on the label and e spread evenly over
  all classes, the label's included (Szegedy et al. 2016, arXiv:1512.00567).

  Args:
    logits: float `[..., C]`; the arithmetic is float32.
    labels: int `[...]`, each in `0 .. C - 1`. Others give NaN: there is none
      that is ignored, for which there are weights.
    label_smoothing: 0 to 1, may be traced.

  Returns:
    float32 `[...]`, in nats. A class whose logit is -inf has no probability,
    and without smoothing changes nothing else.

  Raises:
    AssertionError: shapes or dtypes are others.
  """
  chex.assert_shape(labels, logits.shape[:-1])
  chex.assert_type([logits, labels], [float, int])
  log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
  # Below 0 indices would count from the end.
  labels = labels.astype(jnp.int32)
  labels = jnp.where(labels < 0, logits.shape[-1], labels)[..., None]
  chosen = jnp.take_along_axis(log_probabilities, labels, axis=-1)[..., 0]
  if isinstance(label_smoothing, int | float) and label_smoothing == 0:
    return -chosen
  # Not 0 times infinity.
  spread = jnp.where(label_smoothing > 0, log_probabilities, 0).mean(-1)
  return -(1 - label_smoothing) * chosen - label_smoothing * spread


def squared_error(predictions: Array, targets: Array) -> Array:
  """Returns `(prediction - target) ** 2`, float32 `[...]`.

  Raises:
    AssertionError: the shapes differ: `[B, 1]` and `[B]` make no `[B, B]`.
  """
  chex.assert_equal_shape([predictions, targets])
  difference = predictions.astype(jnp.float32) - targets.astype(jnp.float32)
  return jnp.square(difference)
