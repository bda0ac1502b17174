"""A look inside a step: norms per layer, at an interval, changing nothing."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import layers, trees
from dlcore.scale import DataParallel
from dlcore.task import Task
from dlcore.training.gradient import Augment, gather, make_gradient, prepared
from dlcore.training.phases import Phases
from dlcore.training.state import State, split
from dlcore.typing import Array, Batch, Params

SPLIT = "layers"
"""The name of these lines in the log."""

OUTPUT = "activation_rms"


class Probe:
  """Measures the update that is about to be made, every so many steps.

  It is a program of its own beside the step, which is traced once whether
  anyone looks or not; a run has the same bits with and without.
  """

  def __init__(
    self,
    task: Task,
    tx: optax.GradientTransformation,
    parallel: DataParallel,
    every: int,
    *,
    augment: Augment | None = None,
    penalty: Callable[[Params], Array] | None = None,
    freeze: str = "",
    accumulate: int = 1,
  ):
    """Takes the arguments of `make_step`, and `every` how many steps to look.

    Args:
      task: what is learned.
      tx: the Optax transformation.
      parallel: the devices.
      every: steps between looks; 0 for never.
      augment: as the other ones, see `make_step`.
      penalty: likewise.
      freeze: likewise.
      accumulate: likewise.
    """
    self._every = every
    self._parallel = parallel
    self._tx = optax.with_extra_args_support(tx)
    self._task, self._augment, self._freeze = task, augment, freeze
    self._gradient = make_gradient(
      recording(task),
      penalty=penalty,
      freeze=freeze,
      accumulate=accumulate,
      axis_name=parallel.axis_name,
    )
    self._program: Callable | None = None
    self._names: tuple[str, ...] = ()

  def due(self, step: int, count: int) -> bool:
    """Tells whether a call of `count` steps after `step` is to be looked at."""
    if not self._every:
      return False
    return -(-step // self._every) * self._every < step + count

  def __call__(
    self,
    state: State,
    dataset: Batch,
    batch: Batch,
    count: int,
    phases: Phases,
  ) -> dict[str, float]:
    """Returns the numbers of the first of the next `count` steps.

    Returns:
      `gradient_norm/PATH`, the L2 norm of the gradient of a parameter array,
      and `update_ratio/PATH`, the norm of its update over its own, for all
      arrays that are trained; `activation_rms/PATH`, the root mean square of
      a module's output in training, for modules that are Flax's.
    """
    if count > 1:
      batch = jax.tree.map(lambda rows: rows[0], batch)
    state = state.replace(decided={})
    if self._program is None:
      with phases("compile"):
        self._program = self._parallel.compile(
          self._measure, state, dataset, batch, donate=False
        )
    with phases("watch"):
      values = np.asarray(self._program(state, dataset, batch))
    return dict(zip(self._names, values.tolist(), strict=True))

  def _measure(self, state: State, dataset: Batch, batch: Batch) -> Array:
    values = self._values(state, dataset, batch)
    self._names = tuple(values)
    # One array: each that is fetched costs some 10 us.
    return jnp.stack([jnp.float32(value) for value in values.values()])

  def _values(
    self, state: State, dataset: Batch, batch: Batch
  ) -> dict[str, Array]:
    extra, batch, key = prepared(
      self._task,
      self._augment,
      state,
      gather(dataset, batch),
      self._parallel.axis_name,
    )
    _, grads, _, metrics = self._gradient(state.params, extra, batch, key)
    trained, _ = split(state.params, self._freeze)
    updates, _ = self._tx.update(
      grads, state.optimizer, trained, rate_scale=state.rate_scale
    )
    ratios = jax.tree.map(_ratio, updates, trained)
    norms = jax.tree.map(_norm, grads)
    values = {f"gradient_norm/{k}": v for k, v in trees.flatten(norms).items()}
    values |= {f"update_ratio/{k}": v for k, v in trees.flatten(ratios).items()}
    return values | {
      name: jnp.sqrt(total / count)
      for name, (total, count) in metrics.items()
      if name.startswith(OUTPUT)
    }


def recording(task: Task) -> Task:
  """Returns `task` with the outputs of its modules among its metrics."""

  def loss(*arguments):
    with layers.recorded():
      total, (extra, metrics) = task.loss(*arguments)
    extra = dict(extra)
    pairs: dict[str, list] = {}
    for path, value in trees.flatten(extra.pop(layers.RECORDED, {})).items():
      name = path.rsplit("/output/", 1)[0]
      pairs.setdefault(f"{OUTPUT}/{name}", []).append(value)
    outputs = {name: tuple(pair) for name, pair in pairs.items()}
    return total, (extra, {**metrics, **outputs})

  return task._replace(loss=loss)


def _norm(values: Array) -> Array:
  return jnp.sqrt(jnp.sum(jnp.square(values.astype(jnp.float32))))


def _ratio(update: Array, params: Array) -> Array:
  """Returns the norm of an update over that of what it changes.

  It is not finite where that is 0, as of new biases; the log leaves it out.
  """
  return _norm(update) / _norm(params)
