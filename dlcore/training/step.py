"""One step of training, as one pure function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dlcore.task import Task
from dlcore.training.state import State, bind
from dlcore.typing import (
  Array,
  Batch,
  Extra,
  Params,
  PyTree,
  Schedule,
)


def make_step(
  task: Task,
  tx: optax.GradientTransformation,
  *,
  augment: Callable[[Array, Batch, Array], Batch] | None = None,
  penalty: Callable[[Params], Array] | None = None,
  ema: float = 0.0,
  learning_rate: Schedule | None = None,
  log_every: int = 1,
  axis_name: str | None = None,
) -> Callable[[State, Batch, Batch], tuple[State, dict]]:
  """Makes `step(state, dataset, batch) -> (state, log)`.

  An update with a loss or gradient that is not finite is not applied: the
  state keeps its step and is halted, so that a late look at the log still
  finds the run where it went wrong.

  Args:
    task: what is learned.
    tx: the Optax transformation.
    augment: `(key, batch, slots) -> batch`, see `augment.compose`.
    penalty: `params -> scalar`, added to the loss once.
    ema: decay of the average of the parameters; 0 keeps none. Early on it is
      lowered to `(1 + step) / (10 + step)`, so that the average soon forgets
      the initial values.
    learning_rate: `step -> rate`, only to be shown in the log.
    log_every: the metrics are summed over this many steps.
    axis_name: the mapped axis under `pmap`, None under `jit`.

  Returns:
    A function of the state, the arrays `[N, ...]` that lie on the device (an
    empty dict where batches come whole) and the batch, with `index` int32
    `[B]`. The log holds `metrics`, `loss`, `halted` and
    `shown`, more scalars for people.
  """

  def total(values: PyTree) -> PyTree:
    return jax.lax.psum(values, axis_name) if axis_name else values

  def mean(values: PyTree) -> PyTree:
    return jax.lax.pmean(values, axis_name) if axis_name else values

  def gradient(params, extra, batch, key):
    def loss(params):
      (loss_total, weight), (new_extra, metrics) = task.loss(
        params, extra, batch, key
      )
      return loss_total, (weight, new_extra, metrics)

    function = jax.value_and_grad(loss, has_aux=True)
    (loss_total, aux), grads = function(params)
    weight, new_extra, metrics = aux
    loss_total, weight, grads, metrics = total(
      (loss_total, weight, grads, metrics)
    )
    # A batch whose weights are all 0 teaches nothing; it is no division by 0.
    weight = jnp.where(weight == 0, 1.0, weight)
    grads = jax.tree.map(lambda g: (g / weight).astype(g.dtype), grads)
    loss_value = loss_total / weight
    if penalty is not None:
      penalty_value, penalty_grads = jax.value_and_grad(penalty)(params)
      grads = jax.tree.map(jnp.add, grads, penalty_grads)
      loss_value += penalty_value
    return loss_value, grads, _average(new_extra, mean), metrics

  def step(state: State, dataset: Batch, batch: Batch) -> tuple[State, dict]:
    extra, batch, key = prepared(
      task, augment, state, gather(dataset, batch), axis_name
    )
    loss, grads, extra, metrics = gradient(state.params, extra, batch, key)
    updates, optimizer = tx.update(grads, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    norm = optax.tree.norm(grads)
    halted = state.halted | ~(jnp.isfinite(loss) & jnp.isfinite(norm))
    new = state.replace(
      step=state.step + 1,
      batch_index=state.batch_index + 1,
      params=params,
      extra=extra,
      optimizer=optimizer,
      ema=_averaged(state, params, ema) if ema else state.ema,
      metrics=_summed(state, metrics, log_every),
    )
    new = jax.tree.map(lambda n, o: jnp.where(halted, o, n), new, state)
    new = new.replace(halted=halted)
    shown = {"gradient_norm": norm}
    if learning_rate is not None:
      shown["learning_rate"] = jnp.asarray(learning_rate(state.step))
    log = {"metrics": new.metrics, "loss": loss, "shown": shown}
    return new, {**log, "halted": halted}

  return step


def prepared(
  task: Task,
  augment: Callable | None,
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
  augment: Callable | None,
  state: State,
  dataset: Batch,
  batch: Batch,
  axis_name: str | None,
) -> tuple[dict[str, PyTree], Callable]:
  """Returns the inputs of a step's loss, and the loss with its gradient.

  Returns:
    `(inputs, function)`, where `function(**inputs)` returns the mean loss and
    its gradient, on one device and without penalties.
  """
  extra, batch, key = prepared(
    task, augment, state, gather(dataset, batch), None
  )

  def compute(params: Params, extra: Extra, batch: Batch):
    def loss(params):
      (total, weight), _ = task.loss(params, extra, batch, key)
      return total / jnp.where(weight == 0, 1.0, weight)

    return jax.value_and_grad(loss)(params)

  inputs = {"params": state.params, "extra": extra, "batch": batch}
  return inputs, bind(compute, axis_name)


def gather(dataset: Batch, batch: Batch) -> Batch:
  """Adds the rows `batch["index"]` of the arrays `[N, ...]` on the device."""
  rows = {
    name: array.at[batch["index"]].get(mode="promise_in_bounds")
    for name, array in dataset.items()
  }
  return {**batch, **rows}


def _average(extra: PyTree, mean: Callable) -> PyTree:
  """Averages statistics over the devices; whole numbers are left alone."""
  return jax.tree.map(
    lambda leaf: (
      mean(leaf) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf
    ),
    extra,
  )


def _averaged(state: State, params: Params, ema: float) -> Params:
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(ema, (1 + step) / (10 + step))
  return jax.tree.map(
    lambda old, new: (old + (1 - decay) * (new - old)).astype(old.dtype),
    state.ema,
    params,
  )


def _summed(state: State, metrics: PyTree, log_every: int) -> PyTree:
  """Adds to the sums, which start anew after every line of the log."""
  begun = state.step % log_every != 0
  return jax.tree.map(
    lambda old, new: jnp.where(begun, old, 0) + new, state.metrics, metrics
  )
