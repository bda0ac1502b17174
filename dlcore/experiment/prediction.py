"""Predictions of a run for new files."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import storage
from dlcore.data import DataInfo, ReadBatch
from dlcore.data.info import Inputs
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.experiment.prediction_inputs import InputOrder, list_files
from dlcore.experiment.restoring import RestoredRun, restore_run

ROWS = 256
"""The number of inputs that are read and predicted at a time, at most."""

MAX_BYTES = 1 << 30
"""Temporary memory of a batch of more than one input."""

NOT_FINITE = "the output of the model is not finite for this input"

Predict = Callable[[Arrays], list[dict[str, Any]]]
"""`(arrays [B, ...]) -> fields of each prediction`."""


def predict(
  workdir: str | Path,
  paths: Sequence[str],
  step: int | None = None,
  texts: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
  """Yields a prediction for every example in the files, and for every text.

  Args:
    workdir: the run folder; nothing else is needed.
    paths: files, or folders that count for the files in them.
    step: the checkpoint; None for the best.
    texts: see `predict_texts`.

  Yields:
    `{"input", ...}` with the fields of the task, such as `{"input", "label",
    "probability", "probabilities"}`, and `{"input", "error"}` for an input
    that cannot be read or whose prediction is not finite.

  Raises:
    UserError: the folder is not a finished run, a path does not exist, or the
      run was not trained on texts.
  """
  files = list_files(paths)
  run = restore_run(workdir, step)
  predict_batch, size = compile_prediction(run)
  batches = run.info.schema.read(files, run.info, size)
  yield from predict_batches(predict_batch, batches, files)
  if texts:
    yield from predict_texts(predict_batch, run.info, texts, size)


def predict_texts(
  predict_batch: Predict,
  info: DataInfo,
  texts: Sequence[Any],
  rows: int,
) -> Iterator[dict[str, Any]]:
  """Yields the prediction, or the error, of every text in their order.

  Args:
    predict_batch: see `compile_prediction`.
    info: of the training data.
    texts: strings; of pairs two strings each, or one with a tab in between.
    rows: largest number of texts in a batch.

  Yields:
    See `predict`; the input is the text.

  Raises:
    UserError: the run was not trained on texts, or a value is not a text.
  """
  read_texts = getattr(info.schema, "read_texts", None)
  if read_texts is None:
    raise UserError(
      "expected a run that was trained on texts",
      f"got one that was trained on {info.name!r}, of the kind "
      f"{info.schema.kind!r}",
      "pass files in place of texts",
    )
  predictions = predict_batches(predict_batch, read_texts(texts, rows))
  for text, row in zip(texts, predictions, strict=True):
    yield {**row, "input": text}


def predict_batches(
  predict_batch: Predict,
  batches: Iterable[ReadBatch],
  files: Sequence[Path] = (),
) -> Iterator[dict[str, Any]]:
  """Yields the prediction, or the error, of every input in their order.

  Args:
    predict_batch: see `compile_prediction`.
    batches: the inputs.
    files: those that contain the inputs; empty for arrays and data frames.

  Yields:
    See `predict`.
  """
  order = InputOrder(files)
  for batch in batches:
    rows = [] if batch.arrays is None else predict_batch(batch.arrays)
    examples = [
      (name, fields if _is_finite(fields) else {"error": NOT_FINITE})
      for name, fields in zip(batch.names, rows, strict=True)
    ]
    examples += [(name, {"error": why}) for name, why in batch.errors]
    for name, fields in order.sort(examples):
      yield {"input": name, **fields}


def compile_prediction(run: RestoredRun) -> tuple[Predict, int]:
  """Compiles the prediction of a batch.

  Returns:
    `(arrays) -> [fields]`, the fields of each prediction, and the largest
    number of rows of the arrays `[B, ...]`. Longer texts than those of the
    training data are compiled when they come.

  Raises:
    UserError: one input takes more than an eighth of the memory.
  """
  programs = {}

  def program_of(inputs: Inputs) -> tuple[Callable[[Any], Any], int]:
    key = tuple((k, tuple(shape)) for k, (shape, _) in inputs.items())
    if key not in programs:
      programs[key] = _compile(run, inputs)
    return programs[key]

  def predict_batch(arrays: Arrays) -> list[dict[str, Any]]:
    inputs = {
      name: (arrays[name].shape[1:], dtype)
      for name, (_, dtype) in expected.items()
      if name in arrays
    }
    function, size = program_of(inputs)
    count = len(next(iter(arrays.values())))
    return [
      fields
      for start in range(0, count, size)
      for fields in predict_rows(
        function,
        {k: array[start : start + size] for k, array in arrays.items()},
        size,
      )
    ]

  def predict_rows(
    function: Callable[[Any], Any], arrays: Arrays, size: int
  ) -> list[dict[str, Any]]:
    count = len(next(iter(arrays.values())))
    # Padded to one size, so that one program serves all.
    batch = {
      name: np.resize(array, (size, *array.shape[1:]))
      for name, array in arrays.items()
    }
    batch["index"] = np.arange(size, dtype=np.int32)
    rows = jax.device_get(function(batch))
    return [
      run.to_json({name: values[i] for name, values in rows.items()}, run.info)
      for i in range(count)
    ]

  expected = run.info.schema.read_inputs(run.info.inputs)
  _, size = program_of(expected)
  return predict_batch, size


def _compile(
  run: RestoredRun, inputs: Inputs
) -> tuple[Callable[[Any], dict[str, Any]], int]:
  """Compiles the prediction of a batch.

  Args:
    run: its model and variables.
    inputs: of one example.

  Returns:
    The function of a batch, and its number of rows, so that the temporary
    arrays fit in `MAX_BYTES`; 1 for larger inputs.

  Raises:
    UserError: one input takes more than an eighth of the memory.
  """
  task, dtype_of = run.task, jax.dtypes.canonicalize_dtype
  arguments = (run.params, run.prediction_state)
  key = jax.random.key(0)
  size = run.info._replace(inputs=inputs).max_rows(ROWS)
  while True:
    batch = {
      name: jax.ShapeDtypeStruct((size, *shape), dtype_of(dtype))
      for name, (shape, dtype) in inputs.items()
    }
    batch["index"] = jax.ShapeDtypeStruct((size,), np.int32)
    program = jax.jit(task.predict).lower(*arguments, batch, key).compile()
    analysis = program.memory_analysis()  # None on some backends.
    needed = analysis.temp_size_in_bytes if analysis else 0
    if needed <= MAX_BYTES or size == 1:
      break
    size = max(1, size * MAX_BYTES // needed)
  limit = max(MAX_BYTES, storage.physical_memory() // 8)
  if needed > limit:
    raise UserError(
      f"expected one input to take at most {limit:,} bytes of memory, an "
      f"eighth of all, in the model of {run.folder.path}",
      f"got {needed:,} bytes for inputs of {dict(inputs)}",
      "use a machine with more memory; if you edited data.json, put a good "
      "copy back",
    )
  return lambda batch: program(*arguments, batch, key), size


def _is_finite(value: Any) -> bool:
  """Returns whether all numbers in a JSON value, or an array, are finite."""
  if isinstance(value, np.ndarray):
    return bool(np.isfinite(value).all())
  if isinstance(value, dict):
    return all(map(_is_finite, value.values()))
  if isinstance(value, list | tuple):
    return all(map(_is_finite, value))
  return not isinstance(value, float) or math.isfinite(value)
