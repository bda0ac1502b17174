"""Predictions of a run for new files."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dlcore import storage
from dlcore.data import ReadBatch
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.experiment.restoring import RestoredRun, restore_run

ROWS = 256
"""The number of inputs that are read and predicted at a time, at most."""

MAX_BYTES = 1 << 30
"""Temporary memory of a batch of more than one input."""

Predict = Callable[[Arrays], list[dict[str, Any]]]
"""`(arrays [B, ...]) -> fields of each prediction`."""


def predict(
  workdir: str | Path, paths: Sequence[str], step: int | None = None
) -> Iterator[dict[str, Any]]:
  """Yields a prediction for every example in the files.

  Args:
    workdir: the run folder; nothing else is needed.
    paths: files, or folders that count for the files in them.
    step: the checkpoint; None for the best.

  Yields:
    `{"input", ...}` with the fields of the task, such as `{"input", "label",
    "probability", "probabilities"}`, and `{"input", "error"}` for an input
    that cannot be read or whose prediction is not finite.

  Raises:
    UserError: the folder is not a finished run, or a path does not exist.
  """
  files = list_files(paths)
  run = restore_run(workdir, step)
  predict_batch, size = compile_prediction(run)
  batches = run.info.schema.read(files, run.info, size)
  yield from predict_batches(predict_batch, batches)


def predict_batches(
  predict_batch: Predict, batches: Iterable[ReadBatch]
) -> Iterator[dict[str, Any]]:
  """Yields the prediction, or the error, of every input; see `predict`."""
  for batch in batches:
    yield from ({"input": name, "error": why} for name, why in batch.errors)
    if batch.arrays is not None:
      rows = predict_batch(batch.arrays)
      for name, fields in zip(batch.names, rows, strict=True):
        yield {"input": name, **fields}


def compile_prediction(run: RestoredRun) -> tuple[Predict, int]:
  """Compiles the prediction of a batch.

  Returns:
    `(arrays) -> [fields]`, the fields of each prediction or `{"error"}`, and
    the largest number of rows of the arrays `[B, ...]`.

  Raises:
    UserError: one input takes more than an eighth of the memory.
  """
  function, size = _compile(run, run.info.max_rows(ROWS))

  def predict_batch(arrays: Arrays) -> list[dict[str, Any]]:
    count = len(next(iter(arrays.values())))
    # Padded to one size, so that one program serves all.
    batch = {
      name: np.resize(array, (size, *array.shape[1:]))
      for name, array in arrays.items()
    }
    batch["index"] = np.arange(size, dtype=np.int32)
    rows = jax.device_get(function(batch))
    results = []
    for i in range(count):
      row = {field: values[i] for field, values in rows.items()}
      fields = run.to_json(row, run.info)
      if not _is_finite(fields):
        fields = {"error": "the prediction is not finite for this input"}
      results.append(fields)
    return results

  return predict_batch, size


def _compile(
  run: RestoredRun, size: int
) -> tuple[Callable[[Any], dict[str, Any]], int]:
  """Compiles the prediction of a batch.

  Args:
    run: its model and variables.
    size: the largest number of rows.

  Returns:
    The function of a batch, and its number of rows, so that the temporary
    arrays fit in `MAX_BYTES`; 1 for larger inputs.

  Raises:
    UserError: one input takes more than an eighth of the memory.
  """
  task, dtype_of = run.task, jax.dtypes.canonicalize_dtype
  arguments = (run.params, run.model_state)
  key = jax.random.key(0)
  while True:
    batch = {
      name: jax.ShapeDtypeStruct((size, *shape), dtype_of(dtype))
      for name, (shape, dtype) in run.info.inputs.items()
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
      f"got {needed:,} bytes for inputs of {dict(run.info.inputs)}",
      "use a machine with more memory; if you edited data.json, put a good "
      "copy back",
    )
  return lambda batch: program(*arguments, batch, key), size


def _is_finite(value: Any) -> bool:
  """Returns whether all numbers in a JSON value are finite."""
  if isinstance(value, dict):
    return all(map(_is_finite, value.values()))
  if isinstance(value, list | tuple):
    return all(map(_is_finite, value))
  return not isinstance(value, float) or math.isfinite(value)


def list_files(paths: Sequence[str]) -> list[Path]:
  """Returns the files, and those in the folders that are not hidden.

  Raises:
    UserError: a path does not exist, or a folder is empty.
  """
  files = []
  for path in map(Path, paths):
    if not os.path.exists(path):
      raise UserError(
        "expected files or folders to predict", f"got {path}: no such file"
      )
    if os.path.isdir(path):
      every = (file for file in path.rglob("*") if file.is_file())
      visible = sorted(f for f in every if not f.name.startswith("."))
      if not visible:
        raise UserError(
          f"expected files in the folder {path}", "got an empty folder"
        )
      files += visible
    else:
      files.append(path)
  return files
