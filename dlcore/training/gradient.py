"""The gradient of a task's loss for one batch, over its parts and devices."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from dlcore import layers, trees
from dlcore.task import Task
from dlcore.training.state import State, bind, split
from dlcore.typing import Array, Batch, Extra, Metrics, Params, PyTree

Augment = Callable[[Array, Batch, Array], Batch]
"""`(key, batch, slots) -> batch`, see `augment.compose`."""


def make_gradient(
  task: Task,
  *,
  penalty: Callable[[Params], Array] | None = None,
  freeze: str = "",
  accumulate: int = 1,
  axis_name: str | None = None,
) -> Callable[..., tuple[Array, Params, Extra, Metrics]]:
  """Makes `(params, extra, batch, key) -> (loss, grads, extra, metrics)`.

  The arguments are those of `make_step`. The gradient is that of the trained
  part of the parameters only, and so is the penalty.
  """
  task = still(task, freeze)

  def total(values: PyTree) -> PyTree:
    return jax.lax.psum(values, axis_name) if axis_name else values

  def mean(values: PyTree) -> PyTree:
    return jax.lax.pmean(values, axis_name) if axis_name else values

  def part(trained, frozen, extra, batch, key):
    """Returns the new extra, and what is added up over the parts."""

    def loss(trained):
      params = trees.merge(trained, frozen) if freeze else trained
      (loss_total, weight), (new_extra, metrics) = task.loss(
        params, extra, batch, key
      )
      return loss_total, (weight, new_extra, metrics)

    function = jax.value_and_grad(loss, has_aux=True)
    (loss_total, (weight, new_extra, metrics)), grads = function(trained)
    return new_extra, (loss_total, weight, grads, metrics)

  def gradient(params, extra, batch, key):
    trained, frozen = split(params, freeze)
    whole = functools.partial(part, trained, frozen)
    if accumulate == 1:
      new_extra, sums = whole(extra, batch, key)
    else:
      new_extra, sums = _accumulated(whole, extra, batch, key, accumulate)
    loss_total, weight, grads, metrics = total(sums)
    # A batch whose weights are all 0 teaches nothing; it is no division by 0.
    weight = jnp.where(weight == 0, 1.0, weight)
    grads = jax.tree.map(lambda g: (g / weight).astype(g.dtype), grads)
    loss_value = loss_total / weight
    if penalty is not None:
      penalty_value, penalty_grads = jax.value_and_grad(penalty)(trained)
      grads = jax.tree.map(jnp.add, grads, penalty_grads)
      loss_value += penalty_value
    return loss_value, grads, _average(new_extra, mean), metrics

  return gradient


def still(task: Task, freeze: str) -> Task:
  """Returns `task` with a loss in whose frozen part nothing moves.

  Frozen batch norm takes its stored statistics, frozen dropout drops nothing;
  see `layers.frozen`.
  """
  if not freeze:
    return task

  def loss(*arguments):
    with layers.frozen(freeze):
      return task.loss(*arguments)

  return task._replace(loss=loss)


def prepared(
  task: Task,
  augment: Augment | None,
  state: State,
  batch: Batch,
  axis_name: str | None,
) -> tuple[Extra, Batch, Array]:
  """Returns what the loss takes: the extra, the batch and the key."""
  key = jax.random.fold_in(
    jax.random.wrap_key_data(state.key), state.batch_index
  )
  augment_key, prepare_key, loss_key = jax.random.split(key, 3)
  slots = jnp.arange(batch["index"].shape[0])
  if axis_name:
    place = jax.lax.axis_index(axis_name)
    slots += place * slots.shape[0]
    prepare_key = jax.random.fold_in(prepare_key, place)
    loss_key = jax.random.fold_in(loss_key, place)
  if augment is not None:
    batch = augment(augment_key, batch, slots)
  extra, batch = task.prepare(state.params, state.extra, batch, prepare_key)
  return extra, batch, loss_key


def replay(
  task: Task,
  augment: Augment | None,
  state: State,
  dataset: Batch,
  batch: Batch,
  *,
  freeze: str,
  axis_name: str | None,
) -> tuple[dict[str, PyTree], Callable]:
  """Returns the inputs of a step's loss, and the loss with its gradient.

  Returns:
    `(inputs, function)`, where `function(**inputs)` returns the mean loss and
    its gradient, on one device and without penalties.
  """
  task = still(task, freeze)
  extra, batch, key = prepared(
    task, augment, state, gather(dataset, batch), None
  )

  def compute(params: Params, extra: Extra, batch: Batch):
    trained, frozen = split(params, freeze)

    def loss(trained):
      params = trees.merge(trained, frozen) if freeze else trained
      (total, weight), _ = task.loss(params, extra, batch, key)
      return total / jnp.where(weight == 0, 1.0, weight)

    return jax.value_and_grad(loss)(trained)

  inputs = {"params": state.params, "extra": extra, "batch": batch}
  return inputs, bind(compute, axis_name)


def gather(dataset: Batch, batch: Batch) -> Batch:
  """Adds the rows `batch["index"]` of the arrays `[N, ...]` on the device."""
  rows = {
    name: array.at[batch["index"]].get(mode="promise_in_bounds")
    for name, array in dataset.items()
  }
  return {**batch, **rows}


def _accumulated(
  part: Callable, extra: Extra, batch: Batch, key: Array, parts: int
) -> tuple[Extra, PyTree]:
  """Adds up `part(extra, batch, key)` over the parts of a batch."""
  # Every device cuts up what it has: part i takes the rows i, i + parts, ...
  cut = jax.tree.map(
    lambda rows: jnp.moveaxis(rows.reshape(-1, parts, *rows.shape[1:]), 1, 0),
    batch,
  )
  keys = jax.random.split(key, parts)

  def add(carry, inputs):
    extra, sums = carry
    extra, more = part(extra, *inputs)
    return (extra, jax.tree.map(jnp.add, sums, more)), None

  first, rest = (
    jax.tree.map(lambda rows, at=at: rows[at], (cut, keys))
    for at in (0, slice(1, None))
  )
  # A convolution inside of a loop is ten times slower on CPU.
  unroll = parts - 1 if jax.default_backend() == "cpu" else 1
  summed, _ = jax.lax.scan(add, part(extra, *first), rest, unroll=unroll)
  return summed


def _average(extra: PyTree, mean: Callable) -> PyTree:
  """Averages statistics over the devices; whole numbers are left alone."""
  return jax.tree.map(
    lambda leaf: (
      mean(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf
    ),
    extra,
  )
