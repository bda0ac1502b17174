"""The contract between what is learned and the trainer."""

from collections.abc import Callable
from typing import Any, NamedTuple

from dlcore.typing import Array, Batch, Extra, Metrics, Params, PyTree


def keep(
  params: Params, extra: Extra, batch: Batch, key: Array
) -> tuple[Extra, Batch]:
  """Prepares nothing: the default of `Task.prepare`."""
  del params, key
  return extra, batch


def nothing(sums: Metrics) -> dict[str, float]:
  """Derives nothing: the default of `Task.derived`."""
  del sums
  return {}


class Task(NamedTuple):
  """What is learned, as pure functions; the trainer knows nothing else.

  `params` are differentiated; `extra` holds every other collection (batch
  statistics, carried state, traced settings). Both are nested dicts of arrays
  with stable names, so that checkpoints outlive refactorings.

  The loss is a total and a weight: the trainer sums both over micro-batches,
  devices and hosts and follows the gradient of total / weight, so that masks
  and any number of devices are exact. Penalties are added by the trainer.
  """

  init: Callable[[Array, Batch], tuple[Params, Extra]]
  """`(key, batch) -> (params, extra)`."""

  loss: Callable[
    [Params, Extra, Batch, Array],
    tuple[tuple[Array, Array], tuple[Extra, Metrics]],
  ]
  """`(params, extra, batch, key) -> ((total, weight), (extra, metrics))`."""

  evaluate: Callable[[Params, Extra, Batch, Array], Metrics]
  """`(params, extra, batch, key) -> metrics`, each a (sum, count) pair.

  `key` belongs to the run; randomness for an example comes from
  `fold_in(key, batch["index"])`, so no number depends on the batch size.
  """

  predict: Callable[[Params, Extra, Batch, Array], PyTree]
  """`(params, extra, batch, key) -> tree of [B, ...]`, a row per example."""

  prepare: Callable[[Params, Extra, Batch, Array], tuple[Extra, Batch]] = keep
  """`(params, extra, batch, key) -> (extra, batch)`, outside the gradient."""

  derived: Callable[[Any], dict[str, float]] = nothing
  """`({name: (sum, count)}) -> {name: value}` on the host: metrics that are
  functions of summed ones, such as a root or an F1 score."""
