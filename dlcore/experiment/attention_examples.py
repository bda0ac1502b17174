"""Attention weights of the model in a few examples, for the report."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore import data, models
from dlcore.data.info import TOKENS
from dlcore.data.text.token_texts import token_labels
from dlcore.experiment.build import Experiment
from dlcore.report.data_arrays import spread
from dlcore.report_arrays import MAX_ATTENDED
from dlcore.tasks.model_calls import token_arguments
from dlcore.tasks.target_decoding import decoder_inputs
from dlcore.typing import ModelState, Params

EXAMPLES, MAPS = 3, 4
"""Examples and maps of each, half of them if the examples are long."""

SHORT = 16
"""Tokens up to which examples are short."""

LAYERS = 2
"""Number of layers that are shown: the first and the last."""

logger = logging.getLogger("dlcore")


def attention_examples(
  experiment: Experiment,
  source: data.Source,
  variables: tuple[Params, ModelState],
  rows: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
  """Returns the arrays of `report_arrays` about attention.

  Weights from target to source are those of the predicted target.

  Args:
    experiment: the parts of the run.
    source: the examples.
    variables: those of the task that evaluation uses.
    rows: the predictions.

  Returns:
    `attention_weight`, `attention_map`, `attention_query` and `attention_key`;
    an empty dict if the inputs are not texts, or the model has no attention.
  """
  model, schema = experiment.model, source.info.schema
  tokenizer = getattr(schema, "tokenizer", None)
  is_text = schema.input == TOKENS and tokenizer is not None
  if not is_text or (schema.translates and "predicted" not in rows):
    return {}
  chosen = spread(np.arange(source.size), EXAMPLES).astype(np.int32)
  batch = source.read(chosen)
  inputs = {name: batch[name] for name in source.info.inputs}
  arguments = token_arguments(TOKENS, inputs, model)
  known = _known(inputs, tokenizer.pad_id)
  keys = [token_labels(tokenizer, ids) for ids in known]
  queries = keys
  if schema.translates:
    target = rows["predicted"][chosen]
    if (target < 0).any():  # The model's outputs are not finite.
      return {}
    arguments |= decoder_inputs(target, schema.output_tokenizer)
    queries = [_target_labels(schema.output_tokenizer, ids) for ids in target]
  try:
    weights = models.attention_maps(
      model,
      experiment.task.variables(*variables),
      inputs[TOKENS],
      arguments,
      max_tokens=MAX_ATTENDED,
    )
  except Exception as error:  # A model of the user's; it must not cost the run.
    logger.warning("the report omits attention maps: %r", error)
    return {}
  if weights is None or not np.isfinite(weights).all():
    return {}
  return _arrays(weights, queries, keys)


def _known(inputs: Mapping[str, np.ndarray], pad_id: int) -> list[list[int]]:
  """Returns the first ids of each example, without padding."""
  ids = np.asarray(inputs[TOKENS])
  mask = inputs.get("attention_mask", inputs.get("segment_ids"))
  lengths = (ids != pad_id if mask is None else np.asarray(mask) > 0).sum(1)
  return [
    row[: min(length, MAX_ATTENDED)].tolist()
    for row, length in zip(ids, lengths, strict=True)
  ]


def _target_labels(tokenizer: Any, ids: np.ndarray) -> list[str]:
  """Returns the labels of a predicted target and its end."""
  ends = np.flatnonzero(ids == tokenizer.eos_id)
  length = 1 + int(ends[0]) if len(ends) else len(ids)
  return token_labels(tokenizer, ids[: min(length, MAX_ATTENDED)].tolist())


def _arrays(
  weights: np.ndarray,
  queries: Sequence[Sequence[str]],
  keys: Sequence[Sequence[str]],
) -> dict[str, np.ndarray]:
  """Returns the arrays of a few examples and heads.

  Args:
    weights: float32 `[L, M, H, T, S]`.
    queries: labels of the tokens that attend, by example.
    keys: labels of those attended to.
  """
  depth, _, heads = weights.shape[:3]
  count = max(map(len, [*queries, *keys]))
  share = 1 if count <= SHORT else 2
  examples = -(-EXAMPLES // share)
  weights, queries, keys = weights[:, :examples], queries[:examples], keys
  layers = spread(np.arange(depth), min(LAYERS, depth))
  per_layer = max(1, MAPS // share // len(layers))
  chosen = [
    (layer, head)
    for layer in layers.tolist()
    for head in _focused(weights[layer], queries, per_layer)
  ]
  titles = [f"layer {layer + 1}, head {head + 1}" for layer, head in chosen]
  if depth == heads == 1:
    titles = [""]
  maps = np.stack([weights[layer, :, head] for layer, head in chosen], 1)
  size = (max(map(len, queries)), max(map(len, keys[:examples])))
  return {
    "attention_weight": maps[..., : size[0], : size[1]].astype(np.float16),
    "attention_map": np.array(titles, str),
    "attention_query": _padded(queries),
    "attention_key": _padded(keys[:examples]),
  }


def _focused(
  weights: np.ndarray, queries: Sequence[Sequence[str]], count: int
) -> list[int]:
  """Returns the heads with the least entropy over keys, ascending.

  Args:
    weights: of a layer, `[M, H, T, S]`.
    queries: labels of the tokens that attend, by example.
    count: number of heads.
  """
  logarithms = np.log(np.where(weights > 0, weights, 1))
  entropy = -(weights * logarithms).sum(-1)
  totals = sum(
    rows[:, : len(tokens)].sum(1)
    for rows, tokens in zip(entropy, queries, strict=True)
  )
  return sorted(np.argsort(totals, kind="stable")[:count].tolist())


def _padded(rows: Sequence[Sequence[str]]) -> np.ndarray:
  """Returns strings `[M, T]`, empty after the end of each row."""
  count = max(map(len, rows))
  return np.array([[*row, *[""] * (count - len(row))] for row in rows], str)
