"""The supervised contrastive loss of the features of a classifier."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from dlcore import layers, metrics
from dlcore.contrastive_losses import supervised_contrastive_loss
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks.model_calls import mask_rows
from dlcore.typing import Array, Batch, ModelState, Params

LABEL = "label"

LEAST_SIZE = 4
"""Examples in a batch, at least: two pairs of one class each."""


def contrastive(task: Task, temperature: Array | float = 0.1) -> Task:
  """Returns a task whose loss brings features of one class together.

  The features are the input of the output layer, which learns nothing. The
  loss, see `supervised_contrastive_loss`, compares each example with the others
  of its batch; of the mixed labels of augmentations it has the first. State,
  evaluation and predictions are those of `task`.

  Args:
    task: of one class for every example, `label` int32 `[B]`.
    temperature: above 0; may be traced.

  Raises:
    UserError: the temperature is out of range; or from `loss`, the model has no
      single vector of features for each example, or the labels are others.
  """
  check_temperature(temperature)

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    with layers.recorded_head_input() as found:
      _, (state, _) = task.loss(params, model_state, batch, key)
    features = _checked(found.value)
    labels = jnp.asarray(batch.get(LABEL, jnp.zeros(())))
    if labels.ndim != 1 or not jnp.issubdtype(labels.dtype, jnp.integer):
      raise UserError(
        "expected one class for every example, a label [B]",
        f"got labels of the shape {list(labels.shape)} and {labels.dtype}",
        "choose another strategy for numbers or several labels",
      )
    if len(labels) < LEAST_SIZE:
      raise UserError(
        f"expected batches of at least {LEAST_SIZE} examples, which are "
        "compared with each other",
        f"got {len(labels)} on a device, or in a micro-batch",
        "increase the batch size, or add examples",
      )
    weights = metrics.weights(batch, len(labels))
    # A NaN in a masked row would reach the gradient.
    values, has_positive = supervised_contrastive_loss(
      mask_rows(features, batch), labels, weights > 0, temperature
    )
    total = metrics.weighted(values, weights * has_positive)
    return total, (state, {"loss": total})

  return task._replace(loss=loss)


def check_temperature(temperature: Any) -> None:
  """Checks a temperature that is not traced.

  Raises:
    UserError: it is not above 0.
  """
  if isinstance(temperature, jax.Array):  # It may be traced.
    return
  if not 0 < temperature < math.inf:
    raise UserError("expected temperature above 0", f"got {temperature}")


def _checked(features: Any) -> Array:
  """Returns the features `[B, D]`.

  Raises:
    UserError: the model has no features of this shape.
  """
  shape = getattr(features, "shape", None)
  if shape is None or len(shape) != 2:
    raise UserError(
      "expected a model with one vector of features for each example, which "
      "its output layer takes",
      f"got {'none' if shape is None else f'features {list(shape)}'}",
      "choose another model or another strategy",
    )
  return features
