"""Everything that a run is, at one moment: what a checkpoint holds."""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import trees
from dlcore.optim import evaluation_params
from dlcore.task import Task
from dlcore.typing import Array, Batch, Extra, Metrics, Params, PyTree

BEGINNING: dict[str, np.ndarray] = {
  "best_value": np.float32(-np.inf),
  "best_step": np.int32(-1),
  "seen": np.int32(-1),
  "lowered": np.int32(-1),
  "good": np.int32(-1),
  "recoveries": np.int32(0),
  "recovered_at": np.int32(-1),
}
"""What is decided before the first step: the best evaluation so far (more is
better), the steps that were evaluated and saved last, where the rate was last
lowered, and the recoveries since a step, where the last one began."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """The state of a run; every leaf is an array."""

  step: Array
  """int32: updates made so far."""

  batch_index: Array
  """int32: the next batch; batches and keys are functions of it."""

  params: Params
  extra: Extra
  """Every other collection: batch statistics, carried state, settings."""

  optimizer: PyTree
  """The state of the Optax chain, for the parameters that are not frozen."""

  ema: PyTree
  """What evaluation uses in place of those `params`, such as their
  exponential moving average; empty if nothing."""

  key: Array
  """uint32: the raw data of the run's random key."""

  metrics: Metrics
  """Sums and counts since the last line of the log."""

  rate_scale: Array
  """float32: factor of the learning rate, lowered in trouble."""

  typical: dict[str, Array]
  """`norm` float32: the usual one of the gradient, `count` int32 of updates;
  empty where no spike is looked for."""

  trouble: dict[str, Array]
  """Counts, int32, of updates that were not applied: `skipped` in all and
  `in_a_row`."""

  halted: Array
  """bool: too many updates in a row were bad; nothing changes any more."""

  decided: dict[str, np.ndarray]
  """What only the host reads and writes, see `BEGINNING`; it is not
  given to the compiled step."""

  def replace(self, **changes: Any) -> "State":
    """Returns a copy with `changes`."""
    return dataclasses.replace(self, **changes)

  @property
  def evaluated(self) -> Params:
    """The parameters that evaluation uses: averaged ones, if there are."""
    return trees.merge(self.params, self.ema) if self.ema else self.params


def create(
  task: Task,
  tx: optax.GradientTransformation,
  batch: Batch,
  seed: int,
  *,
  freeze: str = "",
  ema: bool = False,
  typical: bool = False,
  axis_name: str | None = None,
  given: tuple[Params, Extra] | None = None,
  compiler_options: Mapping[str, Any] | None = None,
) -> State:
  """Makes the state before the first step, compiled as one function.

  Args:
    task: the `Task`.
    tx: the Optax transformation.
    batch: any batch, for its shapes, with `index`.
    seed: of the run.
    freeze: regex over the paths of the parameters that are not trained.
    ema: whether to keep an average of the parameters.
    typical: whether to follow the norm of the gradient, to know a spike.
    axis_name: the mapped axis that the model names under `pmap`.
    given: `(params, extra)` to begin with, in place of those of `task.init`.
    compiler_options: what XLA is told.
  """

  @partial(jax.jit, compiler_options=compiler_options)
  def make(batch, given) -> State:
    key = jax.random.key(seed)
    params, extra = given or task.init(jax.random.fold_in(key, 0), batch)

    def measure(params, extra, batch):
      extra, batch = task.prepare(params, extra, batch, key)
      return task.loss(params, extra, batch, key)[1][1]

    measure = bind(measure, axis_name)
    metrics = jax.eval_shape(measure, params, extra, batch)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), metrics)
    trained, _ = split(params, freeze)
    optimizer = tx.init(trained)
    averaged = ema or evaluation_params(optimizer, trained) is not trained
    return State(
      step=jnp.int32(0),
      batch_index=jnp.int32(0),
      params=params,
      extra=extra,
      optimizer=optimizer,
      ema=jax.tree.map(jnp.copy, trained) if averaged else {},
      key=jax.random.key_data(jax.random.fold_in(key, 1)),
      metrics=zeros,
      rate_scale=jnp.float32(1),
      typical=(
        {"norm": jnp.float32(0), "count": jnp.int32(0)} if typical else {}
      ),
      trouble={
        "skipped": jnp.int32(0),
        "in_a_row": jnp.int32(0),
      },
      halted=jnp.bool_(False),
      decided={},
    )

  return make(batch, given).replace(decided=dict(BEGINNING))


def split(params: Params, freeze: str) -> tuple[Params, Params]:
  """Returns the parameters that are trained and those that are frozen."""
  return trees.partition(params, freeze) if freeze else (params, {})


def bind(function: Callable, axis_name: str | None) -> Callable:
  """Lets `function(*args)`, which may sum over `axis_name`, run outside of it.

  It runs as if it were the only device. Without a name it is as it was.
  """
  if axis_name is None:
    return function

  def alone(*args, **keywords):
    mapped = jax.vmap(
      lambda _: function(*args, **keywords), axis_name=axis_name
    )
    return jax.tree.map(lambda leaf: leaf[0], mapped(jnp.zeros(1)))

  return alone
