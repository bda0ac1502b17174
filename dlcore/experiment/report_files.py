"""Arrays of the best checkpoint that the report of a run shows."""

import logging
from collections.abc import Mapping

import numpy as np

from dlcore import data, models, report_arrays, tasks, trees
from dlcore.experiment.attention_examples import attention_examples
from dlcore.experiment.build import Experiment
from dlcore.experiment.folder import RunFolder
from dlcore.experiment.relevant_tokens import worst_tokens
from dlcore.experiment.text_samples import MIN_STEPS, sample_texts
from dlcore.tasks.model_calls import make_inputs
from dlcore.typing import ModelState, Params

NAMES = PREDICTIONS, FEATURES = "assets/predictions.npz", "assets/features.npz"

logger = logging.getLogger("dlcore")


def write_predictions(
  folder: RunFolder,
  experiment: Experiment,
  split: str,
  source: data.Source,
  rows: Mapping[str, np.ndarray],
  variables: tuple[Params, ModelState],
) -> None:
  """Writes the arrays that the report shows of the predictions on a split.

  Args:
    folder: of the run.
    experiment: its parts.
    split: the name of `source`.
    source: the examples.
    rows: the predictions.
    variables: those of the task that evaluation uses.
  """
  info = source.info
  kind = tasks.TASKS[experiment.config["task"]["name"]]

  def read(indices: np.ndarray) -> np.ndarray:
    return info.schema.display(source.read(indices))

  targets = data.read_all(source, exclude=info.inputs)
  arrays = kind.report_arrays(split, rows, targets, info, read)
  arrays = {"split": split, **arrays}
  arrays = {name: np.asarray(array) for name, array in arrays.items()}
  if experiment.steps >= MIN_STEPS:
    arrays |= worst_tokens(experiment, source, variables, arrays)
    arrays |= attention_examples(experiment, source, variables, rows)
    arrays |= sample_texts(experiment, source, variables)
  written = {k: array for k, array in arrays.items() if array.dtype != object}
  for name in filter(lambda name: name not in written, arrays):
    logger.warning("the report omits %r, which is not an array", name)
  folder.write_arrays(PREDICTIONS, written)


def write_features(
  folder: RunFolder,
  experiment: Experiment,
  source: data.Source,
  variables: tuple[Params, ModelState],
) -> None:
  """Writes the filters and feature maps of the first image, if there are any.

  Args:
    folder: of the run.
    experiment: its parts.
    source: the examples.
    variables: those of the task that evaluation uses.
  """
  info = source.info
  if len(info.inputs[info.schema.input][0]) != 3:
    return
  image = source.read(np.zeros(1, np.int32))[info.schema.input]
  inputs = make_inputs(info.schema.input, info.schema.normalization)
  model_variables = experiment.task.variables(*variables)
  maps = models.feature_maps(
    experiment.model, model_variables, inputs({info.schema.input: image})
  )
  if not maps:
    return
  params = trees.flatten(model_variables["params"])
  kernel = params[f"{next(iter(maps))}/kernel"]
  rows = {path: np.asarray(rows[0]) for path, rows in maps.items()}
  arrays = report_arrays.features(image[0], np.asarray(kernel), rows)
  folder.write_arrays(FEATURES, arrays)
