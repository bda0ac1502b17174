"""One step of training, as one pure function."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from dlcore import trees
from dlcore.optim import evaluation_params
from dlcore.task import Task
from dlcore.training.gradient import Augment, gather, make_gradient, prepared
from dlcore.training.state import State, split
from dlcore.typing import Array, Batch, Params, PyTree, Schedule


def make_step(
  task: Task,
  tx: optax.GradientTransformation,
  *,
  augment: Augment | None = None,
  penalty: Callable[[Params], Array] | None = None,
  freeze: str = "",
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
    freeze: regex over the paths of the parameters that are not trained: they
      are not differentiated, have no optimizer state and no share in norms
      and penalties; see `layers.frozen` for their batch norm and dropout.
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
  gradient = make_gradient(
    task,
    penalty=penalty,
    freeze=freeze,
    accumulate=accumulate,
    axis_name=axis_name,
  )

  def step(state: State, dataset: Batch, batch: Batch) -> tuple[State, dict]:
    extra, batch, key = prepared(
      task, augment, state, gather(dataset, batch), axis_name
    )
    loss, grads, extra, metrics = gradient(state.params, extra, batch, key)
    trained, frozen = split(state.params, freeze)
    updates, optimizer = tx.update(
      grads, state.optimizer, trained, rate_scale=state.rate_scale
    )
    trained = optax.apply_updates(trained, updates)
    norm = optax.tree.norm(grads)
    good = jnp.isfinite(loss) & jnp.isfinite(norm)
    if spike:
      good &= ~_spikes(state, norm, spike)
    applied = good & ~state.halted
    new = state.replace(
      params=trees.merge(trained, frozen) if freeze else trained,
      extra=extra,
      optimizer=optimizer,
      ema=_shown(state, optimizer, trained, ema),
      typical=_typical(state, norm) if spike else state.typical,
    )
    new = jax.tree.map(
      lambda n, o: o if n is o else jnp.where(applied, n, o), new, state
    )
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
