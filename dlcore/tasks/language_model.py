"""Language models: the probability of the next token at every position."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from dlcore import losses, metrics, report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.task import CARRY, Task
from dlcore.tasks import model_calls
from dlcore.tasks.carried_state import (
  check_recurrent,
  fresh_carry,
  to_cache,
  to_carry,
)
from dlcore.tasks.class_loss import check_smoothing
from dlcore.tasks.kind import TaskKind
from dlcore.typing import Array, Batch, Metrics, ModelState, Params

UNITS = {"character": "num_characters", "byte": "num_bytes"}
"""Arrays `[B]` with the size of the scored tokens of a row in other units."""


def language_model(
  model: Any,
  *,
  input: str = TOKENS,  # noqa: A002  the name of the array in the batch
  pad_id: int | None = None,
  carry: bool = False,
  label_smoothing: Array | float = 0.0,
) -> Task:
  """Returns the task of predicting the next token.

  The loss is the (smoothed) cross-entropy, weighted by tokens. The metrics are
  the plain cross-entropy `loss` in nats per token, `bits_per_token`,
  `perplexity`, and `bits_per_character` and `bits_per_byte` if the batch has
  the counts `num_characters` and `num_bytes`.

  Args:
    model: `apply(variables, input_ids, train=...) -> logits [B, T, V]`, whose
      logits at a position depend on the tokens up to it.
    input: "input_ids".
    pad_id: id of padding in batches without `labels`; None without one.
    carry: whether a recurrent model continues from its state after the row
      before, by truncated back-propagation through time (Williams & Peng
      1990). It needs an order such as `data.sequential`; an evaluation has as
      many streams as rows in a batch, each of which starts from a fresh state.
    label_smoothing: see `losses.softmax_cross_entropy`; may be traced.

  Returns:
    A task whose batches hold `input_ids`, int32 `[B, T]`, optionally
    `attention_mask`, `segment_ids` and `positions`, and `labels`, int32
    `[B, T]`, with -100 at positions that are not scored; by default the next
    id of the row that is no padding. Its `predict` returns the
    `log_probability` of the labels, float32 `[B]`, in nats, their number
    `num_tokens`, int32 `[B]`, and the loss of each in `token_losses`, float32
    `[B, T]`, NaN at positions that are not scored.

  Raises:
    UserError: `label_smoothing` is out of range; from `init`, if the model
      predicts no tokens, or has no state to carry.
  """
  check_smoothing(label_smoothing)
  inputs = model_calls.make_inputs(input, None)

  def init(key: Array, batch: Batch):
    _check_head(model)
    tokens = model_calls.token_arguments(input, batch, model)
    ids = inputs(batch)
    params, model_state = model_calls.init(model, key, ids, **tokens)
    if carry:
      check_recurrent(model)
      model_state[CARRY] = fresh_carry(model, ids.shape[0])
    return params, model_state

  def apply(params: Params, model_state: ModelState, batch: Batch, **rest):
    continues = carry and CARRY in model_state
    state = dict(model_state)
    if continues:
      state[model_calls.CACHE] = to_cache(model, state.pop(CARRY))
      rest["decode"] = True
    logits, state = model_calls.apply(
      model,
      params,
      state,
      inputs(batch),
      **model_calls.token_arguments(input, batch, model),
      **rest,
    )
    if continues:
      state[CARRY] = to_carry(model, state.pop(model_calls.CACHE))
    return model_calls.check_output(model, logits, ("B", "T", "V")), state

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    _check_order(carry, batch)
    logits, state = apply(params, model_state, batch, key=key, train=True)
    labels, weights = _scored(batch, input, pad_id)
    errors = losses.softmax_cross_entropy(logits, labels, label_smoothing)
    total = metrics.weighted(errors, weights)
    return total, (state, _measure(logits, labels, weights, batch))

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    logits, state = apply(params, model_state, batch, train=False)
    labels, weights = _scored(batch, input, pad_id)
    return state, _measure(logits, labels, weights, batch)

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    logits, _ = apply(params, model_state, batch, train=False)
    batch = {k: v for k, v in batch.items() if k not in ("mask", "weight")}
    labels, weights = _scored(batch, input, pad_id)
    errors = losses.softmax_cross_entropy(logits, labels)
    return {
      "log_probability": -jnp.where(weights > 0, errors, 0).sum(axis=1),
      "num_tokens": weights.sum(axis=1).astype(jnp.int32),
      "token_losses": jnp.where(weights > 0, errors, jnp.nan),
    }

  return Task(
    init=init, loss=loss, evaluate=evaluate, predict=predict, derived=_derived
  )


def next_tokens(batch: Batch, input_name: str, pad_id: int | None) -> Array:
  """Returns the labels of a batch, int `[B, T]`, see `language_model`."""
  if LABELS in batch:
    return jnp.asarray(batch[LABELS])
  ids = jnp.asarray(batch[input_name])
  segments = jnp.asarray(batch.get("segment_ids", jnp.ones_like(ids)))
  kept = segments > 0
  if "attention_mask" in batch:
    kept &= jnp.asarray(batch["attention_mask"]) > 0
  if pad_id is not None:
    kept &= ids != pad_id
  same = kept[:, 1:] & kept[:, :-1] & (segments[:, 1:] == segments[:, :-1])
  labels = jnp.where(same, ids[:, 1:], IGNORED)
  return jnp.pad(labels, ((0, 0), (0, 1)), constant_values=IGNORED)


def _scored(
  batch: Batch, input_name: str, pad_id: int | None
) -> tuple[Array, Array]:
  """Returns labels within the vocabulary and the weights, both `[B, T]`."""
  labels = next_tokens(batch, input_name, pad_id)
  if labels.ndim != 2:
    raise UserError(
      "expected labels [B, T], the next token of each",
      f"got the shape {list(labels.shape)}",
    )
  scored = labels != IGNORED
  weights = metrics.weights(batch, labels.shape[0])[:, None] * scored
  return jnp.where(scored, labels, 0), weights


def _measure(
  logits: Array, labels: Array, weights: Array, batch: Batch
) -> Metrics:
  """Returns the sums of the metrics."""
  errors = losses.softmax_cross_entropy(logits, labels)
  sums = {"loss": metrics.weighted(errors, weights)}
  rows = metrics.weights(batch, labels.shape[0])
  for unit, name in UNITS.items():
    if name in batch:
      sums[f"_{unit}"] = metrics.weighted(jnp.asarray(batch[name]), rows)
  return sums


def _derived(sums: Metrics) -> dict[str, float]:
  """Returns the perplexity, and the bits per token and per unit of text."""
  loss = metrics.mean(sums["loss"])
  bits = float(sums["loss"][0]) / math.log(2)
  values = {
    "perplexity": _exp(loss),
    "bits_per_token": loss / math.log(2),
  }
  for unit in UNITS:
    size = float(sums.get(f"_{unit}", (0.0, 0.0))[0])
    if size > 0:
      values[f"bits_per_{unit}"] = bits / size
  return values


def _exp(value: float) -> float:
  """Returns the exponential, infinity above the range of float64."""
  with np.errstate(over="ignore"):
    return float(np.exp(value))


def _check_head(model: Any) -> None:
  """Checks that the model predicts tokens.

  Raises:
    UserError: it has another head, or none.
  """
  head = getattr(model, "head", "lm")
  if head != "lm":
    raise UserError(
      "expected head='lm' for a language model, which predicts the next token",
      f"got {head=} of {type(model).__name__}",
      "set head='lm', or choose a model that has this head",
    )


def _check_order(carry: bool, batch: Batch) -> None:
  """Checks that rows continue those of the batch before if their state does.

  Raises:
    UserError: the order of the batches does not mark where rows begin.
  """
  if carry and "begins" not in batch:
    raise UserError(
      "expected an order for carry=True whose rows continue those of the batch "
      "before",
      "got batches without 'begins'",
      "use sampling='sequential', or order=data.sequential(...) in Python, or "
      "set carry=False",
    )


def _check_data(info: DataInfo) -> None:
  schema = info.schema
  if schema.input != TOKENS:
    raise UserError(
      "expected data of token ids for a language model",
      f"got {info.name!r}, whose input is {schema.input or 'unknown'!r}",
      "choose texts, or another task",
    )
  is_text = schema.target in ("", LABELS) and not schema.classes
  if not is_text or schema.translates:
    raise UserError(
      "expected data of running text for a language model, with the target "
      f"{LABELS!r} or without one",
      f"got {info.name!r}, whose target is {schema.target!r}",
      "read the texts as text_file, or choose another task",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  del info
  total, count = float(row["log_probability"]), int(row["num_tokens"])
  loss = -total / max(count, 1)
  return {
    "log_probability": total,
    "tokens": count,
    "loss": loss,
    "perplexity": _exp(loss),
  }


def _report_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  """Returns the mean loss at each position of a row.

  In packed rows a position is not the number of the tokens before it.
  """
  del targets, read
  if "segment_ids" in info.inputs:
    return {}
  values = rows["token_losses"]
  count = np.isfinite(values).sum(0)
  total = np.nansum(np.where(np.isfinite(values), values, 0), 0)
  mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
  return {
    "split": np.asarray(split),
    f"{report_arrays.BY_POSITION}loss": mean.astype(np.float32),
  }


LANGUAGE_MODEL = TaskKind(
  make=language_model,
  data_arguments={
    "input": lambda info: info.schema.input,
    "pad_id": lambda info: getattr(info.schema, "pad_id", None),
  },
  model_arguments=lambda info: {},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
  pipeline_tags={"chat": "text-generation", "corpus": "text-generation"},
)
