"""Batch statistics of averaged weights (Izmailov et al. 2018, section 3.2).

The running statistics of batch norm belong to the weights of each step. An
average of weights (arXiv:1803.05407) needs statistics of its own.
"""

import jax
import jax.numpy as jnp

from dlcore import sharding
from dlcore.task import Task
from dlcore.training.feed import Feed
from dlcore.training.programs import Program, compile_by_length
from dlcore.training.state import State, step_key
from dlcore.typing import Array, Batch, PyTree

NUM_BATCHES = 32
"""Number of batches that the statistics are the mean of."""

STATISTICS = "batch_stats"


class Recalibration:
  """Estimates `state.average["batch_stats"]` for a schedule-free optimizer.

  Their mean over the latest training batches takes the place of the running
  statistics, which are those of other weights: the gradient's.
  """

  def __init__(
    self, task: Task, partitioner: sharding.Partitioner, *, enabled: bool
  ):
    """Takes the task, the devices, and whether `compile` and calls do work."""
    self._task, self._partitioner = task, partitioner
    self._enabled = enabled
    self._programs: dict[int | None, Program] = {}

  def compile(self, state: State, feed: Feed) -> None:
    """Compiles the program for every length of the order."""
    if not self._enabled or STATISTICS not in state.average:
      return
    self._programs = compile_by_length(
      self._partitioner, self._measure, state, feed, updates_state=False
    )

  def __call__(self, state: State, feed: Feed) -> State:
    """Returns the state with statistics of its averaged parameters."""
    if not self._programs:
      return state
    stop = int(state.batch_index)
    total, count = None, 0.0
    for index in range(max(stop - NUM_BATCHES, 0), stop):
      dispatch = feed.dispatch(index)
      at_batch = state.replace(
        batch_index=self._partitioner.replicate(jnp.int32(index))
      )
      program = self._programs[dispatch.length]
      statistics, is_finite = program(at_batch, feed.arrays, dispatch.batch)
      total = statistics if total is None else _add(total, statistics)
      count += float(is_finite)
    if count == 0:
      return state
    mean = jax.tree.map(lambda leaf: leaf / count, total)
    return state.replace(average={**state.average, STATISTICS: mean})

  def _measure(self, state: State, batch: Batch) -> tuple[PyTree, Array]:
    """Returns the statistics of a batch and whether they are finite.

    Statistics that are not finite are replaced by zeros: the loop skips such
    updates, so their batches are not counted.
    """
    prepare_key, loss_key = jax.random.split(step_key(state))
    params = state.average["params"]
    model_state, batch = self._task.prepare(
      params, state.model_state, batch, prepare_key
    )

    def update(value: float) -> PyTree:
      """Returns the running statistics after this batch, all `value` before."""
      before = jax.tree.map(
        lambda leaf: jnp.full_like(leaf, value), model_state[STATISTICS]
      )
      _, (after, _) = self._task.loss(
        params, {**model_state, STATISTICS: before}, batch, loss_key
      )
      return after[STATISTICS]

    axis_name = self._partitioner.axis_name
    # `running = momentum * running + (1 - momentum) * batch`, so the statistics
    # of the batch follow from two values of `running`.
    statistics = jax.tree.map(
      _batch_statistics, update(0.0), update(1.0), model_state[STATISTICS]
    )
    if axis_name:
      statistics = jax.lax.pmean(statistics, axis_name)
    is_finite = jnp.stack(
      [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(statistics)]
    ).all()
    statistics = jax.tree.map(
      lambda leaf: jnp.where(is_finite, leaf, 0), statistics
    )
    return statistics, is_finite


def _batch_statistics(zero: Array, one: Array, running: Array) -> Array:
  """Solves for the statistics of the batch; frozen ones stay as they are."""
  momentum = one - zero
  frozen = momentum > 1 - 1e-6
  weight = jnp.where(frozen, 1.0, 1 - momentum)
  return jnp.where(frozen, running, zero / weight)


def _add(left: PyTree, right: PyTree) -> PyTree:
  return jax.tree.map(jnp.add, left, right)
