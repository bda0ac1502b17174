"""Checks of arrays in memory: shapes, values, statistics and lengths."""

import numpy as np

from dlcore.data.info import IGNORED, LABELS, TOKENS, Schema
from dlcore.data.source import Arrays
from dlcore.errors import UserError

INTEGER_INPUTS = (
  TOKENS,
  "token_type_ids",
  "segment_ids",
  "positions",
  "decoder_input_ids",
)
"""Inputs with values that index an embedding, and numbers of segments."""

MAX_ROUNDING = 1e-5
"""Rounding to float32, in deviations of a column, above which columns are
refused: rows that differ could become equal."""


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


def check_values(batch: Arrays, schema: Schema, name: str) -> None:
  """Checks that numbers are finite, and labels and token ids in range.

  Args:
    batch: arrays `[B, ...]` by name.
    schema: of the source.
    name: of the data set, for the message.

  Raises:
    UserError: a number is NaN or infinite, a label is not a number or out of
      range, a weight is below 0, or a token id is not an integer or out of
      range.
  """
  for array_name, array in batch.items():
    if array.dtype.kind == "f" and not np.isfinite(array).all():
      row, *index = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
      position = schema.position(array_name, index)
      raise UserError(
        f"expected finite numbers in {name}",
        f"got {array[(row, *index)]} in {array_name!r}, row {row}{position}",
        "fix or remove that row",
      )
  if schema.target in batch and schema.classes:
    _check_labels(batch[schema.target], schema, name)
  if "weight" in batch:
    _check_weights(batch["weight"], name)
  if schema.input == TOKENS:
    _check_ids(batch, schema.vocab_size, name)


def integer_labels(arrays: Arrays, schema: Schema) -> Arrays:
  """Returns `arrays` with bool and float class labels `[N]` as int32."""
  labels = arrays.get(schema.target) if schema.classes else None
  if labels is None or labels.ndim != 1 or labels.dtype.kind not in "bf":
    return arrays
  return {**arrays, schema.target: labels.astype(np.int32)}


def count_classes(arrays: Arrays, schema: Schema) -> tuple[int, ...]:
  """Returns the number of examples of each class, or with each label.

  Those of `LABELS` are numbers of scored tokens. Empty without classes, and for
  targets of another shape.
  """
  labels = arrays.get(schema.target)
  if labels is None or not schema.classes:
    return ()
  if schema.multilabel:
    return tuple((labels > 0.5).sum(0).tolist())
  if schema.target == LABELS:
    labels = labels[labels != IGNORED]
  if labels.ndim != 1:
    return ()
  counts = np.bincount(labels.astype(np.int64), minlength=len(schema.classes))
  return tuple(counts.tolist())


def _check_labels(labels: np.ndarray, schema: Schema, name: str) -> None:
  largest = 1 if schema.multilabel else len(schema.classes) - 1
  columns = (len(schema.classes),) if schema.multilabel else labels.shape[1:]
  if labels.shape[1:] != columns:
    raise UserError(
      f"expected {schema.target!r} of {name} with a column for each of "
      f"{columns[0]} classes",
      f"got the shape {list(labels.shape)}",
    )
  if labels.dtype.kind not in "biuf":
    raise UserError(
      f"expected labels from 0 to {largest} in {name}",
      f"got the dtype {labels.dtype} in {schema.target!r}",
      "encode the class names as numbers, such as np.unique(labels, "
      "return_inverse=True)",
    )
  bad = (labels < 0) | (labels > largest)
  if labels.ndim == 1:  # Those of several labels may be probabilities.
    bad |= labels != np.floor(labels)
  if schema.target == LABELS:
    bad &= labels != IGNORED
  wrong = np.argwhere(bad)
  if len(wrong):
    raise UserError(
      f"expected integer labels from 0 to {largest} in {name}",
      f"got {labels[tuple(wrong[0])]} in row {wrong[0][0]} "
      f"({len(wrong)} such labels)",
      "fix or remove those rows",
    )


def _check_weights(weights: np.ndarray, name: str) -> None:
  if weights.ndim != 1 or weights.dtype.kind not in "biuf":
    got = f"got {weights.dtype} of the shape {list(weights.shape)}"
  elif weights.min() < 0:
    got = f"got {weights.min()} in row {weights.argmin()}"
  else:
    return
  raise UserError(
    f"expected the array 'weight' of {name} to hold the weights of its "
    "examples, numbers [N] of at least 0",
    got,
    "rename an array of another meaning",
  )


def _check_ids(batch: Arrays, vocab_size: int | None, name: str) -> None:
  """Checks the dtype and the range of token ids and token types."""
  for array_name in [key for key in INTEGER_INPUTS if key in batch]:
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


def check_rounding(arrays: Arrays, schema: Schema, name: str) -> None:
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


def check_target_statistics(arrays: Arrays, schema: Schema) -> None:
  """Checks the shapes of `schema.target_normalization`.

  Raises:
    ValueError: they are neither numbers nor those of the columns of the target.
  """
  statistics = schema.target_normalization or {}
  shapes = {np.shape(value) for value in statistics.values()}
  columns = arrays[schema.target].shape[1:][-1:] if schema.target else ()
  if shapes not in (set(), {()}, {columns}):
    raise ValueError(
      "expected target_normalization of two numbers, or of two lists for a "
      f"target [N, K], got the shapes {sorted(shapes)} for {columns}"
    )


def checked_lengths(
  lengths: np.ndarray, arrays: Arrays, schema: Schema
) -> np.ndarray:
  """Returns the lengths of sequences as int32 `[N]`.

  Raises:
    ValueError: the main input has no sequences, or the lengths do not fit it or
      its `attention_mask`.
  """
  lengths = np.asarray(lengths)
  array = arrays.get(schema.input)
  if lengths.dtype.kind not in "iu":
    raise ValueError(f"expected integer lengths, got {lengths.dtype}")
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
  return lengths.astype(np.int32)
