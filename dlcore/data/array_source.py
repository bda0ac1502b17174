"""Sources of arrays in memory, and the checks of their values."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data.array_schema import ArraySchema
from dlcore.data.info import (
  TOKEN_INPUTS,
  TOKENS,
  DataInfo,
  Normalization,
  Schema,
  describe_inputs,
)
from dlcore.data.source import Arrays, Source, take_rows
from dlcore.errors import UserError, nearest

INPUTS = ("image", "features", TOKENS)
"""Names that `from_arrays` recognizes as the main input."""

INTEGER_INPUTS = (TOKENS, "token_type_ids", "decoder_input_ids")
"""Inputs with values that index an embedding."""

TARGETS = ("label", "target")
"""Names that `from_arrays` recognizes as the target."""

MAX_ROUNDING = 1e-5
"""Rounding to float32, in deviations of a column, above which columns are
refused: rows that differ could become equal."""


def from_arrays(
  arrays: Arrays,
  *,
  name: str = "arrays",
  input: str | None = None,  # noqa: A002  the name of the schema's field
  target: str | None = None,
  classes: Sequence[str] | None = None,
  normalization: Normalization | None = None,
  target_normalization: Normalization | None = None,
  sequences: Sequence[str] | None = None,
  schema: Schema | None = None,
  notes: Sequence[str] = (),
  lengths: np.ndarray | None = None,
) -> Source:
  """Creates a source of arrays in memory.

  Example: `from_arrays({"image": images, "label": labels}, classes=["a", "b"])`

  Args:
    arrays: `[N, ...]` by name, N at least 1.
    name: of the data set, for messages and the report.
    input: the main input; by default `image`, `features` or `input_ids`.
      `attention_mask`, `token_type_ids` and `decoder_input_ids` are further
      inputs of `input_ids`.
    target: the array to predict; by default `label` or `target`.
    classes: names of the classes, if the target holds their numbers.
    normalization: `{"mean": [...], "std": [...]}` of the input over the
      training split, per channel for images (on the scale 0 to 1), per column
      for tables.
    target_normalization: `{"mean": m, "std": s}` of a regression's target
      `[N]`, or `{"mean": [...], "std": [...]}` of the columns of one `[N, K]`.
    sequences: arrays `[N, T, ...]` that are cut to the length of a batch. By
      default, if there are `lengths`: the main input, `attention_mask`,
      `token_type_ids` and, without a decoder, a target of T values.
    schema: of the kind of data, such as `ImageSchema()`; by default
      `ArraySchema()`. The arguments above replace its fields.
    notes: sentences for the user, such as the number of skipped examples.
    lengths: int `[N]`, tokens or frames of each example.

  Raises:
    UserError: the arrays are empty or differ in length, there is no array of
      a name that an argument or the schema gives, a value is NaN or infinite, a
      label or token id is not an integer in range, or float32, in which models
      compute, would merge numbers of 64 bits.
    ValueError: the arrays contradict the schema in another way.
  """
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  size = count_examples(arrays, name)
  fields = {
    "input": input,
    "target": target,
    "classes": None if classes is None else tuple(map(str, classes)),
    "normalization": normalization and _lists(normalization),
    "target_normalization": target_normalization
    and {
      key: np.squeeze(np.asarray(value, np.float64)).tolist()
      for key, value in target_normalization.items()
    },
    "sequences": None if sequences is None else tuple(sequences),
  }
  schema = _completed(arrays, schema or ArraySchema(), fields, name)
  if lengths is not None:
    lengths = _checked_lengths(lengths, arrays, schema)
    if sequences is None and not schema.sequences:
      sequences = _sequences(arrays, schema)
      schema = dataclasses.replace(schema, sequences=sequences)
  inputs = describe_inputs(arrays, schema.input)
  schema.validate(inputs)
  _check_target_statistics(arrays, schema)
  check_values(arrays, schema, name)
  if schema.input == TOKENS and schema.vocab_size is None:
    vocab_size = 1 + int(arrays[TOKENS].max())
    schema = dataclasses.replace(schema, vocab_size=vocab_size)
  _check_rounding(arrays, schema, name)
  info = DataInfo(
    name=name,
    size=size,
    sha256=_checksum(arrays, lengths),
    inputs=inputs,
    notes=tuple(notes),
    schema=schema,
  )
  read = functools.partial(take_rows, arrays)
  return Source(size, arrays, read, info, lengths)


def count_examples(arrays: Arrays, name: str) -> int:
  """Returns the number of examples, N.

  Raises:
    UserError: it is 0, or the arrays differ in it; `name` is that of the data.
  """
  sizes = {array.shape[:1] for array in arrays.values()}
  if len(sizes) != 1 or not all(map(all, sizes)) or () in sizes:
    shapes = {key: list(array.shape) for key, array in arrays.items()}
    raise UserError(
      f"expected arrays [N, ...] with the same N above 0 in {name}",
      f"got the shapes {shapes}",
      "give every array one row per example",
    )
  return len(next(iter(arrays.values())))


def _lists(statistics: Normalization) -> dict[str, list[float]]:
  return {
    name: np.asarray(values, np.float64).reshape(-1).tolist()
    for name, values in statistics.items()
  }


def _completed(
  arrays: Arrays, schema: Schema, fields: Mapping[str, Any], data_name: str
) -> Schema:
  """Returns `schema` with `fields` and the recognized names of `arrays`."""
  fields = {name: value for name, value in fields.items() if value is not None}
  schema = dataclasses.replace(schema, **fields)
  for field, names in (("input", INPUTS), ("target", TARGETS)):
    name = getattr(schema, field)
    chosen = field in fields or name != getattr(type(schema), field)
    if name not in arrays and not chosen:
      present = next((name for name in names if name in arrays), "")
      schema = dataclasses.replace(schema, **{field: present})
  names = {schema.input, schema.target, *schema.sequences} - {""}
  if schema.classes and not schema.target:
    names.add("label")
  for name in sorted(names - arrays.keys()):
    raise UserError(
      f"expected an array {name!r} in {data_name}, by its schema",
      f"got the arrays {', '.join(sorted(arrays))}",
      nearest(name, arrays),
    )
  return schema


def _check_target_statistics(arrays: Arrays, schema: Schema) -> None:
  statistics = schema.target_normalization or {}
  shapes = {np.shape(value) for value in statistics.values()}
  columns = arrays[schema.target].shape[1:][-1:] if schema.target else ()
  if shapes not in (set(), {()}, {columns}):
    raise ValueError(
      "expected target_normalization of two numbers, or of two lists for a "
      f"target [N, K], got the shapes {sorted(shapes)} for {columns}"
    )


def _checked_lengths(
  lengths: np.ndarray, arrays: Arrays, schema: Schema
) -> np.ndarray:
  lengths = np.asarray(lengths, np.int32)
  array = arrays.get(schema.input)
  if array is None or array.ndim < 2:
    raise ValueError(f"expected lengths of sequences, got {schema.input=}")
  if lengths.shape != array.shape[:1]:
    raise ValueError(f"{lengths.shape=} must be {array.shape[:1]}")
  if lengths.min() < 0 or lengths.max() > array.shape[1]:
    raise ValueError(
      f"expected lengths from 0 to {array.shape[1]}, got "
      f"{lengths.min()} to {lengths.max()}"
    )
  mask = arrays.get("attention_mask")
  if mask is not None and mask.shape == array.shape:
    positions = np.arange(array.shape[1])
    beyond = (mask != 0) & (positions >= lengths[:, None])
    if beyond.any():
      row = int(np.argwhere(beyond)[0, 0])
      raise ValueError(
        f"attention_mask keeps tokens beyond lengths[{row}]={lengths[row]}"
      )
  return lengths


def _sequences(arrays: Arrays, schema: Schema) -> tuple[str, ...]:
  """Returns the arrays that have one value per token of the main input."""
  *encoder_names, decoder_name = TOKEN_INPUTS
  names = encoder_names if schema.input == TOKENS else [schema.input]
  if decoder_name not in arrays:
    names = [*names, schema.target]
  length = arrays[schema.input].shape[1]
  return tuple(
    name
    for name in names
    if name in arrays and arrays[name].shape[1:2] == (length,)
  )


def check_values(batch: Arrays, schema: Schema, name: str) -> None:
  """Checks that numbers are finite, and labels and token ids in range.

  Args:
    batch: arrays `[B, ...]` by name.
    schema: of the source.
    name: of the data set, for the message.

  Raises:
    UserError: a number is NaN or infinite, a label is not a number or out of
      range, or a token id is not an integer or out of range.
  """
  for array_name, array in batch.items():
    if array.dtype.kind == "f" and not np.isfinite(array).all():
      row, *place = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
      position = schema.position(array_name, place)
      raise UserError(
        f"expected finite numbers in {name}",
        f"got {array[(row, *place)]} in {array_name!r}, row {row}{position}",
        "fix or remove that row",
      )
  if schema.target in batch and schema.classes:
    labels, count = batch[schema.target], len(schema.classes)
    if labels.dtype.kind not in "biuf":
      raise UserError(
        f"expected labels from 0 to {count - 1} in {name}",
        f"got the dtype {labels.dtype} in {schema.target!r}",
        "encode the class names as numbers, such as np.unique(labels, "
        "return_inverse=True)",
      )
    bad = (labels < 0) | (labels >= count)
    if labels.ndim == 1:  # Several labels may be probabilities.
      bad |= labels != np.floor(labels)
    wrong = np.argwhere(bad)
    if len(wrong):
      raise UserError(
        f"expected integer labels from 0 to {count - 1} in {name}",
        f"got {labels[tuple(wrong[0])]} in row {wrong[0][0]} "
        f"({len(wrong)} such labels)",
        "fix or remove those rows",
      )
  if schema.input == TOKENS:
    _check_ids(batch, schema.vocab_size, name)


def _check_ids(batch: Arrays, vocab_size: int | None, name: str) -> None:
  """Checks the dtype and the range of token ids and token types."""
  for array_name in batch.keys() & set(INTEGER_INPUTS):
    ids = batch[array_name]
    if ids.dtype.kind not in "iu":
      raise UserError(
        f"expected integers in {array_name!r} of {name}",
        f"got the dtype {ids.dtype}",
        f"convert them, such as {array_name}.astype(np.int32)",
      )
    limit = vocab_size if array_name == TOKENS else None
    if ids.min() < 0 or (limit and ids.max() >= limit):
      most = f" to {limit - 1:,}, by its vocab_size" if limit else ""
      raise UserError(
        f"expected {array_name!r} of {name} from 0{most}",
        f"got {ids.min():,} to {ids.max():,}",
        "mask padding by attention_mask, or correct vocab_size",
      )


def _check_rounding(arrays: Arrays, schema: Schema, name: str) -> None:
  """Checks that float32 keeps the numbers of tables and targets apart."""
  numeric = {schema.input} if schema.input != TOKENS else set()
  numeric |= set() if schema.classes else {schema.target}
  for array_name in sorted(numeric & arrays.keys()):
    array = arrays[array_name]
    if array.ndim > 2 or array.dtype.itemsize < 4 or array.dtype == np.float32:
      continue
    for column, values in enumerate(array.reshape(len(array), -1).T):
      rounding, deviation = _rounding(values.astype(np.float64))
      if rounding > MAX_ROUNDING * deviation > 0:
        raise UserError(
          f"expected numbers in {name} that float32 keeps apart",
          f"got {array_name!r}, column {column}, rounded by up to "
          f"{rounding:.3g} with a standard deviation of {deviation:.3g}",
          "subtract a constant from it, such as its mean",
        )


def _rounding(values: np.ndarray) -> tuple[float, float]:
  """Returns the largest rounding to float32, and the standard deviation.

  Both are 0 for values `[N]` that are equal but for rounding to float64.
  """
  largest = np.abs(values).max()
  if np.ptp(values) <= 1e-12 * largest:
    return 0.0, 0.0
  rounding = np.abs(values - values.astype(np.float32)).max()
  return float(rounding), float(values.std())


def _checksum(arrays: Arrays, lengths: np.ndarray | None) -> str:
  """Returns the checksum of names, dtypes, shapes and bytes."""
  specs = [
    (name, str(array.dtype), array.shape) for name, array in arrays.items()
  ]
  text = json.dumps([sorted(specs), lengths is not None])
  digest = hashlib.sha256(text.encode())
  digest.update(_sha256_of_bytes(arrays, lengths).encode())
  return digest.hexdigest()


def sha256_v0_1(source: Source) -> str:
  """Returns the checksum that version 0.1 recorded, of the bytes alone."""
  if source.arrays is None:
    return source.info.sha256
  return _sha256_of_bytes(source.arrays, source.lengths)


def _sha256_of_bytes(arrays: Arrays, lengths: np.ndarray | None) -> str:
  digest = hashlib.sha256()
  for name in sorted(arrays):
    digest.update(np.ascontiguousarray(arrays[name]))
  if lengths is not None:
    digest.update(lengths)
  return digest.hexdigest()
