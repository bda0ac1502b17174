"""What a run decides by itself, from its state alone.

So a run that was stopped and goes on decides the same. Only the validation
split is looked at.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.training.state import State

LOWERED = 0.5
"""Factor of the learning rate after going back."""


class Plateau(NamedTuple):
  """Lowers the learning rate where evaluations get no better."""

  factor: float = 0.1
  patience: int = 5
  """Evaluations without a new best."""

  least: float = 0.0
  """The least factor that all reductions make together."""


def judge(
  state: State,
  step: int,
  values: dict[str, float],
  best_by: str,
  plateau: Plateau | None = None,
  eval_every: int = 1,
) -> tuple[State, bool]:
  """Notes an evaluation, and whether it is the best; of two the later wins.

  Args:
    state: of the run.
    step: that was evaluated.
    values: the metrics by name.
    best_by: one of the names; a leading minus says that less is better.
    plateau: when to lower the rate, or None.
    eval_every: steps between evaluations.

  Returns:
    The new state, and whether this step is the best so far.
  """
  value = np.float32(values[best_by.removeprefix("-")])
  value = -value if best_by.startswith("-") else value
  best = jax.device_get(state.best)
  better = not (np.isnan(value) or value < best["value"])
  best = {**best, "seen": np.int32(step)}
  scale = np.float32(state.rate_scale)
  if better:
    best |= {"value": value, "step": np.int32(step)}
  elif plateau is not None:
    since = max(best["step"], best["lowered"], 0)
    if step - since >= plateau.patience * eval_every:
      scale = max(scale * np.float32(plateau.factor), np.float32(plateau.least))
      best["lowered"] = np.int32(step)
  return _placed(state, best=best, rate_scale=scale), bool(better)


def exhausted(state: State, patience: int, eval_every: int) -> bool:
  """Tells whether `patience` evaluations in a row were no new best."""
  best = jax.device_get(state.best)
  since = best["seen"] - max(best["step"], 0)
  return patience > 0 and since >= patience * eval_every


def sure(state: State, step: int) -> State:
  """Notes that `step` is saved, to go back to; past trouble is forgotten."""
  trouble = {**jax.device_get(state.trouble), "good": np.int32(step)}
  if step >= trouble["at"]:
    trouble["recoveries"] = np.int32(0)
  return _placed(state, trouble=trouble)


def recovered(back: State, halted: State) -> State:
  """Returns the state from which a halted run tries again.

  Args:
    back: the state of the step to go back to.
    halted: the state of the run, whose batches up to here are passed over.
  """
  trouble = jax.device_get(halted.trouble)
  trouble |= {
    "in_a_row": np.int32(0),
    "recoveries": trouble["recoveries"] + np.int32(1),
    "at": np.int32(halted.step),
  }
  return back.replace(
    batch_index=np.int32(halted.batch_index),
    rate_scale=np.float32(halted.rate_scale) * np.float32(LOWERED),
    trouble=trouble,
  )


def _placed(state: State, **changes: Any) -> State:
  """Puts changed leaves where the state is."""
  return state.replace(**jax.device_put(changes, state.step.sharding))
