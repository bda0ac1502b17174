"""A trained run as a predictor, for programs and notebooks."""

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore import data, training
from dlcore.errors import UserError
from dlcore.experiment import training_run
from dlcore.experiment.feature_extraction import (
  FeatureExtractor,
  Features,
  feature_run,
)
from dlcore.experiment.prediction import (
  compile_prediction,
  predict_batches,
  predict_texts,
)
from dlcore.experiment.prediction_inputs import list_files
from dlcore.experiment.restoring import restore_run


def load(workdir: str | Path, *, step: int | None = None) -> "Predictor":
  """Returns the predictor of a run.

  Args:
    workdir: the run folder; nothing else is needed. A run of `training.fit`
      needs `experiment.register(module)` before, see `registration`.
    step: the checkpoint; None for the best.

  Raises:
    UserError: the folder is not a run with a finished checkpoint.
  """
  return Predictor(workdir, step)


class Predictor:
  """Predicts and evaluates with the weights of one checkpoint."""

  def __init__(self, workdir: str | Path, step: int | None = None):
    """Reads the run; see `load`."""
    self._run = restore_run(workdir, step)
    self._step = step
    self._predict, self._rows = compile_prediction(self._run)

  def __repr__(self) -> str:
    info = self._run.info
    return f"Predictor({str(self._run.folder.path)!r}, trained on {info.name})"

  @property
  def classes(self) -> tuple[str, ...]:
    """The names of the classes in the order of the labels, or `()`."""
    return self._run.info.schema.classes

  @property
  def variables(self) -> dict[str, Any]:
    """The variables of the run's model, with adapters merged."""
    return self._run.task.variables(
      self._run.params, self._run.prediction_state
    )

  @property
  def info(self) -> data.DataInfo:
    """The description of the training data."""
    return self._run.info

  def predict(self, inputs: Any) -> list[dict[str, Any]]:
    """Returns a prediction for every input, in their order.

    Args:
      inputs: a path or several (folders count for their files), an array
        `[N, ...]` of the main input, a mapping of arrays by name, or a frame
        with the columns of the training table.

    Returns:
      `{"input", ...}` for each with the fields of the task, such as `{"input",
      "label", "probability", "probabilities"}`, or `{"input", "error"}` for an
      input that cannot be read or whose prediction is not finite.

    Raises:
      UserError: a path does not exist, or the arrays differ from those of the
        training data in name, shape or dtype.
    """
    files, batches = self._read(inputs)
    return list(predict_batches(self._predict, batches, files))

  def predict_texts(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns a prediction for every text; see `predict`.

    Args:
      texts: strings, or for pairs of texts two strings each.

    Raises:
      UserError: the run was not trained on texts, or a value is not a text.
    """
    if isinstance(texts, str):
      texts = [texts]
    info = self._run.info
    return list(predict_texts(self._predict, info, texts, self._rows))

  def features(self, inputs: Any) -> Features:
    """Returns the features of every input: those that the model's head takes.

    Args:
      inputs: see `predict`.

    Raises:
      UserError: see `predict`; the model has no output layer, or no single
        vector of features for each example.
    """
    files, batches = self._read(inputs)
    return self._extractor.of_batches(batches, files)

  def text_features(self, texts: Sequence[Any]) -> Features:
    """Returns the features of every text; see `features`.

    Args:
      texts: see `predict_texts`.
    """
    return self._extractor.text_features(texts)

  @functools.cached_property
  def _extractor(self) -> FeatureExtractor:
    return FeatureExtractor(feature_run(self._run))

  def evaluate(self, source: data.Source | str = "test") -> dict[str, Any]:
    """Returns the metrics on a source, or on a split of the run's own data.

    Raises:
      UserError: the split does not exist, or the data has changed.
    """
    if isinstance(source, str):
      path = self._run.folder.path
      return training_run.evaluate(path, source, self._step)
    evaluator = training.Evaluator(self._run.task, source)
    return evaluator.evaluate(self._run.params, self._run.model_state) or {}

  def _read(
    self, inputs: Any
  ) -> tuple[Sequence[Path], Iterator[data.ReadBatch]]:
    """Returns the files, if any, and the inputs in batches of `_rows`."""
    info, schema = self._run.info, self._run.info.schema
    if hasattr(inputs, "__array__") and not hasattr(inputs, "columns"):
      inputs = {schema.input: inputs}
    if isinstance(inputs, Mapping) and schema.input in inputs:
      return (), _split(_check_arrays(inputs, info), self._rows)
    if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):
      read_frame = getattr(schema, "read_frame", None)
      if read_frame is None:
        raise UserError(
          f"expected the arrays {', '.join(info.inputs)}, or paths of files",
          f"got a value of type {type(inputs).__name__}",
        )
      return (), read_frame(inputs, self._rows)
    is_path = isinstance(inputs, str | os.PathLike)
    files = list_files([inputs] if is_path else inputs)
    return files, schema.read(files, info, self._rows)


def _split(
  arrays: Mapping[str, np.ndarray], rows: int
) -> Iterator[data.ReadBatch]:
  """Yields arrays `[N, ...]` in batches, whose names are the positions."""
  size = len(next(iter(arrays.values())))
  for start in range(0, size, rows):
    stop = min(start + rows, size)
    batch = {name: array[start:stop] for name, array in arrays.items()}
    yield data.ReadBatch([str(i) for i in range(start, stop)], batch, [])


def _check_arrays(
  arrays: Mapping[str, Any], info: data.DataInfo
) -> dict[str, np.ndarray]:
  """Returns the inputs of the model in their dtypes.

  Raises:
    UserError: one is missing, or has another shape or kind of numbers.
  """
  result = {}
  for name, (shape, dtype) in info.inputs.items():
    if name not in arrays:
      raise UserError(
        f"expected the arrays {', '.join(info.inputs)}",
        f"got {', '.join(map(str, arrays)) or 'none'}",
      )
    array = np.asarray(arrays[name])
    same_kind = np.can_cast(array.dtype, dtype, "same_kind")
    if array.shape[1:] != tuple(shape) or array.ndim == 0 or not same_kind:
      raise UserError(
        f"expected {name} of shape {['N', *shape]} and {dtype}, as in training",
        f"got {list(array.shape)} of {array.dtype}",
        "one example alone is array[None]",
      )
    result[name] = array.astype(dtype)
  sizes = {name: len(array) for name, array in result.items()}
  if len(set(sizes.values())) > 1:
    raise UserError("expected arrays of one length", f"got {sizes}")
  return result
