"""What a run decides by itself, from its state alone.

So a run that was stopped and goes on decides the same. Only the validation
split is looked at.
"""

from typing import NamedTuple

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
  decided = {**state.decided, "seen": np.int32(step)}
  better = not (np.isnan(value) or value < decided["best_value"])
  if better:
    decided |= {"best_value": value, "best_step": np.int32(step)}
  elif plateau is not None:
    since = max(decided["best_step"], decided["lowered"], 0)
    if step - since >= plateau.patience * eval_every:
      decided["lowered"] = np.int32(step)
      scale = np.float32(state.rate_scale) * np.float32(plateau.factor)
      scale = max(scale, np.float32(plateau.least))
      placed = jax.device_put(scale, state.rate_scale.sharding)
      state = state.replace(rate_scale=placed)
  return state.replace(decided=decided), bool(better)


def exhausted(state: State, patience: int, eval_every: int) -> bool:
  """Tells whether `patience` evaluations in a row were no new best."""
  if not patience:
    return False
  since = state.decided["seen"] - max(state.decided["best_step"], 0)
  return bool(since >= patience * eval_every)


def sure(state: State, step: int) -> State:
  """Notes that `step` is saved, to go back to; past trouble is forgotten."""
  decided = {**state.decided, "good": np.int32(step)}
  if step >= decided["recovered_at"]:
    decided["recoveries"] = np.int32(0)
  return state.replace(decided=decided)


def recovered(back: State, halted: State) -> State:
  """Returns the state from which a halted run tries again.

  Args:
    back: the state of the step to go back to.
    halted: the state of the run, whose batches up to here are passed over.
  """
  trouble = {**jax.device_get(halted.trouble), "in_a_row": np.int32(0)}
  decided = {
    **back.decided,
    "good": halted.decided["good"],
    "recoveries": halted.decided["recoveries"] + np.int32(1),
    "recovered_at": np.int32(halted.step),
  }
  return back.replace(
    batch_index=np.int32(halted.batch_index),
    rate_scale=np.float32(halted.rate_scale) * np.float32(LOWERED),
    trouble=trouble,
    decided=decided,
  )
