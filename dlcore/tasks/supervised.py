"""What tasks with one model share: its inputs, its variables, its settings."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import layers
from dlcore.typing import Array, Batch, Extra, Params

Normalization = Mapping[str, Any]

TOKENS = "input_ids"
"""The name of the array of a batch that holds token ids, int `[B, T]`."""

TRACED = ("dropout", "stochastic_depth", "drop_block")
"""The fields of a model that are rates of what is dropped at random."""


def make_inputs(
  name: str, normalization: Normalization | None
) -> Callable[[Batch], Array]:
  """Makes the function that takes a batch to the input of the model.

  Args:
    name: of the input array: `"image"`, `"features"`, or `TOKENS`.
    normalization: `{"mean": [...], "std": [...]}` over the last axis, or None.

  Returns:
    `batch -> float32 [B, ...]`: integer pixels are brought to the scale 0 to
    1, then the mean is taken away and the rest divided by the deviation. Token
    ids stay what they are.
  """
  if name == TOKENS:
    return lambda batch: jnp.asarray(batch[name])
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
  vary without compiling anew: the rates of `TRACED` that are not 0.
  """
  variables = dict(model.init(key, inputs, train=False))
  params = variables.pop("params")
  rates = {name: getattr(model, name, 0.0) for name in TRACED}
  settings = {name: jnp.float32(rate) for name, rate in rates.items() if rate}
  return params, {**variables, "settings": settings}


def collections(extra: Extra) -> dict[str, Any]:
  """Returns what of `extra` belongs to the model."""
  return {name: tree for name, tree in extra.items() if name != "settings"}


def apply(
  model, params: Params, extra: Extra, inputs: Array, *, key=None, train: bool
) -> tuple[Array, Extra]:
  """Applies the model and returns its output and the new `extra`."""
  others, settings = collections(extra), extra["settings"]
  if rates := {name: settings[name] for name in TRACED if name in settings}:
    model = model.clone(**rates)
  variables = {"params": params, **others}
  if not train:
    return model.apply(variables, inputs, train=False), extra
  outputs, updated = model.apply(
    variables,
    inputs,
    train=True,
    rngs={"dropout": key},
    mutable=[*others, layers.RECORDED],
  )
  return outputs, {**extra, **updated}


def weigh(values: Array, weights: Array) -> tuple[Array, Array]:
  """Returns the weighted total of `values` `[B]` and the total weight.

  An example of weight 0 is left out even where its value is not finite.
  """
  total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
  return total, jnp.sum(weights)
