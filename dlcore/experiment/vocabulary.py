"""Token ids of the data, the model and the weights that it begins with."""

import dataclasses
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import jax

from dlcore import augment, data, models, transfer
from dlcore.data.info import TOKENS
from dlcore.data.text.tokenizer_options import TOKENIZER
from dlcore.errors import UserError
from dlcore.experiment.folder import RunFolder
from dlcore.transfer.io import sources

VOCAB_SIZE = "vocab_size"

logger = logging.getLogger("dlcore")


def vocabulary_arguments(name: str, size: int | None) -> dict[str, Any]:
  """Returns `vocab_size` if there are token ids and the model takes it."""
  known = VOCAB_SIZE in inspect.signature(models.MODELS[name]).parameters
  return {VOCAB_SIZE: size} if size and known else {}


def augmented_ids(info: data.DataInfo) -> augment.TokenIds:
  """Returns the special tokens of the data for augmentations."""
  tokenizer = getattr(info.schema, "tokenizer", None)
  if tokenizer is None:
    return augment.TokenIds()
  return augment.TokenIds(
    tokenizer.special_ids, tokenizer.unknown_id, tokenizer.mask_id
  )


def with_local_tokenizers(settings: Mapping[str, Any]) -> dict[str, Any]:
  """Returns settings of data with folders in place of names on the hub.

  Args:
    settings: of a data set; `tokenizer` and `target_tokenizer` may be names
      such as "hf:ORG/NAME", which are downloaded as `init.source` is.

  Raises:
    UserError: see `transfer.io.hub.download`.
  """
  local = dict(settings)
  for key in ("tokenizer", "target_tokenizer"):
    if str(settings.get(key, "")).startswith(sources.SCHEME):
      folder, _ = sources.locate(settings[key])
      local[key] = str(folder)
  return local


def check_length(model: Any, info: data.DataInfo) -> None:
  """Checks that a model takes sequences as long as those of the data.

  Raises:
    UserError: its `max_length` is smaller.
  """
  limit = getattr(model, "max_length", None)
  if TOKENS not in info.inputs or limit is None:
    return
  shape, _ = info.inputs[TOKENS]
  if shape[0] > limit:
    raise UserError(
      f"expected examples of at most {limit} tokens, the max_length of the "
      "model",
      f"got {shape[0]} in {info.name!r}",
      "decrease data.max_length, or increase that of the model",
    )


def limit_length(
  info: data.DataInfo, model: Any, init: Callable[..., Any]
) -> data.DataInfo:
  """Returns metadata whose new texts are not longer than a model takes.

  Args:
    info: of the training data.
    model: its `max_length`, if it has one, is the limit.
    init: `Task.init`. A model without a limit whose parameters depend on the
      length takes that of the training data alone.
  """
  schema, limit = info.schema, getattr(model, "max_length", None)
  length = getattr(schema, "prediction_length", 0)
  if length <= getattr(schema, "max_length", 0):
    return info
  if limit is None:
    limit = length if _takes_any_length(info, length, init) else 0
  if limit >= length:
    return info
  limited = dataclasses.replace(schema, prediction_length=limit)
  return info._replace(schema=limited)


def _takes_any_length(
  info: data.DataInfo, length: int, init: Callable[..., Any]
) -> bool:
  """Returns whether a model has the same parameters for another length."""
  dtype_of = jax.dtypes.canonicalize_dtype
  [known] = info.inputs[TOKENS][0]
  shapes = []
  for size in (known, length):
    batch = {
      name: jax.ShapeDtypeStruct((1, size), dtype_of(dtype))
      for name, (_, dtype) in info.inputs.items()
    }
    try:
      shapes.append(jax.eval_shape(init, jax.random.key(0), batch))
    except (TypeError, ValueError):  # As of shapes, from JAX and from Flax.
      return False
  return shapes[0] == shapes[1]


def follow_vocabulary(splits: data.Splits, source: str) -> data.Splits:
  """Returns splits with as many token ids as the weights to begin with.

  A vocabulary of published weights is often larger than their tokenizer. It
  is smaller if tokens were added to the tokenizer, for which loading the
  weights adds rows to their arrays.

  Args:
    splits: of the data.
    source: the setting `init.source`.

  Raises:
    UserError: the weights have fewer token ids, or another tokenizer.
  """
  schema = splits.train.info.schema
  if not schema.vocab_size:
    return splits
  size = vocabulary_size(source)
  for setting, tokenizer in _tokenizers_of(source).items():
    mine = _tokenizers(schema)[setting]
    if tokenizer and mine and not _has_all_of(mine, tokenizer):
      raise UserError(
        f"expected the {setting} of the weights in {source}",
        f"got one of the kind {mine.kind!r} with {mine.vocab_size:,} ids",
        f"set data.{setting} to the tokenizer.json of the weights",
      )
  if size is None or size == schema.vocab_size:
    return splits
  if size < schema.vocab_size and _adds_tokens(schema, size):
    logger.info(
      "the tokenizer has %d tokens more than the weights, which begin with the "
      "mean of the others",
      schema.vocab_size - size,
    )
    return splits
  if size < schema.vocab_size:
    raise UserError(
      f"expected at most {size:,} token ids, those of the weights in {source}",
      f"got {schema.vocab_size:,} in the data",
      "set data.tokenizer to the tokenizer of the weights",
    )
  return data.with_schema(splits, vocab_size=size)


def _has_all_of(mine: Any, theirs: Any) -> bool:
  """Returns whether a tokenizer is another one, perhaps with added tokens."""
  if mine == theirs:
    return True
  kind = data.LibraryTokenizer
  both = isinstance(mine, kind) and isinstance(theirs, kind)
  return both and mine.extends(theirs)


def _adds_tokens(schema: Any, size: int) -> bool:
  """Returns whether all tokens from the id `size` on were added by a user."""
  tokenizer = getattr(schema, "tokenizer", None)
  is_added = isinstance(tokenizer, data.LibraryTokenizer)
  return is_added and tokenizer.size_without_added <= size


def _tokenizers(schema: Any) -> dict[str, Any]:
  """Returns the tokenizers of data by their settings, None without one."""
  return {
    "tokenizer": getattr(schema, "tokenizer", None),
    "target_tokenizer": getattr(schema, "output_tokenizer", None),
  }


def vocabulary_size(source: str) -> int | None:
  """Returns the number of token ids of weights, or None if it is unknown.

  Args:
    source: the setting `init.source`.
  """
  path, _ = sources.locate(source)
  if os.path.isdir(path / "checkpoints"):
    return RunFolder(path).info().schema.vocab_size
  size = transfer.read_published(source).get("config.json", {}).get(VOCAB_SIZE)
  return size if isinstance(size, int) else None


def _tokenizers_of(source: str) -> dict[str, Any]:
  """Returns the tokenizers of weights by setting, None where unknown."""
  path, _ = sources.locate(source)
  if os.path.isdir(path / "checkpoints"):
    return _tokenizers(RunFolder(path).info().schema)
  tokenizer = None
  folder = path if os.path.isdir(path) else path.parent
  if os.path.lexists(folder / TOKENIZER):
    inner = transfer.load_tokenizer(folder).inner
    tokenizer = data.LibraryTokenizer.of(inner)
  return {"tokenizer": tokenizer}
