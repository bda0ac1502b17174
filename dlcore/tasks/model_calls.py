"""Calls of a model with the arrays of a batch."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import layers
from dlcore.data.info import TOKENS, Normalization
from dlcore.errors import UserError, nearest
from dlcore.task import CARRY, FROZEN
from dlcore.typing import Array, Batch, ModelState, Params

CACHE = "cache"
"""The collection of a model with the state of past tokens."""

TOKEN_ARGUMENTS = {
  "attention_mask": 1,
  "token_type_ids": 0,
  "segment_ids": 1,
  "positions": 0,
}
"""The arrays of a batch that a model takes with token ids, if the batch has
them, and the value that fills them in masked rows."""


HEADS = {
  ("B", "C"): "classifier",
  ("B", "T", "C"): "tokens",
  ("B", "T", "V"): "lm",
}
"""Values of the field `head` of a model by the shape of its outputs."""


class NamedArrays(dict):
  """A batch whose error for a missing array has the names of its arrays."""

  def __missing__(self, name: str) -> Array:
    hint = nearest(name, self)
    raise UserError(
      f"expected an array {name!r} in the batch",
      f"got {', '.join(sorted(self))}",
      hint
      if hint.startswith("did")
      else "choose data with this array, or pass another name to the task, "
      "such as input='input_ids'",
    )


def make_inputs(
  name: str, normalization: Normalization | None
) -> Callable[[Batch], Array]:
  """Returns the function from a batch to the input of the model.

  Args:
    name: of the input array: `"image"`, `"features"`, or `TOKENS`.
    normalization: subtracted mean and dividing deviation over the last axis, or
      None.

  Returns:
    `batch -> float32 [B, ...]`: unsigned pixels are scaled to 0 to 1 and
    normalized. Rows that the batch's mask excludes become zeros, so that a NaN
    in them reaches no gradient. Token ids are returned unchanged.
  """
  if normalization:
    mean = np.asarray(normalization["mean"], np.float32)
    inverse = 1 / np.asarray(normalization["std"], np.float32)

  def inputs(batch: Batch) -> Array:
    raw = jnp.asarray(NamedArrays(batch)[name])
    if name == TOKENS:
      return mask_rows(raw, batch)
    values = raw.astype(jnp.float32)
    if name == "image" and jnp.issubdtype(raw.dtype, jnp.unsignedinteger):
      values = values / jnp.iinfo(raw.dtype).max
    values = (values - mean) * inverse if normalization else values
    return mask_rows(values, batch)

  return inputs


def token_arguments(name: str, batch: Batch, model: Any) -> dict[str, Array]:
  """Returns the keyword arguments that a model takes with token ids.

  A model with 0 token types, such as DistilBERT, tells both texts of a pair
  apart by the special token between them alone.
  """
  if name != TOKENS:
    return {}
  untyped = getattr(model, "num_token_types", None) == 0
  return {
    key: mask_rows(jnp.asarray(batch[key]), batch, fill)
    for key, fill in TOKEN_ARGUMENTS.items()
    if key in batch and not (untyped and key == "token_type_ids")
  }


def init(
  model: Any, key: Array, inputs: Array, **arguments: Array
) -> tuple[Params, ModelState]:
  """Returns the model's parameters and its other collections.

  Raises:
    UserError: the model takes other inputs.
  """
  check_signature(model, arguments)
  variables = dict(model.init(key, inputs, **arguments, train=False))
  return variables.pop("params"), variables


def apply(
  model: Any,
  params: Params,
  model_state: ModelState,
  inputs: Array,
  *,
  key: Array | None = None,
  train: bool,
  **arguments: Any,
) -> tuple[Any, ModelState]:
  """Applies the model.

  Args:
    model: called as `(variables, inputs, **arguments, train=)`.
    params: of the model.
    model_state: its other collections.
    inputs: `[B, ...]`.
    key: random key, in training.
    train: whether to train.
    **arguments: see `token_arguments`.

  Returns:
    The outputs, and the new collections: in evaluation only `CACHE` changes.
  """
  variables = {"params": params, **model_state}
  if train:
    constant = (CARRY, FROZEN, layers.ADAPTERS)
    collections = [name for name in model_state if name not in constant]
    settings = {
      "rngs": {"dropout": key},
      "mutable": [*collections, layers.RECORDED],
    }
  elif CACHE in model_state:
    settings = {"mutable": [CACHE]}
  else:
    return model.apply(variables, inputs, **arguments, train=False), model_state
  outputs, updated = model.apply(
    variables, inputs, **arguments, train=train, **settings
  )
  return outputs, {**model_state, **updated}


def mask_rows(values: Array, batch: Batch, fill: int = 0) -> Array:
  """Returns `[B, ...]` with `fill` in the rows that the mask excludes."""
  if "mask" not in batch:
    return values
  kept = batch["mask"].reshape(-1, *[1] * (values.ndim - 1)) > 0
  return jnp.where(kept, values, jnp.asarray(fill, values.dtype))


def check_signature(model: Any, arguments: Mapping[str, Array]) -> None:
  """Checks that the model takes one input and `arguments`."""
  signature = inspect.signature(type(model).__call__)
  try:
    signature.bind(model, None, **arguments, train=False)
  except TypeError:
    required = [
      name
      for name, parameter in signature.parameters.items()
      if parameter.default is parameter.empty and name not in ("self", "train")
    ]
    extra = f" with {', '.join(arguments)}" if arguments else ""
    raise UserError(
      f"expected a model of one input{extra}",
      f"got {type(model).__name__}, which takes {' and '.join(required)}",
      "train it with a task for its inputs, or choose another model",
    ) from None


def check_output(
  model: Any, outputs: Any, expected: Sequence[str | int]
) -> Array:
  """Returns the outputs of a model with a head.

  Args:
    model: for the message.
    outputs: of its `apply`.
    expected: the sizes of the axes, a letter for any size: `("B", "C")`.

  Raises:
    UserError: the outputs have another shape.
  """
  shape = getattr(outputs, "shape", None)
  headless = getattr(model, "head", "classifier") is None
  fits = shape is not None and len(shape) == len(expected)
  if shape is not None and fits:
    fits = all(
      isinstance(axis, str) or size == axis
      for size, axis in zip(shape, expected, strict=True)
    )
  if not fits or headless:
    kind = f"a {type(outputs).__name__}" if shape is None else list(shape)
    raise UserError(
      "expected a model with outputs of the shape "
      f"[{', '.join(map(str, expected))}]",
      f"got {kind}{' of a model without a head' if headless else ''}",
      _hint(model, shape, headless, expected),
    )
  return outputs


def _hint(
  model: Any,
  shape: Sequence[int] | None,
  headless: bool,
  expected: Sequence[str | int],
) -> str:
  """Returns how to get outputs of another number of axes, or another size."""
  head = HEADS.get(tuple(expected), "classifier")
  is_other = shape is not None and len(shape) != len(expected)
  if headless or (is_other and hasattr(model, "head")):
    return f'set head="{head}", or choose a model that has this head'
  return "the size follows from `model_arguments` of the kind of task"
