"""What tasks with one model share: its inputs, its variables, its settings."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore.typing import Array, Batch, Extra, Params

Normalization = Mapping[str, Any]


def make_inputs(
  name: str, normalization: Normalization | None
) -> Callable[[Batch], Array]:
  """Makes the function that takes a batch to the input of the model.

  Args:
    name: of the input array, `"image"` or `"features"`.
    normalization: `{"mean": [...], "std": [...]}` over the last axis, or None.

  Returns:
    `batch -> float32 [B, ...]`: integer pixels are brought to the scale 0 to
    1, then the mean is taken away and the rest divided by the deviation.
  """
  if normalization:
    mean = np.asarray(normalization["mean"], np.float32)
    inverse = 1 / np.asarray(normalization["std"], np.float32)

  def inputs(batch: Batch) -> Array:
    values = jnp.asarray(batch[name])
    if jnp.issubdtype(values.dtype, jnp.integer):
      values = values.astype(jnp.float32) / jnp.iinfo(values.dtype).max
    values = values.astype(jnp.float32)
    return (values - mean) * inverse if normalization else values

  return inputs


def init(model, key: Array, inputs: Array) -> tuple[Params, Extra]:
  """Returns the model's parameters and its other collections.

  `extra["settings"]` holds the numbers inside the model that a search may
  vary without compiling anew; here the dropout rate, where there is any.
  """
  collections = dict(model.init(key, inputs, train=False))
  params = collections.pop("params")
  settings = {}
  if getattr(model, "dropout", 0.0):
    settings["dropout"] = jnp.float32(model.dropout)
  return params, {**collections, "settings": settings}


def apply(
  model, params: Params, extra: Extra, inputs: Array, *, key=None, train: bool
) -> tuple[Array, Extra]:
  """Applies the model and returns its output and the new `extra`."""
  collections = dict(extra)
  settings = collections.pop("settings")
  if "dropout" in settings:
    model = model.clone(dropout=settings["dropout"])
  variables = {"params": params, **collections}
  if not train:
    return model.apply(variables, inputs, train=False), extra
  outputs, updated = model.apply(
    variables,
    inputs,
    train=True,
    rngs={"dropout": key},
    mutable=list(collections),
  )
  return outputs, {**extra, **updated}


def weigh(values: Array, weights: Array) -> tuple[Array, Array]:
  """Returns the weighted total of `values` `[B]` and the total weight.

  An example of weight 0 is left out even where its value is not finite.
  """
  total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
  return total, jnp.sum(weights)
