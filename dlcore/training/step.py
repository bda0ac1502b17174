"""One training step as a pure function, and its wrappers.

A step is `(state, batch) -> (state, log)`. A wrapper takes a step and returns
a step; `fit` applies `average`, `guard` and `sum_metrics` in this order.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dlcore import optim
from dlcore.errors import UserError
from dlcore.task import Task
from dlcore.training.state import State, trees_to_average
from dlcore.training.update import Penalty, make_update
from dlcore.typing import Array, Batch

Step = Callable[[State, Batch], tuple[State, dict[str, Any]]]


def make_step(
  task: Task,
  tx: optax.GradientTransformation,
  *,
  penalty: Penalty | None = None,
  accumulate: int = 1,
  axis_name: str | None = None,
) -> Step:
  """Returns `step(state, batch) -> (state, log)`.

  Args:
    task: the learning problem.
    tx: the Optax transformation.
    penalty: see `make_update`, as for the next ones.
    accumulate: number of micro-batches.
    axis_name: the mapped axis under `pmap`, None under `jit`.

  Returns:
    A pure function. Its log holds `loss`, `gradient_norm` and, if the
    optimizer keeps it, the `learning_rate` that was applied, float32 scalars,
    and `metrics`, the (sum, count) pairs of the task on this batch.
  """
  update = make_update(
    task, tx, penalty=penalty, accumulate=accumulate, axis_name=axis_name
  )

  def step(state: State, batch: Batch) -> tuple[State, dict[str, Any]]:
    new = update(state, batch)
    log = {
      "loss": new.loss,
      "gradient_norm": optax.tree.norm(new.grads),
      "metrics": new.metrics,
    }
    learning_rate = optim.applied_rate(new.opt_state)
    if learning_rate is not None:
      taken = optim.takes_rate_scale(new.opt_state)
      scale = 1 if taken else state.rate_scale  # See `make_update`.
      log["learning_rate"] = learning_rate * scale
    state = state.replace(
      step=state.step + 1,
      batch_index=state.batch_index + 1,
      params=optax.apply_updates(state.params, new.updates),
      model_state=new.model_state,
      opt_state=new.opt_state,
    )
    return state, log

  return step


def average(step: Step, decay: float) -> Step:
  """Wraps a step to follow an exponential moving average (EMA) of the weights.

  Needs `init_state(average=True)`. Evaluation then uses `State.average`.

  Args:
    step: the step.
    decay: of the average. Early on it is lowered to `(1 + t) / (10 + t)` at
      step t, so that the average forgets the initial values. With 0 it is the
      weights of the optimizer, which for a schedule-free one are an average.
  """

  def averaging(state: State, batch: Batch):
    _check_has_arrays(state.average, "average", "average=True")
    new, log = step(state, batch)
    if decay == 0:
      return new.replace(average=trees_to_average(new)), log
    t = state.step.astype(jnp.float32)
    weight = 1 - jnp.minimum(decay, (1 + t) / (10 + t))

    def follow(old: Array, value: Array) -> Array:
      return (old + weight * (value - old)).astype(old.dtype)

    values = jax.tree.map(follow, state.average, trees_to_average(new))
    return new.replace(average=values), log

  return averaging


WARMUP = 20
"""Updates after which the running mean of the gradient norm is reliable."""


def guard(
  step: Step, *, spike_factor: float = 0.0, max_consecutive_skips: int = 3
) -> Step:
  """Wraps a step to skip updates whose loss or gradient is not finite.

  A skipped update changes nothing but the clock: its batch is consumed, and
  schedules move on. After several in a row the state halts: no later step
  changes it, so that the host, which reads the log late, finds the state at
  the failure. Needs `init_state(guard=init_guard())`, with `spikes=True` for a
  `spike_factor`.

  Args:
    step: the step.
    spike_factor: an update whose gradient norm is more than this multiple of
      its running mean is skipped too; 0 is off.
    max_consecutive_skips: number of skips in a row at which the state halts.

  Returns:
    A step whose log also holds `applied` (bool), `skipped` (int32, in total)
    and `halted` (bool).
  """

  def guarded(state: State, batch: Batch):
    spikes = bool(spike_factor)
    _check_has_arrays(
      "norm" in state.guard if spikes else state.guard,
      "guard",
      f"guard=init_guard({'spikes=True' * spikes})",
    )
    new, log = step(state, batch)
    counts, norm = state.guard, log["gradient_norm"]
    valid = jnp.isfinite(log["loss"]) & jnp.isfinite(norm)
    if spike_factor:
      known = counts["count"] >= WARMUP
      valid &= ~(known & (norm > spike_factor * counts["norm"]))
    running = ~counts["halted"]
    applied = valid & running
    kept = jax.tree.map(
      lambda new, old: new if new is old else jnp.where(applied, new, old),
      new,
      state,
    )
    skip = (running & ~valid).astype(jnp.int32)
    ticks = running.astype(jnp.int32)
    consecutive = jnp.where(
      running, (counts["consecutive"] + 1) * skip, counts["consecutive"]
    )
    new_counts = {
      "skipped": counts["skipped"] + skip,
      "consecutive": consecutive,
      "halted": consecutive >= max_consecutive_skips,
    }
    if spike_factor:
      new_counts |= _follow_norm(counts, norm, applied)
    kept = kept.replace(
      step=state.step + ticks,
      batch_index=state.batch_index + ticks,
      guard=new_counts,
    )
    log |= {"applied": applied}
    log |= {name: new_counts[name] for name in ("skipped", "halted")}
    return kept, log

  return guarded


def _check_has_arrays(present: Any, wrapper: str, argument: str) -> None:
  """Checks that the state has the arrays of a wrapper.

  Raises:
    UserError: it lacks them.
  """
  if not present:
    raise UserError(
      f"expected a state with the arrays of {wrapper}",
      "got one without them",
      f"create it with init_state(..., {argument})",
    )


def _follow_norm(
  counts: dict[str, Array], norm: Array, applied: Array
) -> dict[str, Array]:
  """Updates the running mean of the gradient norm, over about 50 updates."""
  count, mean = counts["count"], counts["norm"]
  weight = jnp.maximum(1 / (count + 1), 0.02).astype(jnp.float32)
  return {
    "norm": jnp.where(applied, mean + weight * (norm - mean), mean),
    "count": count + applied.astype(jnp.int32),
  }


def sum_metrics(step: Step, log_every: int) -> Step:
  """Wraps a step to sum its metrics over the updates of a line of the log.

  Needs `init_state(metrics=True)`. Updates that `guard` skips do not count.

  Args:
    step: the step.
    log_every: number of steps in a line.
  """

  def accumulating(state: State, batch: Batch):
    new, log = step(state, batch)
    applied = log.pop("applied", True)
    halted = state.guard.get("halted", False)
    continues = (state.step % log_every != 0) | halted
    _check_has_arrays(
      state.metrics or not log["metrics"], "sum_metrics", "metrics=True"
    )
    metrics = jax.tree.map(
      lambda old, value: (
        jnp.where(continues, old, 0) + jnp.where(applied, value, 0)
      ),
      state.metrics,
      log["metrics"],
    )
    return new.replace(metrics=metrics), {**log, "metrics": metrics}

  return accumulating
