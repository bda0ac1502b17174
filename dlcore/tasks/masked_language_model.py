"""Masked language models: the tokens that are hidden from a model.

Devlin et al. 2019, arXiv:1810.04805, section 3.1.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import losses, metrics
from dlcore.data import DataInfo
from dlcore.data.info import IGNORED, TOKENS
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.tasks import model_calls
from dlcore.tasks.class_decisions import decide_class
from dlcore.tasks.class_loss import check_smoothing
from dlcore.tasks.kind import TaskKind
from dlcore.tasks.token_hiding import (
  MASKED_LABELS,
  example_keys,
  hash_tokens,
  hide_tokens,
  is_token,
  with_mask,
)
from dlcore.typing import Array, Batch, Metrics, ModelState, Params


def masked_language_model(
  model: Any,
  *,
  vocab_size: int,
  mask_id: int,
  special_ids: Sequence[int] = (),
  pad_id: int | None = None,
  input: str = TOKENS,  # noqa: A002  the name of the array in the batch
  mask_rate: Array | float = 0.15,
  label_smoothing: Array | float = 0.0,
) -> Task:
  """Returns the task of predicting tokens that are hidden at random.

  Training hides other tokens of an example in every epoch. Evaluation always
  hides the same ones, which depend on the seed and the example alone. The loss
  is the (smoothed) cross-entropy, and the metrics are the plain cross-entropy
  `loss` in nats and the `masked_accuracy`; all are means over hidden tokens.

  Args:
    model: `apply(variables, input_ids, train=...) -> logits [B, T, V]`.
    vocab_size: number of token ids among which random ones are sampled.
    mask_id: id of the mask token, below the V of the model.
    special_ids: ids that are neither hidden nor sampled.
    pad_id: id of padding in batches whose arrays do not tell; None without one.
    input: "input_ids"; the model also receives `attention_mask`,
      `token_type_ids`, `segment_ids` and `positions`, if the batch has them.
    mask_rate: probability that a token is hidden, above 0 to 1; may be traced.
    label_smoothing: see `losses.softmax_cross_entropy`; may be traced.

  Returns:
    A task whose batches hold `input_ids`, int32 `[B, T]`. Its `predict` returns
    `predicted`, int32 `[B, T]`, -100 for tokens that are not hidden, and
    `probability`, float32 `[B, T]`. It predicts the mask tokens of a row, and
    hides others in a row without them, which depend on the row alone.

  Raises:
    UserError: `mask_rate` or `label_smoothing` is out of range; from `init`, if
      the model does not predict hidden tokens.
  """
  check_smoothing(label_smoothing)
  if isinstance(mask_rate, int | float) and not 0 < mask_rate <= 1:
    raise UserError(
      "expected mask_rate above 0 and at most 1", f"got {mask_rate}"
    )
  reserved = sorted({mask_id, *special_ids})
  hide = partial(
    hide_tokens,
    rate=mask_rate,
    mask_id=mask_id,
    text_ids=np.setdiff1d(np.arange(vocab_size), reserved).astype(np.int32),
  )

  def prepared(batch: Batch, key: Array, number: str) -> Batch:
    """Hides tokens by keys of the examples, unless some are hidden."""
    if MASKED_LABELS in batch:
      return batch
    ids = jnp.asarray(model_calls.NamedArrays(batch)[input])
    batch = with_mask(batch, ids, pad_id)
    maskable = is_token(batch, ids)
    maskable &= ~jnp.isin(ids, jnp.asarray(reserved, ids.dtype))
    keys = example_keys(batch, key, number, ids.shape[0])
    ids, labels = jax.vmap(hide)(keys, ids, maskable)
    return {**batch, input: ids, MASKED_LABELS: labels}

  apply = _apply_function(model, input)

  def init(key: Array, batch: Batch):
    _check_head(model)
    ids = jnp.asarray(model_calls.NamedArrays(batch)[input])
    batch = with_mask(batch, ids, pad_id)
    tokens = model_calls.token_arguments(input, batch, model)
    return model_calls.init(model, key, ids, **tokens)

  def prepare(params: Params, model_state: ModelState, batch: Batch, key):
    del params
    return model_state, prepared(batch, key, "slot")

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    batch = prepared(batch, key, "slot")
    logits, state = apply(params, model_state, batch, key=key, train=True)
    labels, weights = _scored(batch)
    errors = losses.softmax_cross_entropy(logits, labels, label_smoothing)
    total = metrics.weighted(errors, weights)
    return total, (state, _measure(logits, labels, weights))

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    batch = prepared(batch, key, "index")
    logits, _ = apply(params, model_state, batch, train=False)
    return model_state, _measure(logits, *_scored(batch))

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    ids = jnp.asarray(batch[input])
    numbers = hash_tokens(ids, is_token(with_mask(batch, ids, pad_id), ids))
    batch = {**batch, "index": numbers}
    masked = prepared(batch, jax.random.key(0), "index")
    gaps = ids == mask_id
    has_gaps = gaps.any(axis=1, keepdims=True)
    hidden = jnp.where(has_gaps, gaps, masked[MASKED_LABELS] != IGNORED)
    masked = {**masked, input: jnp.where(has_gaps, ids, masked[input])}
    logits, _ = apply(params, model_state, masked, train=False)
    probability = jax.nn.softmax(logits.astype(jnp.float32)).max(-1)
    predicted = decide_class(logits).astype(jnp.int32)
    return {
      "predicted": jnp.where(hidden, predicted, IGNORED),
      "probability": jnp.where(hidden, probability, 0),
    }

  return Task(
    init=init, loss=loss, evaluate=evaluate, predict=predict, prepare=prepare
  )


def _apply_function(model: Any, input_name: str) -> Callable[..., Any]:
  """Returns `(params, model_state, batch, **rest) -> (logits, state)`."""
  inputs = model_calls.make_inputs(input_name, None)

  def apply(params: Params, model_state: ModelState, batch: Batch, **rest):
    tokens = model_calls.token_arguments(input_name, batch, model)
    logits, state = model_calls.apply(
      model, params, model_state, inputs(batch), **tokens, **rest
    )
    return model_calls.check_output(model, logits, ("B", "T", "V")), state

  return apply


def _scored(batch: Batch) -> tuple[Array, Array]:
  """Returns labels within the vocabulary and the weights, both `[B, T]`."""
  labels = jnp.asarray(batch[MASKED_LABELS])
  hidden = labels != IGNORED
  weights = metrics.weights(batch, labels.shape[0])[:, None] * hidden
  return jnp.where(hidden, labels, 0), weights


def _measure(logits: Array, labels: Array, weights: Array) -> Metrics:
  """Returns the sums of the metrics."""
  errors = losses.softmax_cross_entropy(logits, labels)
  right = decide_class(logits) == labels
  return {
    "loss": metrics.weighted(errors, weights),
    "masked_accuracy": metrics.weighted(right, weights),
  }


def _check_head(model: Any) -> None:
  """Checks that the model predicts hidden tokens.

  Raises:
    UserError: it has another head, or none.
  """
  head = getattr(model, "head", None)
  if head != "mlm":
    raise UserError(
      "expected head='mlm' for a masked language model",
      f"got {head=} of {type(model).__name__}",
      "set head='mlm', or choose a model that has this head, such as bert_base",
    )


def _mask_id(info: DataInfo) -> int:
  """Returns the id of the mask token: one beyond the others without one."""
  tokenizer = getattr(info.schema, "tokenizer", None)
  if tokenizer is None:
    return info.schema.vocab_size or 0
  mask_id = tokenizer.mask_id
  return tokenizer.vocab_size if mask_id is None else mask_id


def _vocab_size(info: DataInfo) -> int:
  """Returns the number of ids of texts, without those of weights alone."""
  tokenizer = getattr(info.schema, "tokenizer", None)
  size = info.schema.vocab_size or 0
  return size if tokenizer is None else tokenizer.vocab_size


def _special_ids(info: DataInfo) -> tuple[int, ...]:
  tokenizer = getattr(info.schema, "tokenizer", None)
  return () if tokenizer is None else tokenizer.special_ids


def _check_data(info: DataInfo) -> None:
  if info.schema.input != TOKENS:
    raise UserError(
      "expected data of token ids for a masked language model",
      f"got {info.name!r}, whose input is {info.schema.input or 'unknown'!r}",
      "choose texts, or another task",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  positions = np.flatnonzero(row["predicted"] != IGNORED).tolist()
  ids = row["predicted"][positions].tolist()
  tokenizer = getattr(info.schema, "tokenizer", None)
  if tokenizer is not None:
    ids = [tokenizer.decode([i]) for i in ids]
  return {
    "positions": positions,
    "tokens": ids,
    "probabilities": row["probability"][positions].tolist(),
  }


MASKED_LANGUAGE_MODEL = TaskKind(
  make=masked_language_model,
  data_arguments={
    "input": lambda info: info.schema.input,
    "vocab_size": _vocab_size,
    "mask_id": _mask_id,
    "special_ids": _special_ids,
    "pad_id": lambda info: getattr(info.schema, "pad_id", None),
  },
  model_arguments=lambda info: {
    "vocab_size": max(info.schema.vocab_size or 0, _mask_id(info) + 1)
  },
  check_data=_check_data,
  to_json=_to_json,
  pipeline_tags={"corpus": "fill-mask"},
)
