"""Checks of the inputs of models; errors state shapes and dtypes."""

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers.array_check import check_array
from dlcore.typing import Array


def check_float(x: Array) -> None:
  """Checks that an input is floating point.

  Raises:
    UserError: it has another dtype, or is not an array.
  """
  check_array("an input", x)
  if not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      "expected a floating-point input",
      f"got {x.dtype}",
      "divide the pixels by 255, or use a task, which scales them",
    )


def check_images(x: Array, *, min_size: int) -> None:
  """Checks that `x` is float images `[B, Y, X, C]` with Y, X >= min_size.

  Raises:
    UserError: the shape, the dtype or the size differs.
  """
  check_array("images", x)
  if x.ndim != 4:
    raise UserError(
      "expected images, [B, Y, X, C]",
      f"got an input of shape {tuple(x.shape)}",
      "use the model 'mlp' for tables",
    )
  check_float(x)
  if min(x.shape[1:3]) < min_size:
    raise UserError(
      f"expected images of at least {min_size}x{min_size} pixels",
      f"got {x.shape[1]}x{x.shape[2]}",
      "use larger images, or a model with less downsampling",
    )


def check_input_size(model: nn.Module, size: int, *path: str) -> None:
  """Checks that a dense layer has the same number of inputs as at `init`.

  Args:
    model: the module that contains the layer.
    size: number of inputs in this call.
    *path: path of the layer in the parameters of the module.

  Raises:
    UserError: the layer has parameters for another number of inputs.
  """
  params = model.variables.get("params", {})
  for name in path:
    params = params.get(name, {})
  kernel = params.get("kernel")
  if kernel is not None and kernel.shape[0] != size:
    raise UserError(
      f"expected the input size of init, {kernel.shape[0]} per example",
      f"got {size}",
      "resize the inputs, or use a model for any size, such as 'resnet18'",
    )


def check_series(x: Array) -> None:
  """Checks that `x` is float series `[B, T, F]`.

  Raises:
    UserError: the shape or the dtype differs.
  """
  check_array("series", x)
  if x.ndim != 3 or not jnp.issubdtype(x.dtype, jnp.floating):
    raise UserError(
      "expected series, floats [B, T, F]",
      f"got {x.dtype} of shape {tuple(x.shape)}",
      "set vocab_size if the inputs are token ids",
    )


def check_token_ids(
  ids: Array,
  *,
  max_length: int | None = None,
  token_type_ids: Array | None = None,
  segment_ids: Array | None = None,
  hint: str = "use another model, such as 'cnn', for other data",
) -> None:
  """Checks that `ids` are integers `[B, T]`, and so are their types.

  Args:
    ids: token ids.
    max_length: maximum sequence length of the model; None for any.
    token_type_ids: token types, of the shape of `ids`.
    segment_ids: segments, of the shape of `ids`.
    hint: third line of the error if `ids` are not token ids.

  Raises:
    UserError: a shape, a dtype or the length differs.
  """
  _check_integers("token ids", ids, hint)
  if max_length is not None and ids.shape[1] > max_length:
    raise UserError(
      f"expected at most {max_length} tokens, the max_length of the model",
      f"got {ids.shape[1]}",
      "truncate the sequences, or set max_length before training",
    )
  for name, others in (
    ("token_type_ids", token_type_ids),
    ("segment_ids", segment_ids),
  ):
    if others is not None:
      _check_integers(name, others)
      if others.shape != ids.shape:
        raise UserError(
          f"expected {name} of shape {ids.shape}, that of the token ids",
          f"got shape {others.shape}",
        )


def check_no_token_types(token_type_ids: Array | None) -> None:
  """Checks that a model without token types gets no `token_type_ids`.

  Raises:
    UserError: they are not None.
  """
  if token_type_ids is not None:
    raise UserError(
      "expected token_type_ids=None: this model has no token types",
      f"got a value of type {type(token_type_ids).__name__}",
      "omit the argument",
    )


def check_packing(
  model: nn.Module, segment_ids: Array | None, *, decode: bool
) -> None:
  """Checks that packed rows have outputs for each token, and no cache.

  Args:
    model: has the field `head`.
    segment_ids: of packed rows, or None.
    decode: whether the tokens continue those in a cache.

  Raises:
    UserError: there are segments, and the model has another head or decodes.
  """
  if segment_ids is None:
    return
  if decode:
    raise UserError(
      "expected segment_ids=None with decode=True",
      "got segment_ids",
      "decode one sequence in a row",
    )
  if model.head not in (None, "lm", "mlm", "tokens"):
    raise UserError(
      "expected segment_ids=None for a model with one output for each row",
      f"got segment_ids, and head={model.head!r}",
      "use one sequence in a row",
    )


def check_decoder_batch(decoder_input_ids: Array, encoded: Array) -> None:
  """Checks that `[B, T]` and `[B, S, D]` have the same batch size.

  Raises:
    UserError: the batch sizes differ.
  """
  if decoder_input_ids.shape[0] != encoded.shape[0]:
    raise UserError(
      f"expected decoder_input_ids with {encoded.shape[0]} rows, as many as "
      "input_ids",
      f"got {decoder_input_ids.shape[0]}",
    )


def _check_integers(name: str, ids: Array, hint: str = "") -> None:
  check_array(name, ids)
  if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
    raise UserError(
      f"expected {name}, integers [B, T]",
      f"got {ids.dtype} of shape {tuple(ids.shape)}",
      hint,
    )
