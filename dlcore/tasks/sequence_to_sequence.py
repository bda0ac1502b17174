"""Sequence to sequence: a target of tokens for a source of tokens."""

import math
from collections.abc import Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from dlcore import losses, metrics
from dlcore.data import DataInfo, PairSchema, Tokenizer
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.data.source import Arrays
from dlcore.data.text.target_tokens import start_id
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks import model_calls
from dlcore.tasks.class_decisions import decide_class
from dlcore.tasks.class_loss import check_smoothing
from dlcore.tasks.kind import TaskKind
from dlcore.tasks.scheduled_sampling import (
  check_sampling_rate,
  mix_predictions,
)
from dlcore.tasks.sequence_arrays import sequence_arrays
from dlcore.tasks.target_decoding import (
  DECODER_TOKENS,
  decode_target,
  decoder_inputs,
  generator,
  score_function,
)
from dlcore.tracing import is_zero
from dlcore.typing import Array, Batch, Metrics, ModelState, Params


def sequence_to_sequence(
  model: Any,
  *,
  input: str = TOKENS,  # noqa: A002  the name of the array in the batch
  tokenizer: Tokenizer,
  metrics: Sequence[str] = (),
  label_smoothing: Array | float = 0.0,
  scheduled_sampling: Array | float = 0.0,
  num_beams: int = 1,
  length_penalty: float = 1.0,
  max_new_tokens: int = 0,
) -> Task:
  """Returns the task of predicting a target, token by token.

  The training loss is the (smoothed) cross-entropy of the next target token
  given the true ones before it (teacher forcing), weighted by tokens. The
  metrics are the plain cross-entropy `loss` in nats per token, and `accuracy`,
  the share of tokens that are the most probable.

  An evaluation also generates all targets, for the scores `exact_match`, the
  share of whole targets that are the text of the reference, and
  `token_error_rate`, the edit distance to the reference divided by its length.
  If the tokens are no words, there is the `word_error_rate` too. The references
  are the texts of the data: an unknown symbol in one is never right. Targets of
  rows with the same `source_id` are references of one example, of which the one
  with the least distance counts. All examples have the same weight in these
  scores.
  Generation takes as long as tens of training steps: `data.eval_limit` bounds
  the number of examples, and `training.eval_every` how often.

  Args:
    model: an encoder-decoder, `apply(variables, input_ids,
      decoder_input_ids=..., attention_mask=..., train=...) -> logits
      [B, T, V]`, with the methods `encode` and `decode`.
    input: "input_ids".
    tokenizer: of the target.
    metrics: further scores of the generated texts, "bleu", "chrf" and "ter",
      see `metrics.TRANSLATION`. Both sides are texts that the tokenizer
      decodes.
    label_smoothing: see `losses.softmax_cross_entropy`; may be traced.
    scheduled_sampling: probability that a training input of the decoder is a
      token that the model predicts instead of the true one; may be traced. It
      adds a forward pass to each step; see `mix_predictions`.
    num_beams: more than 1 for a search instead of the most probable next token.
    length_penalty: of the search, see `generation.beam_search`.
    max_new_tokens: largest number of generated tokens; 0 for the length T of
      the rows of the batch.

  Returns:
    A task whose batches hold `input_ids`, int32 `[B, T]`, optionally
    `attention_mask`, `labels` int32 `[B, T]`, the target and its end with -100
    for padding, and optionally `decoder_input_ids`, by default the labels
    behind a start token. Its `predict` returns `{"predicted": int32 [B, T]}`,
    the generated target with its end and padding.

  Raises:
    UserError: a setting is out of range, or sacrebleu is missing.
  """
  check_smoothing(label_smoothing)
  check_sampling_rate(scheduled_sampling)
  names = tuple(metrics)
  inputs = model_calls.make_inputs(input, None)

  def arguments(batch: Batch) -> dict[str, Array]:
    tokens = model_calls.token_arguments(input, batch, model)
    if DECODER_TOKENS not in batch:
      return {**tokens, **decoder_inputs(_labels(batch), tokenizer)}
    ids = model_calls.mask_rows(jnp.asarray(batch[DECODER_TOKENS]), batch)
    return {**tokens, DECODER_TOKENS: ids}

  def init(key: Array, batch: Batch):
    tokens = model_calls.token_arguments(input, batch, model)
    ids = inputs(batch)
    # Of any target: batches of new sources have none.
    tokens[DECODER_TOKENS] = jnp.full_like(ids, start_id(tokenizer))
    return model_calls.init(model, key, ids, **tokens)

  def apply(params: Params, model_state: ModelState, batch: Batch, **rest):
    logits, model_state = model_calls.apply(
      model, params, model_state, inputs(batch), **arguments(batch), **rest
    )
    logits = model_calls.check_output(model, logits, ("B", "T", "V"))
    return logits, model_state

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    if not is_zero(scheduled_sampling):
      key, of_pass, of_mix = jax.random.split(key, 3)
      logits, _ = apply(params, model_state, batch, key=of_pass, train=True)
      ids = arguments(batch)[DECODER_TOKENS]
      ids = mix_predictions(of_mix, ids, logits, scheduled_sampling)
      batch = {**batch, DECODER_TOKENS: ids}
    logits, state = apply(params, model_state, batch, key=key, train=True)
    return _total(logits, batch, label_smoothing), (
      state,
      _measure(logits, batch),
    )

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    logits, state = apply(params, model_state, batch, train=False)
    return state, _measure(logits, batch)

  generate = generator(
    model, tokenizer, num_beams, length_penalty, max_new_tokens
  )

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    tokens = model_calls.token_arguments(input, batch, model)
    variables = {"params": params, **model_state}
    return {"predicted": generate(variables, inputs(batch), **tokens)}

  return Task(
    init=init,
    loss=loss,
    evaluate=evaluate,
    predict=predict,
    score=score_function(tokenizer, names),
  )


def _labels(batch: Batch) -> Array:
  """Returns the labels, -100 in rows that the mask excludes."""
  labels = jnp.asarray(model_calls.NamedArrays(batch)[LABELS])
  if labels.ndim != 2:
    raise UserError(
      "expected labels [B, T], the tokens of the target",
      f"got the shape {list(labels.shape)}",
    )
  return model_calls.mask_rows(labels, batch, IGNORED)


def _scored(batch: Batch) -> tuple[Array, Array]:
  """Returns labels within the vocabulary and their weights, both `[B, T]`."""
  labels = _labels(batch)
  scored = labels != IGNORED
  weights = metrics.weights(batch, labels.shape[0])[:, None] * scored
  return jnp.where(scored, labels, 0), weights


def _total(
  logits: Array, batch: Batch, label_smoothing: Array | float
) -> tuple[Array, Array]:
  labels, weights = _scored(batch)
  values = losses.softmax_cross_entropy(logits, labels, label_smoothing)
  return metrics.weighted(values, weights)


def _measure(logits: Array, batch: Batch) -> Metrics:
  """Returns the sums of the metrics."""
  labels, weights = _scored(batch)
  return {
    "loss": _total(logits, batch, 0.0),
    "accuracy": metrics.weighted(decide_class(logits) == labels, weights),
  }


def _schema(info: DataInfo) -> PairSchema:
  """Returns the schema of data that `_check_data` accepts."""
  return cast(PairSchema, info.schema)


def _check_data(info: DataInfo) -> None:
  if not info.schema.translates:
    raise UserError(
      "expected pairs of a source and a target for this task",
      f"got {info.name!r}, whose target is {info.schema.target!r}",
      "choose data such as text_pairs, or another task",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  text = decode_target(row["predicted"], _schema(info).output_tokenizer)
  return {"text": math.nan if text is None else text}  # NaN is an error.


SEQUENCE_TO_SEQUENCE = TaskKind(
  make=sequence_to_sequence,
  data_arguments={
    "input": lambda info: info.schema.input,
    "tokenizer": lambda info: _schema(info).output_tokenizer,
  },
  model_arguments=lambda info: {
    "target_vocab_size": _schema(info).target_vocab_size
  },
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=sequence_arrays,
  pipeline_tags={"text_pairs": "text2text-generation"},
)
