"""What tasks with one model share: its inputs, its variables, its settings."""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import layers
from dlcore.errors import UserError
from dlcore.typing import Array, Batch, Extra, Params

Normalization = Mapping[str, Any]

TOKENS = "input_ids"
"""The name of the array of a batch that holds token ids, int `[B, T]`."""

BESIDE = {"attention_mask": 1, "token_type_ids": 0}
"""The arrays of a batch that go with these, where it has them, and what they
become in rows that are left out."""

TRACED = (
  "dropout",
  "activation_dropout",
  "attention_dropout",
  "head_dropout",
  "stochastic_depth",
  "drop_block",
)
"""The fields of a model that are rates of what is dropped at random."""


def make_inputs(
  name: str, normalization: Normalization | None
) -> Callable[[Batch], Array]:
  """Makes the function that takes a batch to the input of the model.

  Args:
    name: of the input array: `"image"`, `"features"`, or `TOKENS`.
    normalization: `{"mean": [...], "std": [...]}` over the last axis, or None.

  Returns:
    `batch -> float32 [B, ...]`: unsigned pixels are brought to the scale 0 to
    1, then the mean is taken away and the rest divided by the deviation. Rows
    that the batch's mask leaves out become zeros, lest a NaN there ends in a
    gradient. Token ids stay what they are.
  """
  if name == TOKENS:
    return lambda batch: _kept(jnp.asarray(batch[name]), batch)
  if normalization:
    mean = np.asarray(normalization["mean"], np.float32)
    inverse = 1 / np.asarray(normalization["std"], np.float32)

  def inputs(batch: Batch) -> Array:
    values = jnp.asarray(batch[name])
    kind, values = values.dtype, values.astype(jnp.float32)
    if name == "image" and jnp.issubdtype(kind, jnp.unsignedinteger):
      values = values / jnp.iinfo(kind).max
    values = (values - mean) * inverse if normalization else values
    return _kept(values, batch)

  return inputs


def _kept(values: Array, batch: Batch, other: int = 0) -> Array:
  """Returns `[B, ...]` with `other` in the rows that the mask leaves out."""
  if "mask" not in batch:
    return values
  kept = batch["mask"].reshape(-1, *[1] * (values.ndim - 1)) > 0
  return jnp.where(kept, values, other)


def beside(name: str, batch: Batch) -> dict[str, Array]:
  """Returns what a model of token ids is given beside them, by keyword."""
  if name != TOKENS:
    return {}
  return {
    key: _kept(jnp.asarray(batch[key]), batch, other)
    for key, other in BESIDE.items()
    if key in batch
  }


def init(model, key: Array, inputs: Array, **beside) -> tuple[Params, Extra]:
  """Returns the model's parameters and its other collections.

  `extra["settings"]` holds the numbers inside the model that a search may
  vary without compiling anew: the rates of `TRACED` that are not 0.
  """
  variables = dict(model.init(key, inputs, **beside, train=False))
  params = variables.pop("params")
  rates = {name: getattr(model, name, 0.0) for name in TRACED}
  settings = {name: jnp.float32(rate) for name, rate in rates.items() if rate}
  return params, {**variables, "settings": settings}


def collections(extra: Extra) -> dict[str, Any]:
  """Returns what of `extra` belongs to the model."""
  return {name: tree for name, tree in extra.items() if name != "settings"}


def apply(
  model,
  params: Params,
  extra: Extra,
  inputs: Array,
  *,
  key: Array | None = None,
  width: int | None = None,
  train: bool,
  **beside,
) -> tuple[Array, Extra]:
  """Applies the model.

  Args:
    model: called as `(variables, inputs, **beside, train=)`.
    params: of the model.
    extra: of the state.
    inputs: `[B, ...]`.
    key: random key, in training.
    width: of the output, if it is known.
    train: whether to train.
    **beside: see `beside`.

  Returns:
    The output, `[B, C]`, and the new `extra`.

  Raises:
    UserError: the output is another.
  """
  others, settings = collections(extra), extra["settings"]
  if rates := {name: settings[name] for name in TRACED if name in settings}:
    model = model.clone(**rates)
  variables = {"params": params, **others}
  if not train:
    outputs = model.apply(variables, inputs, **beside, train=False)
    return _checked(model, outputs, width), extra
  outputs, updated = model.apply(
    variables,
    inputs,
    **beside,
    train=True,
    rngs={"dropout": key},
    mutable=[*others, layers.RECORDED],
  )
  return _checked(model, outputs, width), {**extra, **updated}


def _checked(model: Any, outputs: Any, width: int | None) -> Array:
  """Returns the output of a model with a head, if it is `[B, width]`."""
  shape = getattr(outputs, "shape", None)
  headless = getattr(model, "head", "classifier") is None
  fits = shape is not None and len(shape) == 2
  if not fits or headless or shape[1] != (width or shape[1]):
    what = f"a {type(outputs).__name__}" if shape is None else list(shape)
    raise UserError(
      f"expected a model with outputs of the shape [B, {width or 'C'}]",
      f"got {what}{' of a model without a head' if headless else ''}",
      'set head="classifier" and num_classes, 1 in regression',
    )
  return outputs


def weigh(values: Array, weights: Array) -> tuple[Array, Array]:
  """Returns the weighted total of `values` `[B]` and the total weight.

  An example of weight 0 is left out even where its value is not finite.
  """
  total = jnp.sum(jnp.where(weights > 0, values * weights, 0.0))
  return total, jnp.sum(weights)
