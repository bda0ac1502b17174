"""The tokens that mattered in the worst examples, for the report."""

import logging
from collections.abc import Mapping

import numpy as np

from dlcore import data, models
from dlcore.data.info import TOKENS
from dlcore.experiment.build import Experiment
from dlcore.tasks.model_calls import token_arguments
from dlcore.typing import ModelState, Params

GRADIENT = "gradient \N{MULTIPLICATION SIGN} input of their embeddings"
ERASURE = "leaving each of them out"
"""How the share of a token in a prediction is measured."""

logger = logging.getLogger("dlcore")


def worst_tokens(
  experiment: Experiment,
  source: data.Source,
  variables: tuple[Params, ModelState],
  arrays: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """Returns the arrays of `report_arrays` about tokens of the worst examples.

  Positive tokens speak for the predicted class and negative ones for the true
  class, or they raise and lower a predicted number.

  Args:
    experiment: the parts of the run.
    source: the examples.
    variables: those of the task that evaluation uses.
    arrays: those of the predictions.

  Returns:
    `relevance_method`, `worst_token_end` and `worst_relevance`; of tagged
    tokens their ends alone; an empty dict if the worst examples are not texts.
  """
  texts, schema = arrays.get("worst_input"), source.info.schema
  if texts is None or texts.dtype.kind != "U" or schema.input != TOKENS:
    return {}
  batch = source.read(arrays["worst_index"])
  ends = schema.token_ends(batch)
  if ends is not None and "worst_token_label" in arrays:
    return {"worst_token_end": ends}
  weights = _score_weights(arrays, len(schema.classes))
  if ends is None or weights is None:
    return {}
  inputs = {name: batch[name] for name in source.info.inputs}
  model = experiment.model
  arguments = (
    model,
    experiment.task.variables(*variables),
    inputs[TOKENS],
    weights,
    token_arguments(TOKENS, inputs, model),
  )
  method = GRADIENT
  try:
    relevance = models.token_relevance(*arguments)
    if relevance is None:
      method, relevance = ERASURE, models.erasure_relevance(*arguments)
  except Exception as error:  # A model of the user's; it must not cost the run.
    logger.warning("the report omits the relevance of tokens: %r", error)
    return {}
  kept = np.nan_to_num(np.asarray(relevance), posinf=0.0, neginf=0.0)
  return {
    "relevance_method": np.asarray(method),
    "worst_token_end": ends,
    "worst_relevance": kept,
  }


def _score_weights(
  arrays: Mapping[str, np.ndarray], classes: int
) -> np.ndarray | None:
  """Returns the weights of the model's outputs in the score, `[M, C]`."""
  if "worst_target" in arrays:
    return np.ones((len(arrays["worst_target"]), 1), np.float32)
  label = arrays.get("worst_label", np.array([""]))
  prediction = arrays["worst_prediction"]
  if label.dtype.kind not in "iu" or prediction.dtype.kind not in "iu":
    return None
  identity = np.eye(classes, dtype=np.float32)
  return identity[prediction] - identity[label]
