"""Losses of single examples; the reductions to a total belong to tasks."""

import chex
import jax
import jax.numpy as jnp

from dlcore.tracing import is_zero
from dlcore.typing import Array


def softmax_cross_entropy(
  logits: Array, labels: Array, label_smoothing: Array | float = 0.0
) -> Array:
  """Returns the cross-entropy of softmax(logits) with smoothed labels.

  With smoothing e the target distribution is 1 - e on the label plus e spread
  evenly over all classes, the label included (Szegedy et al. 2016,
  arXiv:1512.00567).

  Args:
    logits: float `[..., C]`; the arithmetic is float32.
    labels: int `[...]` in `0 .. C - 1`. Any other label gives NaN; no index is
      ignored, use weights of 0 instead.
    label_smoothing: 0 to 1, may be traced.

  Returns:
    float32 `[...]`, in nats. A class whose logit is -inf has probability 0;
    without smoothing it does not contribute.

  Raises:
    AssertionError: wrong shapes or dtypes.
  """
  chex.assert_shape(labels, logits.shape[:-1])
  chex.assert_type([logits, labels], [float, int])
  log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
  # A negative index would count from the end.
  labels = labels.astype(jnp.int32)
  labels = jnp.where(labels < 0, logits.shape[-1], labels)[..., None]
  of_label = jnp.take_along_axis(log_probabilities, labels, axis=-1)[..., 0]
  if is_zero(label_smoothing):
    return -of_label
  # 0 * -inf would be NaN.
  uniform = jnp.where(label_smoothing > 0, log_probabilities, 0).mean(-1)
  return -(1 - label_smoothing) * of_label - label_smoothing * uniform


def sigmoid_cross_entropy(logits: Array, labels: Array) -> Array:
  """Returns the cross-entropy of sigmoid(logits), for labels that co-occur.

  Args:
    logits: float `[...]`; the arithmetic is float32.
    labels: bool, int or float `[...]`, the probability of the label, 0 to 1.
      Any other value gives NaN; no value is ignored, use weights of 0 instead.

  Returns:
    float32 `[...]`, in nats. A logit of -inf or inf is a certain prediction:
    its loss is 0 if it agrees with the label.

  Raises:
    AssertionError: the shapes differ, or the logits are not floats.
  """
  chex.assert_equal_shape([logits, labels])
  chex.assert_type(logits, float)
  logits, labels = logits.astype(jnp.float32), labels.astype(jnp.float32)
  labels = jnp.where((labels >= 0) & (labels <= 1), labels, jnp.nan)
  # 0 * inf would be NaN.
  positive = jnp.where(labels == 0, 0.0, labels * jax.nn.softplus(-logits))
  negative = jnp.where(labels == 1, 0.0, (1 - labels) * jax.nn.softplus(logits))
  return positive + negative


def focal_factor(cross_entropy: Array, gamma: Array | float) -> Array:
  """Returns the factor of the focal loss, `(1 - p) ** gamma`, `[...]`.

  A label that is predicted with certainty counts nearly nothing, so that rare
  and hard ones are not outweighed (Lin et al. 2017, arXiv:1708.02002).

  Args:
    cross_entropy: of the labels, `-log(p)` in nats, `[...]`.
    gamma: at least 0, may be traced; 0 gives factors of 1.
  """
  if is_zero(gamma):
    return jnp.ones_like(cross_entropy)
  # The power of 0 has an infinite slope for exponents below 1.
  missing = jnp.maximum(-jnp.expm1(-cross_entropy), 1e-12)
  return missing**gamma


def squared_error(predictions: Array, targets: Array) -> Array:
  """Returns `(prediction - target) ** 2`, float32 `[...]`.

  Raises:
    AssertionError: the shapes differ; `[B, 1]` and `[B]` do not broadcast.
  """
  chex.assert_equal_shape([predictions, targets])
  difference = predictions.astype(jnp.float32) - targets.astype(jnp.float32)
  return jnp.square(difference)
