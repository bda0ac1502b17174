"""Learning rate schedules by name: `(learning_rate, [steps], *, settings)`.

The peak is the learning rate. A schedule that does not take `steps`, the
length of the run, allows the run to be prolonged; its `warmup_steps` rise
linearly from 0. The settings of the others are shares: `warmup` of the run is
spent rising linearly, from the share `initial` of the peak; the rate after the
last step is the share `final` of it (Goyal et al. 2017, arXiv:1706.02677).
"""

import inspect
from collections.abc import Callable

import jax.numpy as jnp
import optax

from dlcore.errors import UserError, lookup
from dlcore.optim.settings import (
  COUNT,
  NOT_NEGATIVE,
  POSITIVE,
  SHARE,
  Range,
  check,
)
from dlcore.typing import Schedule


def constant(learning_rate: float, *, warmup_steps: int = 0) -> Schedule:
  """Keeps the rate."""
  return _rising(optax.constant_schedule(learning_rate), warmup_steps)


def plateau(
  learning_rate: float,
  *,
  factor: float = 0.1,
  patience: int = 5,
  least: float = 0.0,
  warmup_steps: int = 0,
) -> Schedule:
  """Keeps the rate until evaluations get no better: then the trainer acts.

  See `training.Plateau`, which takes these settings.
  """
  del factor, patience, least
  return constant(learning_rate, warmup_steps=warmup_steps)


def step(
  learning_rate: float,
  *,
  boundaries: tuple[int, ...] = (1000,),
  factor: float = 0.1,
  warmup_steps: int = 0,
) -> Schedule:
  """Multiplies the rate by `factor` after each of the `boundaries` (steps)."""
  steps = {int(boundary): factor for boundary in boundaries}
  falling = optax.piecewise_constant_schedule(learning_rate, steps)
  return _rising(falling, warmup_steps)


def inverse_sqrt(learning_rate: float, *, warmup_steps: int = 4000) -> Schedule:
  """Falls as `1 / sqrt(step)` (Noam; Vaswani et al. 2017, arXiv:1706.03762)."""
  peak = max(warmup_steps, 1)
  return _rising(
    lambda count: learning_rate * jnp.sqrt(peak / jnp.maximum(count, peak)),
    warmup_steps,
  )


def linear(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.0,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Falls in a straight line."""
  return polynomial(
    learning_rate,
    steps,
    power=1.0,
    warmup=warmup,
    initial=initial,
    final=final,
  )


def polynomial(
  learning_rate: float,
  steps: int,
  *,
  power: float = 0.9,
  warmup: float = 0.0,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Falls as a power of the share left (Liu et al. 2015, arXiv:1506.04579)."""
  return _rise_and_fall(
    lambda left: _falling(learning_rate, final * learning_rate, left, power),
    learning_rate,
    steps,
    warmup,
    initial,
  )


def cosine(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.0,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Falls as half a cosine (Loshchilov, Hutter 2016, arXiv:1608.03983)."""
  return _rise_and_fall(
    lambda left: optax.cosine_decay_schedule(learning_rate, left, final),
    learning_rate,
    steps,
    warmup,
    initial,
  )


def warmup_cosine(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.1,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Is `cosine` with a warm-up on by default."""
  return cosine(
    learning_rate, steps, warmup=warmup, initial=initial, final=final
  )


def trapezoid(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.1,
  cooldown: float = 0.2,
  initial: float = 0.0,
  final: float = 0.0,
) -> Schedule:
  """Stays, and falls linearly over the last share `cooldown` of the run.

  Also known as warmup-stable-decay (Hägele et al. 2024, arXiv:2405.18392).
  """
  if warmup + cooldown > 1:
    raise UserError(
      "expected optim.schedule.warmup + cooldown of at most 1, the whole run",
      f"got {warmup} + {cooldown}",
    )

  def stay_and_fall(left: int) -> Schedule:
    fall = min(round(cooldown * steps), left)
    stay = optax.constant_schedule(learning_rate)
    down = _falling(learning_rate, final * learning_rate, fall)
    return optax.join_schedules([stay, down], [left - fall])

  return _rise_and_fall(stay_and_fall, learning_rate, steps, warmup, initial)


def one_cycle(
  learning_rate: float,
  steps: int,
  *,
  warmup: float = 0.45,
  initial: float = 0.1,
  final: float = 0.001,
) -> Schedule:
  """Rises, falls back as long, then fades (Smith, Topin, arXiv:1708.07120)."""
  if warmup > 0.5:
    raise UserError(
      "expected optim.schedule.warmup of at most 0.5: the fall is as long",
      f"got {warmup}",
    )

  def fall_and_fade(left: int) -> Schedule:
    fall = steps - left
    low = (initial if fall else 1.0) * learning_rate
    down = _falling(learning_rate, low, fall)
    fade = _falling(low, final * learning_rate, max(left - fall, 1))
    return optax.join_schedules([down, fade], [fall])

  return _rise_and_fall(fall_and_fade, learning_rate, steps, warmup, initial)


def _rising(schedule: Schedule, steps: int) -> Schedule:
  """Multiplies what is independent of the run's length by a linear rise."""
  if not steps:
    return schedule
  rise = optax.linear_schedule(0.0, 1.0, steps)
  return lambda count: rise(count) * schedule(count)


def _rise_and_fall(
  fall: Callable[[int], Schedule],
  learning_rate: float,
  steps: int,
  warmup: float,
  initial: float,
) -> Schedule:
  """Rises for a share of the run; `fall(steps left)` is the schedule then."""
  rise = round(warmup * steps)
  up = optax.linear_schedule(initial * learning_rate, learning_rate, rise)
  return optax.join_schedules([up, fall(max(steps - rise, 1))], [rise])


def _falling(
  start: float, end: float, steps: int, power: float = 1.0
) -> Schedule:
  """Falls from start to end as a power of the share of the steps left."""
  left = optax.linear_schedule(1.0, 0.0, steps)
  # Compiled, steps / steps may round to more than 1, and leave less than 0.
  return lambda count: (
    end + (start - end) * jnp.maximum(left(count), 0) ** power
  )


SCHEDULES = {
  "constant": constant,
  "cosine": cosine,
  "inverse_sqrt": inverse_sqrt,
  "linear": linear,
  "one_cycle": one_cycle,
  "plateau": plateau,
  "polynomial": polynomial,
  "step": step,
  "trapezoid": trapezoid,
  "warmup_cosine": warmup_cosine,
}

RANGES: dict[str, Range] = {
  "boundaries": Range("of steps >= 1", lambda x: all(step >= 1 for step in x)),
  "cooldown": SHARE,
  "factor": SHARE,
  "final": SHARE,
  "initial": SHARE,
  "least": SHARE,
  "patience": COUNT,
  "power": POSITIVE,
  "warmup": SHARE,
  "warmup_steps": NOT_NEGATIVE,
}
"""The settings of all schedules; none lets the rate exceed its peak."""


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
  check("optim.schedule", settings, RANGES)
  if depends_on_steps(name):
    return entry(learning_rate, steps, **settings)
  return entry(learning_rate, **settings)
