"""Training of an output layer on features that are computed once.

If nothing but the output layer is trained and no batch is augmented, the layers
before it return the same features in every epoch.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore import data, training, transfer, trees
from dlcore.experiment.example_inputs import example_inputs
from dlcore.layers import HEAD
from dlcore.task import CARRY, Task
from dlcore.tasks.feature_task import (
  HEAD_INPUT,
  feature_path,
  on_features,
  predicting_features,
)
from dlcore.typing import Batch, Initial, ModelState, Params

MAX_BYTES = 1 << 32
"""Size of the features that are kept. It is a constant, since a run continues
in the same way on a machine with other memory."""

MakeEvaluator = Callable[[data.Source, Task], training.Evaluator]

logger = logging.getLogger("dlcore")


class FitParts(NamedTuple):
  """Arguments of `training.fit`."""

  task: Task
  train: data.Source
  valid: data.Source | None
  initial: Initial | None


def feature_parts(
  parts: FitParts, seed: int, evaluator: MakeEvaluator
) -> FitParts | None:
  """Returns a task on features and its data, or None if it needs its inputs.

  The features are those of the weights with which the run begins.

  Args:
    parts: of a run whose batches are not augmented.
    seed: of the run.
    evaluator: makes an evaluator of a source and a task.
  """
  task, info = parts.task, parts.train.info
  sources = [source for source in parts[1:3] if source is not None]
  batch = example_inputs(info)
  template = jax.eval_shape(lambda: training.init_variables(task, batch, seed))
  params, model_state = template
  paths = trees.flatten(params)
  if CARRY in model_state or not all(p.startswith(f"{HEAD}/") for p in paths):
    return None
  path = feature_path(task, params, model_state, batch)
  count = sum(source.size for source in sources)
  if not path or count * _row_bytes(task, template, batch) > MAX_BYTES:
    return None
  first = jax.jit(lambda: training.init_variables(task, batch, seed))()
  variables = parts.initial(*first) if parts.initial else first
  predicting = predicting_features(task)
  own = [
    _feature_source(
      source, evaluator(source, predicting).predict(*variables)[HEAD_INPUT]
    )
    for source in sources
  ]
  logger.info(
    "features of %s examples are computed once, %s numbers each",
    f"{count:,}",
    f"{own[0].info.inputs[HEAD_INPUT][0][-1]:,}",
  )
  return FitParts(
    on_features(task, path, info.inputs),
    own[0],
    own[1] if len(own) > 1 else None,
    # Loaded once: the arrays are copied.
    transfer.initial(task.variables(*variables), task),
  )


def _row_bytes(
  task: Task, template: tuple[Params, ModelState], batch: Batch
) -> int:
  """Returns the bytes of the features of an example."""
  predict = predicting_features(task).predict
  [row] = jax.eval_shape(predict, *template, batch, jax.random.key(0)).values()
  return row.size * row.dtype.itemsize


def _feature_source(source: data.Source, values: np.ndarray) -> data.Source:
  """Returns a source of features in place of the inputs of a model."""
  others = data.read_all(source, exclude=source.info.inputs)
  arrays: Mapping[str, Any] = {**others, HEAD_INPUT: values}
  inputs = {HEAD_INPUT: (values.shape[1:], values.dtype)}
  return source._replace(
    arrays=arrays,
    read=lambda indices: {k: x[indices] for k, x in arrays.items()},
    info=source.info._replace(inputs=inputs),
    known={},
  )
