"""The training loss of classes: smoothed, weighted, focal, of mixed images."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import losses
from dlcore.errors import UserError
from dlcore.tasks.class_weights import label_weights, weight_array
from dlcore.tasks.supervised import Values
from dlcore.tracing import is_zero
from dlcore.typing import Array, Batch


def class_loss(
  *,
  label_smoothing: Array | float,
  class_weights: Sequence[float],
  focal_gamma: Array | float,
) -> Callable[[Array, Batch], Values]:
  """Returns the loss `(logits [B, C], batch) -> values [B]`, with weights.

  Args:
    label_smoothing: see `losses.softmax_cross_entropy`.
    class_weights: of the classes, `()` for 1.
    focal_gamma: see `losses.focal_factor`.

  Raises:
    UserError: a setting is out of range.
  """
  check_smoothing(label_smoothing)
  check_not_negative("focal_gamma", focal_gamma)

  def loss(logits: Array, batch: Batch) -> Values:
    def cross_entropy(labels: Array) -> Array:
      values = losses.softmax_cross_entropy(logits, labels, label_smoothing)
      if is_zero(focal_gamma):
        return values
      plain = losses.softmax_cross_entropy(logits, labels)
      return losses.focal_factor(plain, focal_gamma) * values

    if not class_weights:
      return mix_labels(batch, cross_entropy)
    by_class = weight_array(class_weights, logits.shape[-1])
    weight = partial(label_weights, by_class)
    mean = mix_labels(batch, weight)
    values = mix_labels(batch, lambda at: weight(at) * cross_entropy(at))
    return values / jnp.where(mean > 0, mean, 1.0), mean

  return loss


def mix_labels(batch: Batch, function: Callable[[Array], Array]) -> Array:
  """Returns `function(labels)` `[B]`; mixed images take the weighted mean."""
  labels = batch["label"]
  if labels.ndim != 1:
    raise UserError(
      "expected one class for every example, a label [B]",
      f"got labels of shape {list(labels.shape)}",
    )
  values = function(labels)
  if "partner_label" not in batch:
    return values
  share = batch["share"]
  return share * values + (1 - share) * function(batch["partner_label"])


def check_smoothing(value: Any) -> None:
  """Checks that a label smoothing is from 0 to below 1, if it is concrete.

  Raises:
    UserError: it is not.
  """
  if isinstance(value, jax.Array):  # It may be traced.
    return
  if not isinstance(value, Real) or not 0 <= float(value) < 1:
    raise UserError(
      "expected label_smoothing from 0 to below 1", f"got {value!r}"
    )


def check_not_negative(name: str, value: Any) -> None:
  """Checks that a number is finite and at least 0, unless it may be traced.

  Raises:
    UserError: it is not.
  """
  if isinstance(value, jax.Array):
    return
  if not isinstance(value, Real) or not 0 <= float(value) < math.inf:
    raise UserError(f"expected {name} of at least 0", f"got {value!r}")
