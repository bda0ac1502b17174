"""Tagging: one of C classes for every token of a sequence."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import losses
from dlcore.data import DataInfo
from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.metrics import (
  TAGS,
  Predictions,
  are_entity_tags,
  entity_scores,
  select,
)
from dlcore.task import Task
from dlcore.tasks import supervised
from dlcore.tasks.assessment import Assessable, Trivial, row_weights
from dlcore.tasks.class_decisions import decide_class
from dlcore.tasks.class_loss import check_smoothing
from dlcore.tasks.class_weights import (
  label_weights,
  resolve_weights,
  weight_array,
)
from dlcore.tasks.kind import TaskKind
from dlcore.tasks.tag_arrays import tag_arrays
from dlcore.typing import Array, Batch, Metrics, ModelState, Params

STANDARD = ("loss", "accuracy", "sequence_accuracy")
"""The metrics that are always measured."""

OF_ENTITIES = ("entity_precision", "entity_recall", "entity_f1")
"""Those that are always measured if the classes are tags of entities."""

NO_TAG = -1
"""The prediction for a token whose logits are not finite."""


def tagging(
  model: Any,
  *,
  input: str = TOKENS,  # noqa: A002  the name of the array in the batch
  classes: Sequence[str] = (),
  label_smoothing: Array | float = 0.0,
  class_weights: Sequence[float] | str = (),
  class_counts: Sequence[int] = (),
  metrics: Sequence[str] = (),
) -> Task:
  """Returns the task of predicting the class of each token.

  The training loss is the (smoothed, class-weighted) cross-entropy. The metrics
  are the plain cross-entropy `loss` in nats, the `accuracy`, and the
  `sequence_accuracy`, the share of sequences without a wrong tag. Loss and
  accuracy are means over tokens, not over sequences. Classes that are tags of
  entities have `entity_precision`, `entity_recall` and `entity_f1` too, see
  `metrics.entity_scores`.

  Args:
    model: `apply(variables, input_ids, train=...) -> logits [B, T, C]`.
    input: "input_ids"; the model also receives `attention_mask` and
      `token_type_ids`, if the batch has them.
    classes: the tags by their numbers; empty for no scores of entities.
    label_smoothing: see `losses.softmax_cross_entropy`; may be traced.
    class_weights: weight of each class in the training loss; empty for 1,
      `"balanced"` for weights in inverse proportion to `class_counts`.
    class_counts: number of tokens of each class in train.
    metrics: names of further metrics of tags, see `metrics.METRICS`.

  Returns:
    A task whose batches hold `input_ids` and `labels`, int32 `[B, T]`, with
    -100 for tokens that are not scored. Its `predict` returns
    `{"predicted": int32 [B, T], "probability": float32 [B, T]}`, where
    `predicted` is -100 for padding.

  Raises:
    UserError: a setting is out of range.
  """
  check_smoothing(label_smoothing)
  by_class = resolve_weights(class_weights, class_counts)
  always = STANDARD + (OF_ENTITIES if are_entity_tags(classes) else ())
  selection = select(metrics, TAGS, exclude=always)

  def loss(logits: Array, batch: Batch) -> supervised.Values:
    labels, scored = _labels(batch, logits)
    values = losses.softmax_cross_entropy(logits, labels, label_smoothing)
    weights = scored.astype(jnp.float32)
    if by_class:
      array = weight_array(by_class, logits.shape[-1])
      weights = weights * label_weights(array, labels)
    return values, weights

  def measure(logits: Array, batch: Batch) -> dict[str, supervised.Values]:
    labels, scored = _labels(batch, logits)
    right = _decide(logits, batch) == labels
    weights = scored.astype(jnp.float32)
    return {
      "loss": (losses.softmax_cross_entropy(logits, labels), weights),
      "accuracy": (right, weights),
      "sequence_accuracy": (
        (right | ~scored).all(-1),
        scored.any(-1).astype(jnp.float32),
      ),
    }

  def sums(logits: Array, batch: Batch, weights: Array) -> Metrics:
    predictions = {
      "predicted": _decide(logits, batch),
      "num_classes": logits.shape[-1],
    }
    return selection.sums(predictions, batch[LABELS], weights)

  def predict(logits: Array) -> dict[str, Array]:
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    return {
      "predicted": decide_class(logits).astype(jnp.int32),
      "probability": probabilities.max(-1),
    }

  task = supervised.make_task(
    model,
    input=input,
    loss=loss,
    metrics=measure,
    predict=predict,
    output_shape=("B", "T", "C"),
    sums=sums,
    derived=selection.derived,
    score=_score_function(classes),
  )
  return task._replace(predict=_without_padding(task.predict))


def _labels(batch: Batch, logits: Array) -> tuple[Array, Array]:
  """Returns labels within the classes, and whether each is scored, `[B, T]`."""
  labels = batch[LABELS]
  if labels.shape != logits.shape[:-1]:
    raise UserError(
      "expected a class for every token, labels of shape "
      f"{list(logits.shape[:-1])}",
      f"got the shape {list(labels.shape)}",
    )
  scored = labels != IGNORED
  return jnp.where(scored, labels, 0), scored


def _decide(logits: Array, batch: Batch) -> Array:
  """Returns the class of each token, int `[B, T]`; `NO_TAG` for padding."""
  predicted = decide_class(logits)
  if "attention_mask" not in batch:
    return predicted
  return jnp.where(batch["attention_mask"] > 0, predicted, NO_TAG)


def _without_padding(
  predict: Callable[..., dict[str, Array]],
) -> Callable[..., dict[str, Array]]:
  """Returns `predict` with -100 for the predicted class of padding."""

  def predict_tokens(
    params: Params, model_state: ModelState, batch: Batch, key: Array
  ) -> dict[str, Array]:
    rows = predict(params, model_state, batch, key)
    if "attention_mask" not in batch:
      return rows
    is_token = jnp.asarray(batch["attention_mask"]) > 0
    return rows | {"predicted": jnp.where(is_token, rows["predicted"], IGNORED)}

  return predict_tokens


def _score_function(
  classes: Sequence[str],
) -> Callable[[Arrays, Arrays], dict[str, float]] | None:
  """Returns `Task.score` of entities; None if the classes are no such tags."""
  if not are_entity_tags(classes):
    return None

  def score(rows: Arrays, targets: Arrays) -> dict[str, float]:
    labels, predicted = targets[LABELS], rows["predicted"]
    weights = row_weights(targets, len(labels))
    # Scored tokens that the model does not see have no tag.
    predicted = np.where(predicted == IGNORED, NO_TAG, predicted)
    scored = labels != IGNORED
    return entity_scores(predicted, labels, scored, weights, classes)

  return score


def _predictions(rows: Arrays) -> Predictions:
  """Returns the predictions of `metrics.Metric` from those of a task."""
  return {"predicted": rows["predicted"]}


def _trivial(info: DataInfo) -> Trivial | None:
  """Returns the most frequent class of the tokens of train."""
  counts = np.asarray(info.class_counts)
  if not counts.any():
    return None
  best = counts.argmax(keepdims=True)
  return Trivial(
    f"always {info.schema.classes[best[0]]!r}", {"predicted": best}
  )


def _check_data(info: DataInfo) -> None:
  schema = info.schema
  if schema.target != LABELS or not schema.classes or schema.input != TOKENS:
    raise UserError(
      f"expected token ids with an array {LABELS!r} of classes for tagging",
      f"got {info.name!r}, with {len(schema.classes)} classes, the input "
      f"{schema.input!r} and the target {schema.target!r}",
      "choose data such as tagged_text, or another task",
    )
  if len(schema.classes) < 2:
    raise UserError(
      "expected data of at least two tags",
      f"got {info.name!r}, where all tokens are {schema.classes[0]!r}",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  kept = row["predicted"] != IGNORED
  return {
    "tags": [info.schema.classes[i] for i in row["predicted"][kept]],
    "probabilities": row["probability"][kept].tolist(),
  }


TAGGING = TaskKind(
  make=tagging,
  data_arguments={
    "input": lambda info: info.schema.input,
    "classes": lambda info: info.schema.classes,
    "class_counts": lambda info: info.class_counts,
  },
  model_arguments=lambda info: {"num_classes": len(info.schema.classes)},
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=tag_arrays,
  assessable=Assessable(TAGS, LABELS, _predictions, _trivial),
  pipeline_tags={"tagged_text": "token-classification"},
)
