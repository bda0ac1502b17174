"""The one place where a gradient is taken."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from dlcore import optim
from dlcore.task import CARRY, FROZEN, Task
from dlcore.training.state import State, fresh_carry, step_key
from dlcore.typing import Array, Batch, Metrics, ModelState, Params, PyTree

Penalty = Callable[[Params], Array]
"""`params -> scalar`, see `optim.penalty`."""


class Update(NamedTuple):
  """The result of differentiating a task on one batch."""

  loss: Array
  """float32 scalar: total / weight, plus the penalty."""

  grads: Params
  updates: Params
  """The changes of `params` that the optimizer proposes."""

  opt_state: PyTree
  model_state: ModelState
  metrics: Metrics


def make_update(
  task: Task,
  tx: optax.GradientTransformation,
  *,
  penalty: Penalty | None = None,
  accumulate: int = 1,
  axis_name: str | None = None,
) -> Callable[[State, Batch], Update]:
  """Returns `update(state, batch) -> Update`, which applies nothing.

  Args:
    task: the learning problem.
    tx: the Optax transformation. Those of `optim.create` take `step`, the
      clock of the run, and `rate_scale` as extra arguments; the updates of
      others are multiplied by `rate_scale`.
    penalty: `params -> scalar`, added to the loss once.
    accumulate: number of micro-batches that a batch is cut into. Totals and
      weights are added, so the gradient is that of the whole batch; the
      statistics of batch norm are those of each micro-batch.
    axis_name: the mapped axis under `pmap`, None under `jit`.
  """
  tx = optax.with_extra_args_support(tx)

  def update(state: State, batch: Batch) -> Update:
    prepare_key, loss_key = jax.random.split(step_key(state))
    if axis_name:
      index = jax.lax.axis_index(axis_name)
      loss_key = jax.random.fold_in(loss_key, index)
    model_state = _reset_carry(task, state.model_state, batch)
    model_state, batch = task.prepare(
      state.params, model_state, batch, prepare_key
    )
    sum_gradients = partial(_sum_gradients, task, state.params)
    if accumulate == 1:
      model_state, sums = sum_gradients(model_state, batch, loss_key)
    else:
      model_state, sums = _accumulate(
        sum_gradients, model_state, batch, loss_key, accumulate
      )
    if axis_name:
      sums = jax.lax.psum(sums, axis_name)
      model_state = _average_statistics(model_state, axis_name)
    loss, grads = _mean(sums)
    if penalty is not None:
      penalty_value, penalty_grads = jax.value_and_grad(penalty)(state.params)
      grads = jax.tree.map(jnp.add, grads, penalty_grads)
      loss += penalty_value
    updates, opt_state = tx.update(
      grads,
      state.opt_state,
      state.params,
      step=state.step,
      rate_scale=state.rate_scale,
    )
    if not optim.takes_rate_scale(opt_state):
      updates = jax.tree.map(lambda u: state.rate_scale * u, updates)
    return Update(loss, grads, updates, opt_state, model_state, sums.metrics)

  return update


class _Sums(NamedTuple):
  """Sums over the examples of a batch."""

  loss: Array
  weight: Array
  grads: Params
  metrics: Metrics


def _sum_gradients(
  task: Task, params: Params, model_state: ModelState, batch: Batch, key: Array
) -> tuple[ModelState, _Sums]:
  def loss(params: Params):
    (total, weight), (new_state, metrics) = task.loss(
      params, model_state, batch, key
    )
    return total, (weight, new_state, metrics)

  (total, (weight, new_state, metrics)), grads = jax.value_and_grad(
    loss, has_aux=True
  )(params)
  return new_state, _Sums(total, weight, grads, metrics)


def _mean(sums: _Sums) -> tuple[Array, Params]:
  """Returns the mean loss and gradient; 0 where all weights are 0."""
  weight = jnp.where(sums.weight == 0, 1.0, sums.weight)
  grads = jax.tree.map(lambda g: (g / weight).astype(g.dtype), sums.grads)
  return sums.loss / weight, grads


def _accumulate(
  sum_gradients: Callable,
  model_state: ModelState,
  batch: Batch,
  key: Array,
  parts: int,
) -> tuple[ModelState, _Sums]:
  """Adds the sums of micro-batches; `carry` is cut and joined with the rows."""

  def cut(rows: Array) -> Array:
    # Micro-batch i takes the rows i, i + parts, ..., so that every device cuts
    # only rows that it holds.
    return jnp.moveaxis(rows.reshape(-1, parts, *rows.shape[1:]), 1, 0)

  def join(rows: Array) -> Array:
    return jnp.moveaxis(rows, 0, 1).reshape(-1, *rows.shape[2:])

  def add(accumulated, inputs):
    shared, sums = accumulated
    carry, batch, key = inputs
    state, more = sum_gradients({**shared, **carry}, batch, key)
    shared, carry = _split_carry(state)
    return (shared, jax.tree.map(jnp.add, sums, more)), carry

  shared, carry = _split_carry(model_state)
  inputs = (*jax.tree.map(cut, (carry, batch)), jax.random.split(key, parts))
  first, rest = (
    jax.tree.map(lambda rows, at=at: rows[at], inputs)
    for at in (0, slice(1, None))
  )
  first_carry, first_batch, first_key = first
  state, sums = sum_gradients({**shared, **first_carry}, first_batch, first_key)
  shared, first_carry = _split_carry(state)
  # A convolution inside a loop is ten times slower on CPU.
  unroll = parts - 1 if jax.default_backend() == "cpu" else 1
  (shared, sums), rest_carry = jax.lax.scan(
    add, (shared, sums), rest, unroll=unroll
  )
  carry = jax.tree.map(
    lambda first, rest: join(jnp.concatenate([first[None], rest])),
    first_carry,
    rest_carry,
  )
  return {**shared, **carry}, sums


def _split_carry(model_state: ModelState) -> tuple[dict, dict]:
  shared = {k: v for k, v in model_state.items() if k != CARRY}
  return shared, {k: v for k, v in model_state.items() if k == CARRY}


def _reset_carry(
  task: Task, model_state: ModelState, batch: Batch
) -> ModelState:
  """Returns the state with a fresh carry in the rows where `begins` is true."""
  if CARRY not in model_state or "begins" not in batch:
    return model_state

  def choose(fresh: Array, carry: Array) -> Array:
    begins = batch["begins"].reshape(-1, *[1] * (carry.ndim - 1))
    return jnp.where(begins, fresh, carry)

  fresh = fresh_carry(task, batch)
  return {**model_state, CARRY: jax.tree.map(choose, fresh, model_state[CARRY])}


def _average_statistics(model_state: ModelState, axis_name: str) -> ModelState:
  """Averages over the devices all collections but `carry` and `frozen`."""

  def average(leaf: Array) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
      return leaf
    return jax.lax.pmean(leaf, axis_name)

  return {
    name: tree if name in (CARRY, FROZEN) else jax.tree.map(average, tree)
    for name, tree in model_state.items()
  }
