"""One step of training, as one pure function."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dlcore.optim import evaluation_params
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
  accumulate: int = 1,
  spike: float = 0.0,
  tolerate: int = 1,
  axis_name: str | None = None,
) -> Callable[[State, Batch, Batch], tuple[State, dict]]:
  """Makes `step(state, dataset, batch) -> (state, log)`.

  An update with a loss or gradient that is not finite is not applied, and its
  batch is passed over. After several in a row the state is halted: no later
  step changes it, so that a late look at the log still finds the run where
  it went wrong.

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
    accumulate: parts of a batch that are computed one after the other; their
      totals and weights are added, so that the gradient is that of the whole
      (statistics of batch norm are of each part).
    spike: a gradient whose norm is so many times the usual one counts as not
      finite; 0 for none.
    tolerate: after so many steps in a row that were not applied it halts.
    axis_name: the mapped axis under `pmap`, None under `jit`.

  Returns:
    A function of the state, the arrays `[N, ...]` that lie on the device (an
    empty dict where batches come whole) and the batch, with `index` int32
    `[B]`. The log holds `metrics`, `loss`, `halted`, `skipped`, how many
    updates were not applied so far, and `shown`, more scalars for people.
  """
  tx = optax.with_extra_args_support(tx)

  def total(values: PyTree) -> PyTree:
    return jax.lax.psum(values, axis_name) if axis_name else values

  def mean(values: PyTree) -> PyTree:
    return jax.lax.pmean(values, axis_name) if axis_name else values

  def part(params, extra, batch, key):
    """Returns the new extra, and what is added up over the parts."""

    def loss(params):
      (loss_total, weight), (new_extra, metrics) = task.loss(
        params, extra, batch, key
      )
      return loss_total, (weight, new_extra, metrics)

    function = jax.value_and_grad(loss, has_aux=True)
    (loss_total, (weight, new_extra, metrics)), grads = function(params)
    return new_extra, (loss_total, weight, grads, metrics)

  def gradient(params, extra, batch, key):
    if accumulate == 1:
      new_extra, sums = part(params, extra, batch, key)
    else:
      new_extra, sums = _accumulated(
        functools.partial(part, params), extra, batch, key, accumulate
      )
    loss_total, weight, grads, metrics = total(sums)
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
    updates, optimizer = tx.update(
      grads, state.optimizer, state.params, rate_scale=state.rate_scale
    )
    params = optax.apply_updates(state.params, updates)
    norm = optax.tree.norm(grads)
    good = jnp.isfinite(loss) & jnp.isfinite(norm)
    if spike:
      good &= ~_spikes(state, norm, spike)
    applied = good & ~state.halted
    new = state.replace(
      params=params,
      extra=extra,
      optimizer=optimizer,
      ema=_shown(state, optimizer, params, ema),
      typical=_typical(state, norm) if spike else state.typical,
    )
    new = jax.tree.map(lambda n, o: jnp.where(applied, n, o), new, state)
    made = (~state.halted).astype(jnp.int32)
    new = new.replace(
      step=state.step + made,
      batch_index=state.batch_index + made,
      metrics=_summed(state, metrics, applied, log_every),
      trouble=_counted(state.trouble, good, made),
    )
    halted = new.trouble["in_a_row"] >= tolerate
    shown = {"gradient_norm": norm}
    if learning_rate is not None:
      rate = jnp.asarray(learning_rate(state.step))
      shown["learning_rate"] = rate * state.rate_scale
    log = {"metrics": new.metrics, "loss": loss, "shown": shown}
    log |= {"halted": halted, "skipped": new.trouble["skipped"]}
    return new.replace(halted=halted), log

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


def _shown(
  state: State, optimizer: PyTree, params: Params, ema: float
) -> PyTree:
  """Returns the parameters that evaluation uses, empty if no others."""
  evaluated = evaluation_params(optimizer, params)
  if not ema:
    return state.ema if evaluated is params else evaluated
  step = state.step.astype(jnp.float32)
  decay = jnp.minimum(ema, (1 + step) / (10 + step))
  return jax.tree.map(
    lambda old, new: (old + (1 - decay) * (new - old)).astype(old.dtype),
    state.ema,
    evaluated,
  )


def _summed(
  state: State, metrics: PyTree, applied: Array, log_every: int
) -> PyTree:
  """Adds to the sums, which start anew after every line of the log."""
  begun = (state.step % log_every != 0) | state.halted
  return jax.tree.map(
    lambda old, new: jnp.where(begun, old, 0) + jnp.where(applied, new, 0),
    state.metrics,
    metrics,
  )


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


WARMUP = 20
"""Updates after which the usual norm of the gradient is known."""


def _spikes(state: State, norm: Array, factor: float) -> Array:
  known = state.typical["count"] >= WARMUP
  return known & (norm > factor * state.typical["norm"])


def _typical(state: State, norm: Array) -> dict[str, Array]:
  """Follows the norm of the gradient: a running mean of about 50 updates."""
  count = state.typical["count"]
  part = jnp.maximum(1 / (count + 1), 0.02).astype(jnp.float32)
  old = state.typical["norm"]
  return {"norm": old + part * (norm - old), "count": count + 1}


def _counted(
  trouble: dict[str, Array], good: Array, made: Array
) -> dict[str, Array]:
  """Counts the updates that were not applied, all and in a row."""
  bad = made * (~good).astype(jnp.int32)
  before = trouble["in_a_row"]
  return {
    **trouble,
    "skipped": trouble["skipped"] + bad,
    "in_a_row": jnp.where(made == 1, (before + 1) * bad, before),
  }
