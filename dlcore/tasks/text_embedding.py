"""Embeddings of texts, near to each other for texts that belong together."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore import losses, metrics, report_arrays
from dlcore.contrastive_losses import cosine_similarity, ranking_loss, unit
from dlcore.data import DataInfo
from dlcore.data.info import (
  SCORE,
  SECOND_MASK,
  SECOND_TOKENS,
  TEXT_IDS,
  TOKENS,
)
from dlcore.data.source import Arrays
from dlcore.errors import UserError
from dlcore.metrics.retrieval_scores import may_be_right, retrieval_scores
from dlcore.task import Task
from dlcore.tasks import model_calls
from dlcore.tasks.contrastive import check_temperature
from dlcore.tasks.kind import TaskKind
from dlcore.typing import Array, Batch, ModelState, Params

MASK = "attention_mask"
EMBEDDING, SECOND, SIMILARITY = "embedding", "second_embedding", "similarity"


def text_embedding(
  model: Any,
  *,
  input: str = TOKENS,  # noqa: A002  the name of the array in the batch
  scored: bool = False,
  temperature: float = 0.05,
  symmetric: bool = False,
) -> Task:
  """Returns the task of embedding texts by pairs that belong together.

  The loss of a pair is the cross-entropy of its second text among those of the
  batch, by cosine similarities over a temperature: the multiple-negatives
  ranking loss (Henderson et al. 2017, arXiv:1705.00652; Gao et al. 2021,
  arXiv:2104.08821). Padding and second texts that may be right as well, see
  `retrieval_scores.may_be_right`, are not among them. Under `jit` the batch is
  the global one. Under `pmap` it is that of a device, and with accumulation the
  micro-batch: fewer negatives make an easier task, so that the losses of such
  runs do not compare.

  In an evaluation the other texts are those of the whole split, so that no
  score depends on the batch size: `loss`, `recall_at_1`, `recall_at_10` and
  `mrr`. `data.eval_limit` bounds their number. `similarity` is the mean cosine
  similarity of pairs.

  With scores the loss is the squared error of the cosine similarity, and the
  further metric is the `spearman` correlation.

  Args:
    model: `apply(variables, input_ids, attention_mask=..., train=...) ->
      [B, D]`, such as a BERT with `head="embedding"`.
    input: "input_ids".
    scored: whether batches have scores.
    temperature: above 0.
    symmetric: whether the loss is the mean of this one and that of the first
      text among those of the batch.

  Returns:
    A task whose batches hold `input_ids` and `second_input_ids`, int32
    `[B, T]`, `attention_mask` and `second_attention_mask`, optionally
    `text_ids`, int32 `[B, 2]`, equal for equal texts, and `score`, float32
    `[B]` from -1 to 1. Its `predict` returns `{"embedding": float32 [B, D]}`,
    and with second texts `second_embedding` and `similarity`, `[B]`.

  Raises:
    UserError: a setting is out of range, or the model has another head.
  """
  check_temperature(temperature)
  _check_head(model)
  apply = _embedding(model, input)

  def init(key: Array, batch: Batch):
    tokens = model_calls.token_arguments(input, batch, model)
    ids = model_calls.mask_rows(jnp.asarray(batch[input]), batch)
    return model_calls.init(model, key, ids, **tokens)

  def compare(first: Array, second: Array, batch: Batch) -> Array:
    """Returns the loss of each pair, float32 `[B]`."""
    if scored:
      score = model_calls.mask_rows(jnp.asarray(batch[SCORE]), batch)
      return losses.squared_error(cosine_similarity(first, second), score)
    ids = _text_ids(batch)
    kept = metrics.weights(batch, len(ids)) > 0
    scores = unit(first) @ unit(second).T / temperature
    values = ranking_loss(scores, kept & ~may_be_right(ids, ids))
    if not symmetric:
      return values
    ids = ids[:, ::-1]
    reverse = ranking_loss(scores.T, kept & ~may_be_right(ids, ids))
    return (values + reverse) / 2

  def loss(params: Params, model_state: ModelState, batch: Batch, key: Array):
    if not scored:
      _check_size(len(batch[input]))
    (first, second), state = apply(
      params, model_state, batch, key=key, train=True
    )
    total = _mean(compare(first, second, batch), batch)
    near = _mean(cosine_similarity(first, second), batch)
    return total, (state, {"loss": total, SIMILARITY: near})

  def evaluate(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    (first, second), _ = apply(params, model_state, batch, train=False)
    found = {SIMILARITY: _mean(cosine_similarity(first, second), batch)}
    if scored:
      found["loss"] = _mean(compare(first, second, batch), batch)
    return model_state, found

  def predict(params: Params, model_state: ModelState, batch: Batch, key):
    del key
    sides, _ = apply(params, model_state, batch, train=False)
    if len(sides) == 1:
      return {EMBEDDING: sides[0]}
    first, second = sides
    near = cosine_similarity(first, second)
    return {EMBEDDING: first, SECOND: second, SIMILARITY: near}

  return Task(
    init=init,
    loss=loss,
    evaluate=evaluate,
    predict=predict,
    score=_rank_correlation if scored else _retrieval(temperature),
  )


def _embedding(model: Any, name: str) -> Callable[..., Any]:
  """Returns the function from a batch to the embeddings of its texts.

  Both texts of a pair are neighboring rows of one call of the model, so that
  they stay on the device of their pair.
  """

  def apply(
    params: Params, model_state: ModelState, batch: Batch, **rest: Any
  ) -> tuple[tuple[Array, ...], ModelState]:
    sides = [{name: batch[name], MASK: batch.get(MASK)}]
    if SECOND_TOKENS in batch:
      sides.append({name: batch[SECOND_TOKENS], MASK: batch.get(SECOND_MASK)})
    shapes = [np.shape(side[name]) for side in sides]
    if len(set(shapes)) > 1 or len(shapes[0]) != 2:
      raise UserError(
        f"expected {name} and {SECOND_TOKENS} [B, T] of one shape",
        f"got {' and '.join(str(list(shape)) for shape in shapes)}",
        "pad both to one length",
      )
    count, (size, length) = len(sides), shapes[0]

    def rows(key: str, fill: int) -> Array:
      arrays = [jnp.asarray(side[key]) for side in sides]
      masked = [model_calls.mask_rows(a, batch, fill) for a in arrays]
      return jnp.stack(masked, 1).reshape(count * size, length)

    known = all(side[MASK] is not None for side in sides)
    tokens = {MASK: rows(MASK, 1)} if known else {}
    outputs, state = model_calls.apply(
      model, params, model_state, rows(name, 0), **tokens, **rest
    )
    outputs = model_calls.check_output(model, outputs, ("B", "C"))
    outputs = outputs.reshape(size, count, outputs.shape[-1])
    return tuple(outputs[:, i] for i in range(count)), state

  return apply


def _text_ids(batch: Batch) -> Array:
  """Returns numbers of both texts, all different if the batch has none."""
  if TEXT_IDS in batch:
    return jnp.asarray(batch[TEXT_IDS])
  size = len(batch[SECOND_TOKENS])
  return jnp.arange(2 * size).reshape(size, 2)


def _mean(values: Array, batch: Batch) -> tuple[Array, Array]:
  return metrics.weighted(values, metrics.weights(batch, len(values)))


def _retrieval(temperature: float) -> Callable[[Any, Any], dict[str, float]]:
  def score(predictions: Any, targets: Any) -> dict[str, float]:
    first, second = (
      np.asarray(jax.device_get(unit(predictions[name])))
      for name in (EMBEDDING, SECOND)
    )
    ids = targets.get(TEXT_IDS)
    if ids is None:
      ids = np.arange(2 * len(first)).reshape(-1, 2)
    return retrieval_scores(first, second, ids, temperature)

  return score


def _rank_correlation(predictions: Any, targets: Any) -> dict[str, float]:
  near, score = predictions[SIMILARITY], targets[SCORE]
  selection = metrics.select(("spearman",), metrics.NUMBERS)
  weights = np.ones(len(score), np.float32)
  return selection.values({"prediction": near}, score, weights)


def _check_head(model: Any) -> None:
  head = getattr(model, "head", EMBEDDING)
  if head != EMBEDDING:
    raise UserError(
      f"expected a model with head={EMBEDDING!r}",
      f"got {type(model).__name__} with {head=}",
      f"set head={EMBEDDING!r} of a BERT, and its poolings",
    )


def _check_size(size: int) -> None:
  if size < 2:
    raise UserError(
      "expected batches of at least two pairs, of which each is compared with "
      "the others",
      f"got {size} on a device, or in a micro-batch",
      "increase the batch size, or have fewer devices or steps of accumulation",
    )


def _check_data(info: DataInfo) -> None:
  has_pairs = SECOND_TOKENS in info.targets
  if info.schema.input != TOKENS or not has_pairs:
    raise UserError(
      "expected pairs of texts that are encoded apart",
      f"got {info.name!r}, whose target is {info.schema.target!r}",
      "choose data such as similar_texts, or another task",
    )


def _to_json(row: Arrays, info: DataInfo) -> dict[str, Any]:
  del info
  return {EMBEDDING: [float(value) for value in row[EMBEDDING]]}


def _report_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  near = rows[SIMILARITY]
  if info.schema.target == SCORE:
    return report_arrays.regression(split, targets[SCORE], near, read)
  return {"split": np.asarray(split), "histogram/similarity of a pair": near}


TEXT_EMBEDDING = TaskKind(
  make=text_embedding,
  model_arguments=lambda info: {},
  data_arguments={
    "input": lambda info: info.schema.input,
    "scored": lambda info: info.schema.target == SCORE,
  },
  check_data=_check_data,
  to_json=_to_json,
  report_arrays=_report_arrays,
  pipeline_tags={"similar_texts": "sentence-similarity"},
)
