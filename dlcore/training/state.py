"""The state of a run on its devices: everything that a step reads or writes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore import optim
from dlcore.task import CARRY, Task
from dlcore.typing import Array, Batch, Metrics, ModelState, Params, PyTree


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """The state of a run; every leaf is an array.

  The decisions of the host (best step, patience, rollbacks) are not in it,
  see `Decisions`.
  """

  step: Array
  """int32: the clock of the run, which schedules read. It advances with every
  batch, whether its update was applied or skipped."""

  batch_index: Array
  """int32: the next batch; batches and keys are functions of it. It differs
  from `step` after a rollback, which skips batches."""

  params: Params
  model_state: ModelState
  """Every other collection of the task, see `Task`."""

  opt_state: PyTree
  """The state of the Optax transformation."""

  key: Array
  """uint32: the raw data of the run's random key."""

  rate_scale: Array
  """float32: factor of the learning rate, set by plateaus and rollbacks."""

  hparams: dict[str, Array]
  """Numbers that vary between the members of a population, by name; empty in
  ordinary runs. The task and the optimizer are built from them in the step:
  `lambda state, batch: make_step(*build(state.hparams))(state, batch)`."""

  average: dict[str, Any]
  """Averages of `params` and of `batch_stats`, see `average`; or empty."""

  guard: dict[str, Array]
  """The counts of `guard`; or empty."""

  metrics: Metrics
  """The sums of `sum_metrics`; or empty."""

  def replace(self, **changes: Any) -> "State":
    """Returns a copy with `changes`."""
    return dataclasses.replace(self, **changes)


def init_state(
  task: Task,
  tx: optax.GradientTransformation,
  batch: Batch,
  *,
  seed: int = 0,
  hparams: Mapping[str, Any] | None = None,
  variables: tuple[Params, ModelState] | None = None,
  average: bool = False,
  guard: Mapping[str, Array] | None = None,
  metrics: bool = False,
  axis_name: str | None = None,
) -> State:
  """Returns the state before the first step.

  It is a pure function of its arguments and works under `jax.jit` (with
  `out_shardings`) and `jax.eval_shape`.

  Args:
    task: the learning problem.
    tx: the Optax transformation.
    batch: a batch of the size used in training, `[B, ...]`.
    seed: of the run.
    hparams: numbers that vary, by name; see `State.hparams`.
    variables: `(params, model_state)` in place of those of `task.init`.
    average: whether the step will be wrapped by `average`.
    guard: `init_guard()` if it will be wrapped by `guard`.
    metrics: whether it will be wrapped by `sum_metrics`.
    axis_name: the mapped axis that the model names under `pmap`.
  """
  params, model_state = variables or init_variables(task, batch, seed)
  state = State(
    step=jnp.int32(0),
    batch_index=jnp.int32(0),
    params=params,
    model_state=model_state,
    opt_state=tx.init(params),
    key=run_key(seed),
    rate_scale=jnp.float32(1),
    hparams={name: jnp.asarray(v) for name, v in (hparams or {}).items()},
    average={},
    guard=dict(guard or {}),
    metrics={},
  )
  if average:
    state = state.replace(
      average=jax.tree.map(jnp.copy, trees_to_average(state))
    )
  if metrics:
    state = state.replace(metrics=_zero_metrics(task, state, batch, axis_name))
  return state


def init_variables(
  task: Task, batch: Batch, seed: int
) -> tuple[Params, ModelState]:
  """Returns the random `(params, model_state)` of a run."""
  return task.init(jax.random.fold_in(jax.random.key(seed), 0), batch)


def run_key(seed: int) -> Array:
  """Returns the raw data of the random key of a run, uint32."""
  return jax.random.key_data(jax.random.fold_in(jax.random.key(seed), 1))


def init_guard(*, spikes: bool = False) -> dict[str, Array]:
  """Returns the initial counts of `guard`.

  `skipped` and `consecutive` (int32) count updates that were not applied, in
  total and in a row; `halted` (bool) stops all changes. With `spikes`, `norm`
  (float32) is the running mean of the gradient norm over `count` updates.
  """
  counts = {
    "skipped": jnp.int32(0),
    "consecutive": jnp.int32(0),
    "halted": jnp.bool_(False),
  }
  if spikes:
    counts |= {"norm": jnp.float32(0), "count": jnp.int32(0)}
  return counts


def trees_to_average(state: State) -> dict[str, Any]:
  """Returns the trees that `average` follows: `params` and `batch_stats`.

  Batch statistics belong to the parameters that they were computed with, so
  averaged parameters need averaged statistics.
  """
  params = optim.evaluation_params(state.opt_state, state.params)
  averaged = {"params": params}
  if "batch_stats" in state.model_state:
    averaged["batch_stats"] = state.model_state["batch_stats"]
  return averaged


def evaluation_variables(state: State) -> tuple[Params, ModelState]:
  """Returns the `(params, model_state)` that evaluation uses.

  These are the averaged ones where there are any: of `average`, else of a
  schedule-free optimizer.
  """
  chosen = state.average or trees_to_average(state)
  statistics = {k: v for k, v in chosen.items() if k != "params"}
  return chosen["params"], {**state.model_state, **statistics}


def step_key(state: State) -> Array:
  """Returns the random key of the step at `state`."""
  key = jax.random.wrap_key_data(state.key)
  return jax.random.fold_in(key, state.batch_index)


def fresh_carry(task: Task, batch: Batch) -> PyTree:
  """Returns the `carry` with which the sequences of `batch` begin."""
  return task.init(jax.random.key(0), batch)[1][CARRY]


def bind_axis(function: Callable, axis_name: str | None) -> Callable:
  """Returns `function`, callable outside of `pmap` as if on one device."""
  if axis_name is None:
    return function

  def on_one_device(*args, **kwargs):
    mapped = jax.vmap(lambda _: function(*args, **kwargs), axis_name=axis_name)
    return jax.tree.map(lambda leaf: leaf[0], mapped(jnp.zeros(1)))

  return on_one_device


def _zero_metrics(
  task: Task, state: State, batch: Batch, axis_name: str | None
) -> Metrics:
  def measure(params, model_state, batch):
    key = jax.random.key(0)
    model_state, batch = task.prepare(params, model_state, batch, key)
    return task.loss(params, model_state, batch, key)[1][1]

  shapes = jax.eval_shape(
    bind_axis(measure, axis_name), state.params, state.model_state, batch
  )
  return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes)
