"""The contract between a learning problem and the trainer."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp

from dlcore import trees
from dlcore.typing import Array, Batch, Metrics, ModelState, Params, PyTree

CARRY = "carry"
"""The collection of `model_state` with one row `[B, ...]` for each example."""

FROZEN = "frozen"
"""The collection of `model_state` with the parameters that are not trained."""


def identity(
  params: Params, model_state: ModelState, batch: Batch, key: Array
) -> tuple[ModelState, Batch]:
  """Returns its inputs unchanged: the default of `Task.prepare`."""
  del params, key
  return model_state, batch


def no_metrics(sums: Metrics) -> dict[str, float]:
  """Returns an empty dict: the default of `Task.derived`."""
  del sums
  return {}


def merge_frozen(params: Params, model_state: ModelState) -> dict[str, Any]:
  """Returns the variables that the model's `apply` takes.

  This is the default of `Task.variables`: trained and frozen parameters are
  merged, and the carried state of a batch is left out.
  """
  collections = dict(model_state)
  collections.pop(CARRY, None)
  frozen = collections.pop(FROZEN, {})
  return {"params": trees.merge(params, frozen), **collections}


def split_frozen(
  params: Params, model_state: ModelState, variables: Mapping[str, Any]
) -> tuple[Params, ModelState]:
  """Returns the state with other variables of the model.

  This is the default of `Task.with_variables`: the arrays are copied to their
  places in `params`, in the frozen parameters and in the other collections, in
  the dtypes there. The carried state of a batch is kept.
  """
  values = trees.flatten(variables)

  def value(path: str, leaf: Any) -> Any:
    collection, _, name = path.partition("/")
    if collection == CARRY:
      return leaf
    source = "params" if collection == FROZEN else collection
    # A copy: the trainer donates the buffers of its state.
    return jnp.array(values[f"{source}/{name}"], leaf.dtype)

  new = trees.map_with_path(value, {"params": params, **model_state})
  return new.pop("params"), new


class Task(NamedTuple):
  """A learning problem as pure functions; the trainer knows nothing else.

  `params` are differentiated; `model_state` holds every other collection. Both
  are nested dicts of arrays with stable names, so that checkpoints outlive
  refactorings. The name of a collection says how it lives on several devices:

    `carry`   recurrent state or environments, `[B, ...]`, sharded over rows
    `frozen`  parameters that are not trained, constant
    others    statistics such as `batch_stats`, averaged over the devices

  The loss is a total and a weight: the trainer sums both over micro-batches,
  devices and hosts and follows the gradient of total / weight, so that masks
  and any number of devices are exact. Penalties are added by the trainer.
  """

  init: Callable[[Array, Batch], tuple[Params, ModelState]]
  """`(key, batch) -> (params, model_state)`; works under `jax.eval_shape`."""

  loss: Callable[
    [Params, ModelState, Batch, Array],
    tuple[tuple[Array, Array], tuple[ModelState, Metrics]],
  ]
  """`(params, model_state, batch, key) -> ((total, weight), (model_state,
  metrics))`, each metric a (sum, count) pair.

  A metric named `loss` takes the place of total / weight in the log: it has no
  penalty, so that it compares with the loss of an evaluation.
  """

  evaluate: Callable[
    [Params, ModelState, Batch, Array], tuple[ModelState, Metrics]
  ]
  """`(params, model_state, batch, key) -> (model_state, metrics)`, each metric
  a (sum, count) pair.

  `key` belongs to the run; randomness for an example comes from
  `fold_in(key, batch["index"])`, so that no number depends on the batch size.
  """

  predict: Callable[[Params, ModelState, Batch, Array], PyTree]
  """`(params, model_state, batch, key) -> tree of [B, ...]`, one row for each
  example; `model_state` comes without `carry`."""

  prepare: Callable[
    [Params, ModelState, Batch, Array], tuple[ModelState, Batch]
  ] = identity
  """`(params, model_state, batch, key) -> (model_state, batch)`, outside the
  gradient.

  `key` is the same on all devices; randomness for an example comes from
  `fold_in(key, batch["slot"])`, its position in the global batch.
  """

  derived: Callable[[Any], dict[str, float]] = no_metrics
  """`({name: (sum, count)}) -> {name: value}` on the host: metrics that are
  functions of summed ones, such as perplexity or an F1 score."""

  score: Callable[[Any, Any], dict[str, float]] | None = None
  """`(predictions, targets) -> {name: value}` on the host, for metrics of a
  whole split such as AUC or BLEU; both are dicts of arrays `[N, ...]`: the
  rows of `predict`, and the arrays of the source but the model's inputs, with
  `weight` if the data has row weights.

  Before the first step it is called with the first batch too, so that
  `best_by` can be compared with its names. Where a metric is undefined it
  returns NaN, which is never the best."""

  variables: Callable[[Params, ModelState], dict[str, Any]] = merge_frozen
  """`(params, model_state) -> variables` of the model's own `apply`."""

  with_variables: Callable[
    [Params, ModelState, Mapping[str, Any]], tuple[Params, ModelState]
  ] = split_frozen
  """`(params, model_state, variables) -> (params, model_state)`, the inverse of
  `variables`: the state of a task whose model has these variables."""
