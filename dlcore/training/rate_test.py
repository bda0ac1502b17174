"""The learning rate range test (Smith 2017, arXiv:1506.01186).

The rate rises exponentially while a model is trained. The loss falls as soon as
the rate is large enough, and rises again once it is too large.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlcore import data, sharding
from dlcore.status_line import status
from dlcore.task import Task
from dlcore.training.feed import Feed
from dlcore.training.progress import Progress, RunningLoss
from dlcore.training.state import State, init_state
from dlcore.training.step import make_step
from dlcore.training.update import Penalty
from dlcore.typing import Batch, Initial, Schedule

DECAY = 0.9
"""Decay of the moving average of the losses."""

DIVERGED = 4.0
"""A run has diverged at this multiple of its smallest mean loss, as in fastai's
`LRFinder`."""

SKIPPED = 0.1
"""The share of the first steps that suggest nothing: their means are of few
losses."""

LEAST_FALL = 0.05
"""The fall of the mean loss, relative to the first one, without which a curve
suggests nothing."""

FALLING = 0.1
"""The share of its fall after which a curve counts as falling."""

CHECKS = 20
"""How often the test checks whether all runs have diverged."""


class Suggestion(NamedTuple):
  """The learning rates that the curve of one run suggests, as in fastai."""

  steepest: float
  """The rate at which the mean loss falls fastest over the logarithm of the
  rate."""

  minimum: float
  """A tenth of the rate with the smallest mean loss."""


def exponential_rates(low: float, high: float, steps: int) -> Schedule:
  """Returns a schedule from `low` at step 0 to `high` at step `steps - 1`."""
  factor = (high / low) ** (1 / (steps - 1))
  return lambda step: low * jnp.float32(factor) ** step


def measure_losses(
  task: Task,
  tx: optax.GradientTransformation,
  train: data.Source,
  *,
  seeds: Sequence[int],
  steps: int,
  batch_size: int = 128,
  order: data.Order | None = None,
  penalty: Penalty | None = None,
  initial: Initial | None = None,
  accumulate: int = 1,
  devices: Sequence[jax.Device] | None = None,
  progress: bool = True,
) -> np.ndarray:
  """Returns the losses of several seeds that are trained in one program.

  Each is the loss of `fit` with this seed, but for rounding: with augmentation,
  dropout and clipping, before the update of its step. The test ends once all
  seeds have diverged.

  Args:
    task: the learning problem.
    tx: the optimizer, whose learning rate is a schedule of the steps.
    train: the examples to learn from.
    seeds: of the initial parameters, the order of the data and all keys.
    steps: number of updates.
    batch_size: see `fit`, as for the next ones.
    order: which examples make a batch.
    penalty: `params -> scalar`.
    initial: replaces random initial values.
    accumulate: number of micro-batches that a batch is cut into.
    devices: of these only the first one is used.
    progress: whether to show progress on standard error.

  Returns:
    float64 `[S, T]` of seeds and steps, NaN after the end of the test.
  """
  order = order or data.shuffled(train.size, batch_size)
  devices = (devices or jax.devices())[:1]
  partitioner = sharding.partitioner(order.batch_size, devices=devices)
  feeds = [
    Feed(train, order, partitioner, seed=s, placement="stream", workers=0)
    for s in seeds
  ]
  step = make_step(task, tx, penalty=penalty, accumulate=accumulate)

  def update(state: State, batch: Batch) -> tuple[State, jax.Array]:
    state, log = step(state, batch)
    return state, log["loss"]

  with status("compiling the step", enabled=progress):
    states = _init_states(task, tx, feeds, seeds, initial)
    program = jax.jit(
      _over_seeds(update, len(seeds)),
      donate_argnums=0,
      compiler_options=partitioner.compiler_options,
    )
    program = program.lower(states, _read(feeds, 0)).compile()

  losses = np.full((len(seeds), steps), np.nan)
  shown, running = Progress(steps, 0, enabled=progress), RunningLoss()
  for index in range(steps):
    states, values = program(states, _read(feeds, index))
    losses[:, index] = values
    running.add(index + 1, float(np.mean(losses[:, index])))
    shown.update(index + 1, running.mean(), rate=0.0)
    if index % max(steps // CHECKS, 1) == 0:
      means = smooth(losses[:, : index + 1])
      if np.isnan(means[:, -1]).all():
        break
  shown.close()
  return losses


def smooth(losses: np.ndarray) -> np.ndarray:
  """Returns the moving averages of losses `[S, T]`, without their bias to 0.

  They are NaN from the step on at which a run has diverged: its loss is not
  finite, or its average is more than `DIVERGED` times the smallest one.
  """
  total = np.zeros(len(losses))
  smallest = np.full(len(losses), np.inf)
  learning = np.full(len(losses), True)
  means = np.full(losses.shape, np.nan)
  for index, values in enumerate(losses.T):
    total = DECAY * total + (1 - DECAY) * values
    mean = total / (1 - DECAY ** (index + 1))
    learning &= np.isfinite(mean) & ~(mean > DIVERGED * np.abs(smallest))
    smallest = np.minimum(smallest, np.where(learning, mean, np.inf))
    means[learning, index] = mean[learning]
  return means


def suggest(rates: np.ndarray, means: np.ndarray) -> Suggestion | None:
  """Returns the suggestion of one curve, None if the loss does not fall.

  Args:
    rates: `[T]`, ascending.
    means: `[T]`, a row of `smooth`.
  """
  first, last = int(SKIPPED * len(rates)), int(np.isfinite(means).sum())
  rates, means = rates[first:last], means[first:last]
  if len(means) < 2:
    return None
  lowest = int(means.argmin())
  fall = means[0] - means[lowest]
  if fall < LEAST_FALL * abs(means[0]):
    return None
  # Before the fall the slopes are noise.
  above = np.flatnonzero(means[:lowest] >= means[0] - FALLING * fall)
  falling = slice(int(above[-1]), lowest + 1)
  slopes = np.gradient(means[falling], np.log(rates[falling]))
  steepest = rates[falling][slopes.argmin()]
  return Suggestion(float(steepest), minimum=float(rates[lowest]) / 10)


def _over_seeds(update: Callable, size: int) -> Callable:
  """Returns `update` with a leading axis of `size` in arguments and results.

  On CPU it is not `vmap`, whose convolutions with different kernels took 4
  times as long (a small CNN, 3 seeds, two cores, jax 0.12.0).
  """
  if jax.default_backend() != "cpu":
    return jax.vmap(update)

  def update_all(states: State, batches: Batch):
    results = [
      update(*jax.tree.map(lambda leaf, i=i: leaf[i], (states, batches)))
      for i in range(size)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)

  return update_all


def _init_states(
  task: Task,
  tx: optax.GradientTransformation,
  feeds: Sequence[Feed],
  seeds: Sequence[int],
  initial: Initial | None,
) -> State:
  """Returns the first states of all seeds, every leaf `[S, ...]`."""

  @jax.jit
  def create(seed, batch, variables=None):
    return init_state(task, tx, batch, seed=seed, variables=variables)

  states = []
  for seed, feed in zip(seeds, feeds, strict=True):
    batch = feed.read(0)
    state = create(np.uint32(seed), batch)
    if initial is not None:
      variables = initial(state.params, state.model_state)
      state = create(np.uint32(seed), batch, variables)
    states.append(state)
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _read(feeds: Sequence[Feed], index: int) -> Batch:
  """Returns the batches of all seeds, NumPy arrays `[S, B, ...]`."""
  batches = [feed.read(index) for feed in feeds]
  return jax.tree.map(lambda *rows: np.stack(rows), *batches)
