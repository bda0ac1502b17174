"""Sources of arrays in memory."""

import collections
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
  describe_targets,
)
from dlcore.data.source import Arrays, Source, take_rows
from dlcore.data.value_checks import (
  check_rounding,
  check_target_statistics,
  check_values,
  checked_lengths,
  count_classes,
  count_examples,
  integer_labels,
)
from dlcore.errors import UserError, nearest

INPUTS = ("image", "features", TOKENS)
"""Names that `from_arrays` recognizes as the main input."""

TARGETS = ("label", "target")
"""Names that `from_arrays` recognizes as the target."""

RESERVED = ("begins", "index", "mask", "partner_label", "share", "slot")
"""Arrays that the loader and augmentations add to a batch."""


def from_arrays(
  arrays: Arrays,
  *,
  name: str = "arrays",
  input: str | None = None,  # noqa: A002  the name of the schema's field
  target: str | None = None,
  classes: Sequence[str] | None = None,
  multilabel: bool | None = None,
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
      `attention_mask`, `token_type_ids`, `segment_ids`, `positions` and
      `decoder_input_ids` are further inputs of `input_ids`.
    target: the array to predict; by default `label` or `target`.
    classes: names of the classes, if the target holds their numbers.
    multilabel: whether the target is `[N, C]`, with a 1 for each class that an
      example has and 0 for the others.
    normalization: `{"mean": [...], "std": [...]}` of the input over the
      training split, per channel for images (on the scale 0 to 1), per column
      for tables.
    target_normalization: `{"mean": m, "std": s}` of a regression's target
      `[N]`, or `{"mean": [...], "std": [...]}` of the columns of one `[N, K]`.
    sequences: arrays `[N, T, ...]` that are cut to the length of a batch. By
      default, if there are `lengths`: the main input, its masks, types,
      segments and positions and, without a decoder, a target of T values.
    schema: of the kind of data, such as `ImageSchema()`; by default
      `ArraySchema()`. The arguments above replace its fields.
    notes: sentences for the user, such as the number of skipped examples.
    lengths: int `[N]`, tokens or frames of each example.

  Raises:
    UserError: the arrays are empty or differ in length, there is no array of
      a name that an argument or the schema gives, a name is one of `RESERVED`,
      two classes have the same name, a value is NaN or infinite, a label or
      token id is not an integer in range, or float32, in which models compute,
      would merge numbers of 64 bits.
    ValueError: the arrays contradict the schema in another way.
  """
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  size = count_examples(arrays, name)
  for reserved in sorted(arrays.keys() & set(RESERVED)):
    raise UserError(
      f"expected arrays of other names than {', '.join(RESERVED)} in {name}",
      f"got {reserved!r}",
      "rename it; the loader and augmentations create these arrays",
    )
  fields = {
    "input": input,
    "target": target,
    "classes": classes,
    "multilabel": multilabel,
    "normalization": normalization,
    "target_normalization": target_normalization,
    "sequences": sequences,
  }
  schema = _completed(arrays, schema or ArraySchema(), fields, name)
  if lengths is not None:
    lengths = checked_lengths(lengths, arrays, schema)
    if sequences is None and not schema.sequences:
      sequences = _sequences(arrays, schema)
      schema = dataclasses.replace(schema, sequences=sequences)
  inputs = describe_inputs(arrays, schema.input)
  schema.validate(inputs)
  check_target_statistics(arrays, schema)
  check_values(arrays, schema, name)
  arrays = integer_labels(arrays, schema)
  if schema.input == TOKENS and schema.vocab_size is None:
    vocab_size = 1 + int(arrays[TOKENS].max())
    schema = dataclasses.replace(schema, vocab_size=vocab_size)
  check_rounding(arrays, schema, name)
  info = DataInfo(
    name=name,
    size=size,
    sha256=_checksum(arrays, lengths),
    inputs=inputs,
    notes=tuple(notes),
    schema=schema,
    targets=describe_targets(arrays, inputs),
    class_counts=count_classes(arrays, schema),
  )
  read = functools.partial(take_rows, arrays)
  return Source(size, arrays, read, info, lengths)


def _completed(
  arrays: Arrays, schema: Schema, fields: Mapping[str, Any], data_name: str
) -> Schema:
  """Returns `schema` with `fields` and the recognized names of `arrays`."""
  fields = {name: value for name, value in fields.items() if value is not None}
  schema = dataclasses.replace(schema, **fields)
  schema = dataclasses.replace(schema, **_serializable(schema, data_name))
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


def _serializable(schema: Schema, data_name: str) -> dict[str, Any]:
  """Returns the fields of `schema` that may be arrays, as Python objects."""
  lists, scalars = schema.normalization, schema.target_normalization
  return {
    "classes": _class_names(schema.classes, data_name),
    "normalization": lists
    and {k: np.asarray(v, float).ravel().tolist() for k, v in lists.items()},
    "target_normalization": scalars
    and {
      k: np.asarray(v, float).squeeze().tolist() for k, v in scalars.items()
    },
    "sequences": tuple(schema.sequences),
    "vocab_size": schema.vocab_size and int(schema.vocab_size),
  }


def _class_names(classes: Any, data_name: str) -> tuple[str, ...]:
  """Returns the class names as strings.

  Raises:
    UserError: they are a single string, no sequence, or not distinct.
  """
  if isinstance(classes, str) or not np.iterable(classes):
    raise UserError(
      f"expected a sequence of class names in {data_name}", f"got {classes!r}"
    )
  names = tuple(map(str, classes))
  if len(set(names)) < len(names):
    twice, _ = collections.Counter(names).most_common(1)[0]
    raise UserError(
      f"expected distinct class names in {data_name}", f"got {twice!r} twice"
    )
  return names


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
