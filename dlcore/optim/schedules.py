"""Learning rate schedules by name: `(learning_rate, [steps], *, settings)`.

A schedule that does not take `steps`, the length of the run, allows the run
to be prolonged.
"""

import inspect

import optax

from dlcore.errors import UserError, lookup
from dlcore.typing import Schedule


def constant(learning_rate: float) -> Schedule:
  """Keeps the rate."""
  return optax.constant_schedule(learning_rate)


def step(
  learning_rate: float,
  *,
  boundaries: tuple[int, ...] = (1000,),
  factor: float = 0.1,
) -> Schedule:
  """Multiplies the rate by `factor` after each of the `boundaries` (steps)."""
  if any(boundary < 1 for boundary in boundaries) or factor < 0:
    raise UserError(
      "expected optim.schedule.boundaries of at least 1, and factor >= 0",
      f"got {boundaries=}, {factor=}",
    )
  return optax.piecewise_constant_schedule(
    learning_rate, {int(boundary): factor for boundary in boundaries}
  )


def warmup_cosine(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.1,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Rises linearly to the rate, then falls as half a cosine.

  Goyal et al. 2017, arXiv:1706.02677; Loshchilov and Hutter 2016,
  arXiv:1608.03983.

  Args:
    learning_rate: the peak.
    steps: length of the run.
    warmup: share of the run spent rising, 0 to 1.
    initial: rate of the first step, as a share of the peak.
    final: rate after the last step, as a share of the peak.
  """
  if not 0 <= warmup <= 1:
    raise UserError(
      "expected optim.schedule.warmup from 0 to 1, a share of the run",
      f"got {warmup}",
    )
  if initial < 0 or final < 0:
    raise UserError(
      "expected optim.schedule.initial and final >= 0, shares of the rate",
      f"got {initial=}, {final=}",
    )
  rise = round(warmup * steps)
  return optax.join_schedules(
    [
      optax.linear_schedule(initial * learning_rate, learning_rate, rise),
      optax.cosine_decay_schedule(learning_rate, max(steps - rise, 1), final),
    ],
    [rise],
  )


SCHEDULES = {
  "constant": constant,
  "step": step,
  "warmup_cosine": warmup_cosine,
}


def depends_on_steps(name: str) -> bool:
  """Tells whether a longer run would have another rate at the same step."""
  entry = lookup(SCHEDULES, name, "schedule")
  return "steps" in inspect.signature(entry).parameters


def create(
  name: str, *, learning_rate: float, steps: int, **settings
) -> Schedule:
  """Makes the schedule `name` for a run of `steps` steps.

  Raises:
    UserError: the name is unknown or a number out of range.
  """
  if learning_rate < 0:
    raise UserError("expected optim.learning_rate >= 0", f"got {learning_rate}")
  entry = lookup(SCHEDULES, name, "schedule")
  if depends_on_steps(name):
    return entry(learning_rate, steps, **settings)
  return entry(learning_rate, **settings)
