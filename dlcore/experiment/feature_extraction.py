"""Features of new examples: the input of a model's output layer."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import data, layers, transfer
from dlcore.errors import UserError
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.prediction import compile_prediction, predict_batches
from dlcore.experiment.prediction_inputs import list_files
from dlcore.experiment.restoring import RestoredRun, arrays_to_json
from dlcore.task import Task
from dlcore.tasks.model_calls import (
  check_signature,
  make_inputs,
  token_arguments,
)
from dlcore.typing import Array, Batch, ModelState, Params

FEATURES, CLASSIFIER, EMBEDDING = "features", "classifier", "embedding"
REMEDY = "choose a run of classification or regression, or pass source=FOLDER"


class Features(NamedTuple):
  """The features of the examples that could be read."""

  values: np.ndarray
  """float32 `[N, D]`."""

  inputs: list[str]
  """Names of the N examples: paths, `"table.csv:2"` or `"text:0"`."""

  errors: list[tuple[str, str]]
  """`(name, reason)` of the examples without features."""

  rows: np.ndarray
  """int64 `[N]`, positions among all examples of the input."""


class FeatureExtractor:
  """Computes features with the weights of a run or of a published model."""

  def __init__(self, run: RestoredRun):
    """Takes a run of `feature_run` or `published_run`; it is compiled."""
    self.info, self.path = run.info, run.folder.path
    self._predict, self._rows = compile_prediction(run)

  @property
  def reads_texts(self) -> bool:
    """Whether examples are texts."""
    return hasattr(self.info.schema, "read_texts")

  @property
  def reads_images(self) -> bool:
    """Whether examples are image files."""
    return hasattr(self.info.schema, "decode")

  @property
  def text_columns(self) -> tuple[str, ...]:
    """The columns of the texts in tables, as in the training data."""
    return getattr(self.info.schema, "columns", ())

  def features(self, paths: Sequence[Any]) -> Features:
    """Returns the features of files; folders count for their files.

    Raises:
      UserError: a path does not exist, or a folder is empty.
    """
    return self.file_features(list_files(paths))

  def file_features(self, files: Sequence[Path]) -> Features:
    """Returns the features of files, which need not exist."""
    batches = self.info.schema.read(files, self.info, self._rows)
    return self.of_batches(batches, files)

  def text_features(self, texts: Sequence[Any]) -> Features:
    """Returns the features of texts, which are read in order of their length.

    Raises:
      UserError: the model does not take texts, or a value is not a text.
    """
    read_texts = getattr(self.info.schema, "read_texts", None)
    if read_texts is None:
      raise UserError(
        "expected a model of texts",
        f"got {self.path}, which takes {self.info.schema.input!r}",
        "pass files in place of texts",
      )
    texts = [texts] if isinstance(texts, str) else list(texts)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    batches = read_texts([texts[i] for i in order], self._rows)
    rows: list[dict[str, Any]] = [{}] * len(texts)
    found = predict_batches(self._predict, batches)
    for position, row in zip(order, found, strict=True):
      rows[position] = {**row, "input": f"text:{position}"}
    return _collect(rows)

  def of_batches(
    self, batches: Iterable[data.ReadBatch], files: Sequence[Path] = ()
  ) -> Features:
    """Returns the features of examples that a schema has read.

    Args:
      batches: the examples.
      files: those that contain the examples; empty for arrays.
    """
    return _collect(predict_batches(self._predict, batches, files))


def _collect(rows: Iterable[Mapping[str, Any]]) -> Features:
  values, inputs, errors, positions = [], [], [], []
  for position, row in enumerate(rows):
    if "error" in row:
      errors.append((row["input"], row["error"]))
      continue
    values.append(row[FEATURES])
    inputs.append(row["input"])
    positions.append(position)
  stacked = np.stack(values) if values else np.zeros((0, 0), np.float32)
  return Features(stacked, inputs, errors, np.asarray(positions, np.int64))


def feature_run(run: RestoredRun) -> RestoredRun:
  """Returns a run whose predictions are features, float32 `[D]`.

  They are those of the input itself, also if predictions average over views.

  Raises:
    UserError: the model has no output layer, or no single vector for each
      example.
  """
  schema, model = run.info.schema, run.model
  if model is None:
    raise UserError(
      "expected the model of the run among its parts",
      f"got none from parts() for {run.folder.path}",
      "return Parts(task, splits, model)",
    )
  inputs = make_inputs(schema.input, schema.normalization)

  def predict(
    params: Params, model_state: ModelState, batch: Batch, key: Array
  ) -> dict[str, Array]:
    del key
    arguments = token_arguments(schema.input, batch, model)
    check_signature(model, arguments)
    variables = run.task.variables(params, model_state)
    features = _model_features(model, variables, inputs(batch), arguments)
    _check_features(run, features)
    return {FEATURES: features.astype(np.float32)}

  result = _with_features(run, predict)
  _trace(result)
  return result


def published_run(source: str | Path) -> RestoredRun:
  """Returns a published model as a run whose predictions are features.

  Args:
    source: see `transfer.load_encoder`.

  Raises:
    UserError: see `transfer.load_encoder`.
  """
  encoder = transfer.load_encoder(source)
  info = data.DataInfo(
    name=str(source),
    size=0,
    sha256="",
    inputs=encoder.inputs,
    notes=(),
    schema=encoder.schema,
  )

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del model_state, key
    return {FEATURES: encoder.apply(params, dict(batch))}

  unused: Any = None
  result = RestoredRun(
    folder=RunFolder(source),
    config={},
    info=info,
    model=None,
    task=Task(init=unused, loss=unused, evaluate=unused, predict=predict),
    params=encoder.variables,
    model_state={},
    to_json=arrays_to_json,
  )
  return _with_features(result, predict)


def _model_features(
  model: Any, variables: Any, inputs: Array, arguments: dict[str, Array]
) -> Any:
  """Returns the input of the output layer, or None; embeddings themselves.

  A classifier whose parts have an output layer each, such as a mean of two
  networks, returns the features of all of them if it has no head.
  """
  with layers.recorded_head_input() as recorded:
    output = model.apply(variables, inputs, **arguments, train=False)
  if getattr(model, "head", None) == EMBEDDING:
    return output
  if recorded.value is None and getattr(model, "head", None) == CLASSIFIER:
    model = model.clone(head=None)
    return model.apply(variables, inputs, **arguments, train=False)
  return recorded.value


def _with_features(run: RestoredRun, predict: Any) -> RestoredRun:
  task = run.task._replace(predict=predict)
  return run._replace(task=task, to_json=lambda row, info: dict(row))


def _trace(run: RestoredRun) -> None:
  """Traces the prediction of one example, for its errors."""
  dtype_of = jax.dtypes.canonicalize_dtype
  batch = {
    name: jax.ShapeDtypeStruct((1, *shape), dtype_of(dtype))
    for name, (shape, dtype) in run.info.inputs.items()
  }
  arguments = (run.params, run.prediction_state, batch, jax.random.key(0))
  jax.eval_shape(run.task.predict, *arguments)


def _check_features(run: RestoredRun, value: Any) -> None:
  name = type(run.model).__name__
  if getattr(value, "ndim", 0) == 0:
    raise UserError(
      "expected a model with an output layer, whose input are the features",
      f"got {name} without one in {run.folder.path}",
      REMEDY,
    )
  if value.ndim != 2:
    raise UserError(
      "expected a model with one vector of features for each example, [B, D]",
      f"got {name} with features [B, {', '.join(map(str, value.shape[1:]))}] "
      f"for each token, in {run.folder.path}",
      REMEDY,
    )
