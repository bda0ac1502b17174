"""Norms of the gradient, the update and the activations of every layer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import layers, sharding, trees
from dlcore.task import Task
from dlcore.training.feed import Dispatch, Feed
from dlcore.training.programs import Program, compile_by_length
from dlcore.training.state import State
from dlcore.training.update import Penalty, make_update
from dlcore.typing import Array, Batch, Params

SPLIT = "layers"
"""The split of these lines in the log."""

ACTIVATION = "activation_rms"


class LayerStatistics:
  """Measures, at an interval, the update that is about to be made.

  The program is separate from the step, so a run has the same bits with and
  without it.
  """

  def __init__(
    self,
    task: Task,
    tx: optax.GradientTransformation,
    partitioner: sharding.Partitioner,
    every: int,
    *,
    penalty: Penalty | None = None,
    accumulate: int = 1,
  ):
    """Takes the arguments of `make_update`.

    Args:
      task: the learning problem.
      tx: the Optax transformation.
      partitioner: the devices.
      every: steps between measurements; 0 for never.
      penalty: see `make_update`.
      accumulate: see `make_update`.
    """
    self._every = every
    self._partitioner = partitioner
    self._update = make_update(
      record_activations(task),
      tx,
      penalty=penalty,
      accumulate=accumulate,
      axis_name=partitioner.axis_name,
    )
    self._programs: dict[int | None, Program] = {}
    self._names: list[str] = []

  def is_due(self, step: int, count: int) -> bool:
    """Returns whether a dispatch of `count` steps after `step` is measured."""
    if not self._every:
      return False
    return -(-step // self._every) * self._every < step + count

  def compile(self, state: State, feed: Feed) -> None:
    """Compiles the measurement for every length of the order."""
    if not self._every:
      return
    self._programs = compile_by_length(
      self._partitioner, self._measure, state, feed, updates_state=False
    )

  def measure(
    self, state: State, feed: Feed, dispatch: Dispatch
  ) -> dict[str, float]:
    """Returns the statistics of the first step of a dispatch.

    Returns:
      `gradient_norm/PATH`, the L2 norm of the gradient of a parameter array,
      and `update_ratio/PATH`, the norm of its update over its own norm;
      `activation_rms/PATH`, the root mean square of the output of a module in
      training, for Flax modules with parameters.
    """
    batch = dispatch.batch
    if dispatch.count > 1:
      batch = jax.tree.map(lambda rows: rows[0], batch)
    values = self._programs[dispatch.length](state, feed.arrays, batch)
    return dict(zip(self._names, np.asarray(values).tolist(), strict=True))

  def _measure(self, state: State, batch: Batch) -> Array:
    update = self._update(state, batch)
    values = _norms(update.grads, update.updates, state.params)
    values |= {
      name: jnp.sqrt(total / count)
      for name, (total, count) in update.metrics.items()
      if name.startswith(ACTIVATION)
    }
    self._names = list(values)  # While `compile` traces this function.
    # One array: each one that is fetched costs some 10 us.
    return jnp.stack([jnp.float32(value) for value in values.values()])


def record_activations(task: Task) -> Task:
  """Returns `task` with the outputs of its modules among its metrics."""

  def loss(*arguments):
    with layers.recorded():
      total, (model_state, metrics) = task.loss(*arguments)
    model_state = dict(model_state)
    pairs: dict[str, list] = {}
    recorded = model_state.pop(layers.RECORDED, {})
    for path, value in trees.flatten(recorded).items():
      name = path.rsplit("/", 2)[0]  # Without "output norm" and 0 or 1.
      pairs.setdefault(f"{ACTIVATION}/{name}", []).append(value)
    outputs = {name: tuple(pair) for name, pair in pairs.items()}
    return total, (model_state, {**metrics, **outputs})

  return task._replace(loss=loss)


def _norms(grads: Params, updates: Params, params: Params) -> dict[str, Array]:
  norms = jax.tree.map(_norm, grads)
  # Not finite where the parameters are 0, as new biases; the log skips those.
  ratios = jax.tree.map(lambda u, p: _norm(u) / _norm(p), updates, params)
  values = {f"gradient_norm/{k}": v for k, v in trees.flatten(norms).items()}
  return values | {
    f"update_ratio/{k}": v for k, v in trees.flatten(ratios).items()
  }


def _norm(values: Array) -> Array:
  return jnp.sqrt(jnp.sum(jnp.square(values.astype(jnp.float32))))
