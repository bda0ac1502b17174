"""The decisions of the host between steps, which a checkpoint keeps.

They depend on their own history and the validation split alone, so a run that
is stopped and continued decides the same.
"""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.task import CARRY
from dlcore.training.state import State
from dlcore.typing import PyTree

logger = logging.getLogger("dlcore")

ROLL_BACK_SCALE = np.float32(0.5)
"""Factor of the learning rate after a rollback."""


class Decisions(NamedTuple):
  """Decisions of the host so far, NumPy scalars."""

  best_value: np.float32 = np.float32(-np.inf)
  """The best value of the metric so far; more is better."""

  best_step: np.int32 = np.int32(-1)
  evaluated_step: np.int32 = np.int32(-1)
  """The step of the last evaluation."""

  improved_value: np.float32 = np.float32(-np.inf)
  """The value at the last improvement. It differs from `best_value` after a
  better value that was not better by `min_delta`."""

  bad_evals: np.int32 = np.int32(0)
  """The number of evaluations since the last improvement."""

  plateau_evals: np.int32 = np.int32(0)
  """The number of evaluations since the last improvement, or since a plateau
  last lowered the learning rate."""

  saved_step: np.int32 = np.int32(-1)
  """The step to which a rollback returns."""

  rollbacks: np.int32 = np.int32(0)
  """The number of rollbacks since the last progress."""

  rollback_step: np.int32 = np.int32(-1)
  """The step at which the last rollback began."""


class Plateau(NamedTuple):
  """Lowers the learning rate where the metric stops improving."""

  factor: float = 0.1
  patience: int = 5
  """Number of evaluations without an improvement."""

  min_scale: float = 0.0
  """The least product of all factors."""


def decide(
  decisions: Decisions,
  step: int,
  values: dict[str, float],
  best_by: str,
  min_delta: float = 0.0,
) -> tuple[Decisions, bool]:
  """Records an evaluation.

  If two values are equal, the later step is the best. Only a value that is
  better by more than `min_delta` is an improvement, so a constant metric uses
  up the patience.

  Args:
    decisions: the previous decisions.
    step: the step that was evaluated.
    values: the metrics by name.
    best_by: one of the names; a leading minus minimizes.
    min_delta: the difference from the last improvement that a value must
      exceed to be one itself.

  Returns:
    The new decisions, and whether this step is the best so far.

  Raises:
    UserError: there is no such metric.
  """
  check_best_by(best_by, values)
  value = np.float32(values[best_by.removeprefix("-")])
  value = -value if best_by.startswith("-") else value
  if np.isnan(value) and decisions.evaluated_step < 0:
    logger.warning(
      "%s is not a number at step %d: it is undefined on the validation split, "
      "or predictions are not finite; such a step is never the best",
      best_by.removeprefix("-"),
      step,
    )
  decisions = decisions._replace(
    evaluated_step=np.int32(step),
    bad_evals=decisions.bad_evals + np.int32(1),
    plateau_evals=decisions.plateau_evals + np.int32(1),
  )
  # Both comparisons are false for NaN.
  if value > decisions.improved_value + np.float32(min_delta):
    decisions = decisions._replace(
      improved_value=value, bad_evals=np.int32(0), plateau_evals=np.int32(0)
    )
  best = bool(value >= decisions.best_value)
  if best:
    decisions = decisions._replace(best_value=value, best_step=np.int32(step))
  return decisions, best


def check_best_by(best_by: str, names: Iterable[str]) -> None:
  """Checks that `best_by` is a metric, optionally preceded by a minus.

  Raises:
    UserError: it is not.
  """
  name, names = best_by.removeprefix("-"), set(names)
  if name not in names:
    raise UserError(
      "expected best_by to name a metric of the validation",
      f"got {best_by!r}",
      nearest(name, names),
    )


def lower_rate(
  decisions: Decisions, rate_scale: Any, plateau: Plateau | None
) -> tuple[Decisions, np.float32]:
  """Lowers the rate if the last evaluation ends a plateau.

  Args:
    decisions: the decisions after that evaluation.
    rate_scale: the factor of the learning rate.
    plateau: its settings; None leaves the rate as it is.

  Returns:
    The decisions and the factor after it.
  """
  scale = np.float32(rate_scale)
  if plateau is None or decisions.plateau_evals < max(plateau.patience, 1):
    return decisions, scale
  lowered = max(scale * np.float32(plateau.factor), plateau.min_scale)
  # Rollbacks may have lowered it below the minimum of the plateau.
  scale = min(scale, np.float32(lowered))
  return decisions._replace(plateau_evals=np.int32(0)), scale


def is_exhausted(decisions: Decisions, patience: int) -> bool:
  """Returns whether `patience` evaluations in a row did not improve."""
  return 0 < patience <= decisions.bad_evals


def record_save(decisions: Decisions, step: int) -> Decisions:
  """Records a save to return to; progress clears the count of rollbacks."""
  if step >= decisions.rollback_step:
    decisions = decisions._replace(rollbacks=np.int32(0))
  return decisions._replace(saved_step=np.int32(step))


def skip_failed_batches(
  restored: tuple[State, Decisions],
  halted: tuple[State, Decisions],
  carry: PyTree = None,
) -> tuple[State, Decisions]:
  """Returns the point from which a halted run tries again.

  The batches up to the failure are skipped, and the learning rate is halved;
  a warning reports it.

  Args:
    restored: the state and decisions of the last save.
    halted: those at the failure.
    carry: a fresh `carry`, for tasks that have one: the next batch does not
      continue the sequences of the save.
  """
  (state, decisions), (failed, failed_decisions) = restored, halted
  decisions = decisions._replace(
    saved_step=failed_decisions.saved_step,
    rollbacks=failed_decisions.rollbacks + np.int32(1),
    rollback_step=np.int32(failed.step),
  )
  guard = {**state.guard, "consecutive": np.int32(0), "halted": np.bool_(False)}
  guard["skipped"] = np.int32(failed.guard["skipped"])
  state = state.replace(
    batch_index=np.int32(failed.batch_index),
    rate_scale=np.float32(failed.rate_scale) * ROLL_BACK_SCALE,
    guard=guard,
  )
  if carry is not None:
    state = state.replace(model_state={**state.model_state, CARRY: carry})
  logger.warning(
    "step %d: %d updates in a row were skipped; rolling back to step %d, "
    "skipping the batches before %d, with %g of the learning rate",
    int(failed.step),
    int(failed.guard["consecutive"]),
    int(state.step),
    int(state.batch_index),
    float(state.rate_scale),
  )
  return state, decisions
