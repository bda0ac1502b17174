"""Checks of arguments of generation; traced values are not checked."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from dlcore.errors import UserError
from dlcore.layers import bool_mask
from dlcore.typing import Array

SMALLEST = float(np.finfo(np.float32).tiny)
LARGEST = float(np.finfo(np.float32).max)


def check_positive_integer(name: str, value: Any) -> None:
  """Checks that `value` is a Python or NumPy integer of at least 1.

  Args:
    name: name of the argument in the message.
    value: the argument.

  Raises:
    UserError: it has another type or is smaller.
  """
  integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
  if not integer or value < 1:
    raise UserError(f"expected {name} to be an integer >= 1", f"got {value!r}")


def check_number(condition: str, value: Any, least: float, most: float) -> None:
  """Checks that `value`, of Python, NumPy or JAX, is a number in a range.

  Args:
    condition: describes the range in the message: "temperature > 0".
    value: the number.
    least: the smallest allowed value.
    most: the largest allowed value.

  Raises:
    UserError: it is not a number, or out of range.
  """
  if _is_traced(value):
    return
  x = np.asarray(value)
  # jnp.issubdtype, since NumPy does not regard bfloat16 as floating.
  real = any(jnp.issubdtype(x.dtype, k) for k in (jnp.integer, jnp.floating))
  if not real or not ((x >= least) & (x <= most)).all():
    raise UserError(f"expected {condition}", f"got {value!r}")


def token_ids(name: str, ids: Any) -> Array | np.ndarray:
  """Returns one id or several as an array `[N]`.

  Raises:
    UserError: they are not integers, or have more than one axis.
  """
  if _is_traced(ids):
    return jnp.atleast_1d(jnp.asarray(ids, jnp.int32))
  x = np.atleast_1d(_array(name, ids))
  if not x.size:
    return np.zeros(0, np.int32)
  if x.ndim > 1 or not np.issubdtype(x.dtype, np.integer):
    raise UserError(
      f"expected {name} to be token ids, integers", f"got {ids!r}"
    )
  return x


def token_id(name: str, id_: Any) -> Array | np.ndarray:
  """Returns one id as an array `[1]`.

  Raises:
    UserError: it is not an integer.
  """
  ids = token_ids(name, id_)
  if np.ndim(id_):
    raise UserError(f"expected {name} to be one token id", f"got {id_!r}")
  return ids


def check_in_vocabulary(
  name: str, ids: Array | np.ndarray, vocab_size: int
) -> None:
  """Checks that all ids are at least 0 and below `vocab_size`.

  Args:
    name: name of the argument in the message.
    ids: int `[N]`.
    vocab_size: V.

  Raises:
    UserError: an id is out of range; contains the first one.
  """
  if _is_traced(ids):
    return
  bad = ids[(ids < 0) | (ids >= vocab_size)]
  if bad.size:
    raise UserError(
      f"expected {name} from 0 to {vocab_size - 1}, the model's token ids",
      f"got {int(bad[0])}",
    )


def check_suppressed(ids: Array | np.ndarray, vocab_size: int) -> None:
  """Checks that ids are in the vocabulary, and that they are not all of it.

  Args:
    ids: int `[N]`, the argument `suppress_tokens`.
    vocab_size: V.

  Raises:
    UserError: an id is out of range, or no token is left.
  """
  check_in_vocabulary("suppress_tokens", ids, vocab_size)
  if not _is_traced(ids) and np.unique(ids).size == vocab_size:
    raise UserError(
      "expected suppress_tokens to leave a token of the vocabulary",
      f"got all {vocab_size} ids",
      "remove the ids that may be generated",
    )


def check_positions(model: Any, length: int, max_new_tokens: int) -> None:
  """Checks that prompts of T tokens and their continuations fit the model.

  Args:
    model: the decoder-only module; one without `max_length` has no limit.
    length: T.
    max_new_tokens: the argument. The last token is not an input.

  Raises:
    UserError: they exceed `max_length`.
  """
  max_length = getattr(model, "max_length", None)
  if max_length is None or length + max_new_tokens - 1 <= max_length:
    return
  rest = max_length - length + 1
  raise UserError(
    f"expected a prompt and max_new_tokens of at most {max_length} positions "
    "together",
    f"got {length} + {max_new_tokens} - 1",
    f"reduce max_new_tokens to {rest}" if rest > 0 else "truncate the prompts",
  )


def check_predicts_tokens(model: Any) -> None:
  """Checks that the model has a language modeling head.

  Raises:
    UserError: it has another head, or none.
  """
  if getattr(model, "head", "lm") != "lm":
    raise UserError(
      'expected a model that predicts tokens, with head="lm"',
      f"got head={model.head!r}",
      "load it by transfer.from_pretrained(folder, head='lm')",
    )


def start_id(model: Any, decoder_start_id: Any) -> Array | np.ndarray | None:
  """Returns `decoder_start_id` as an array `[1]`, None for decoder-only.

  Raises:
    UserError: an encoder-decoder lacks it, or a decoder-only model has it.
  """
  # Of the class: an unbound module lacks the attributes of its `setup`.
  encoder_decoder = all(
    hasattr(type(model), name) for name in ("encode", "decode")
  )
  kind = type(model).__name__
  if not encoder_decoder:
    if decoder_start_id is not None:
      raise UserError(
        f"expected decoder_start_id=None for the decoder-only model {kind}",
        f"got {decoder_start_id!r}",
        "remove it: generation continues the prompt",
      )
    return None
  if decoder_start_id is None:
    raise UserError(
      f"expected decoder_start_id for the encoder-decoder {kind}",
      "got None",
      "pass the id that starts target sequences, for Marian its pad_id",
    )
  return token_id("decoder_start_id", decoder_start_id)


def prompts(
  model: Any, input_ids: Any, attention_mask: Any
) -> tuple[Array, Array | None]:
  """Returns ids int32 `[B, T]` and the mask, bool `[B, T]` or None.

  Raises:
    UserError: a type, shape or id is wrong, or a row has no kept token.
  """
  # NumPy, since JAX would truncate int64 to its last 32 bits.
  ids = _array("input_ids", input_ids)
  integer = jnp.issubdtype(ids.dtype, jnp.integer)
  if not integer or ids.ndim != 2 or not ids.size:
    raise UserError(
      "expected input_ids, integers [B, T]",
      f"got {ids.dtype} of shape {ids.shape}",
    )
  vocab_size = getattr(model, "vocab_size", None) or np.iinfo(np.int32).max
  if not _is_traced(ids) and not (ids.min() >= 0 and ids.max() < vocab_size):
    raise UserError(
      f"expected input_ids from 0 to {vocab_size - 1}, as in the vocabulary",
      f"got {ids.min()} to {ids.max()}",
    )
  ids = jnp.asarray(ids, jnp.int32)
  if attention_mask is None:
    return ids, None
  mask = bool_mask(_array("attention_mask", attention_mask), ids.shape)
  if not _is_traced(mask) and not mask.any(1).all():
    raise UserError(
      "expected at least one kept token in every row of attention_mask",
      "got a row of zeros",
      "remove such rows",
    )
  return ids, jnp.asarray(mask)


def _array(name: str, value: Any) -> Any:
  """Returns a NumPy array, or a JAX array if it is traced."""
  if _is_traced(value):
    return jnp.asarray(value)
  try:
    return np.asarray(value)
  except ValueError as error:
    raise UserError(
      f"expected rows of equal length in {name}",
      "got rows of different lengths",
      "pad the shorter ones, with 0 in attention_mask",
    ) from error


def _is_traced(value: Any) -> bool:
  leaves = jax.tree.leaves(value)
  return any(isinstance(leaf, Tracer) for leaf in leaves)
