"""Learning rate schedules by name: `([steps], *, settings) -> shape`.

A shape is a function of the step whose peak is 1; `create` multiplies it by the
learning rate. A schedule that does not take `steps`, the length of the run,
allows a run to be extended; its `warmup_steps` rise linearly from 0. The others
rise linearly from `initial` during the first `warmup * steps` steps, and end at
`final` after the last step, both relative to the peak (Goyal et al. 2017,
arXiv:1706.02677).

Numbers that set no number of steps may be traced.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax

from dlcore.errors import UserError, check_names, lookup
from dlcore.optim.settings import Number, check
from dlcore.typing import Schedule


def constant(*, warmup_steps: int = 0) -> Schedule:
  """Constant rate."""
  return _warm_up(optax.constant_schedule(1.0), warmup_steps)


def plateau(
  *,
  factor: float = 0.1,
  patience: int = 5,
  min_scale: float = 0.0,
  warmup_steps: int = 0,
) -> Schedule:
  """Constant rate that the trainer lowers if evaluations do not improve.

  `training.Plateau` takes `factor`, `patience` and `min_scale`, named as in
  `optax.contrib.reduce_on_plateau`, and sets `rate_scale`.
  """
  del factor, patience, min_scale
  return constant(warmup_steps=warmup_steps)


def step(
  *,
  boundaries: tuple[int, ...] = (1000,),
  factor: Number = 0.1,
  warmup_steps: int = 0,
) -> Schedule:
  """Multiplies the rate by `factor` at each of the `boundaries` (steps)."""

  def decay(count):
    rate = 1.0
    for boundary in sorted(set(boundaries)):
      rate = jnp.where(count < boundary, rate, rate * factor)
    return rate

  return _warm_up(decay, warmup_steps)


def inverse_sqrt(*, warmup_steps: int = 4000) -> Schedule:
  """`1 / sqrt(step)` (Noam; Vaswani et al. 2017, arXiv:1706.03762)."""
  peak = max(warmup_steps, 1)
  return _warm_up(
    lambda count: jnp.sqrt(peak / jnp.maximum(count, peak)), warmup_steps
  )


def linear(
  steps: int,
  *,
  warmup: float = 0.0,
  initial: Number = 0.0,
  final: Number = 0.0,
) -> Schedule:
  """Linear decay."""
  return polynomial(
    steps, power=1.0, warmup=warmup, initial=initial, final=final
  )


def polynomial(
  steps: int,
  *,
  power: Number = 0.9,
  warmup: float = 0.0,
  initial: Number = 0.0,
  final: Number = 0.0,
) -> Schedule:
  """Decays as a power of the remaining steps (Liu 2015, arXiv:1506.04579)."""
  return _warm_up_then(
    lambda left: _interpolate(1.0, final, left, power), steps, warmup, initial
  )


def cosine(
  steps: int,
  *,
  warmup: float = 0.0,
  initial: Number = 0.0,
  final: Number = 0.0,
) -> Schedule:
  """Half a cosine (Loshchilov and Hutter 2016, arXiv:1608.03983)."""
  return _warm_up_then(
    lambda left: optax.cosine_decay_schedule(1.0, left, final),
    steps,
    warmup,
    initial,
  )


def warmup_cosine(
  steps: int,
  *,
  warmup: float = 0.1,
  initial: Number = 0.0,
  final: Number = 0.0,
) -> Schedule:
  """`cosine` with a warm-up by default."""
  return cosine(steps, warmup=warmup, initial=initial, final=final)


def trapezoid(
  steps: int,
  *,
  warmup: float = 0.1,
  cooldown: float = 0.2,
  initial: Number = 0.0,
  final: Number = 0.0,
) -> Schedule:
  """Constant, then linear decay over the last `cooldown * steps` steps.

  Also called warmup-stable-decay (Hägele et al. 2024, arXiv:2405.18392).
  """
  if warmup + cooldown > 1:
    raise UserError(
      "expected warmup + cooldown of at most 1, the whole run",
      f"got {warmup} + {cooldown}",
    )

  def decay(left: int) -> Schedule:
    fall = min(round(cooldown * steps), left)
    stable = optax.constant_schedule(1.0)
    down = _interpolate(1.0, final, fall)
    return optax.join_schedules([stable, down], [left - fall])

  return _warm_up_then(decay, steps, warmup, initial)


def one_cycle(
  steps: int,
  *,
  warmup: float = 0.45,
  initial: Number = 0.1,
  final: Number = 0.001,
) -> Schedule:
  """Warm-up, decay of the same length, annealing (arXiv:1708.07120).

  Smith and Topin 2017.
  """

  def decay(left: int) -> Schedule:
    fall = steps - left
    low = initial if fall else 1.0
    down = _interpolate(1.0, low, fall)
    anneal = _interpolate(low, final, max(left - fall, 1))
    return optax.join_schedules([down, anneal], [fall])

  return _warm_up_then(decay, steps, warmup, initial)


def _warm_up(shape: Schedule, warmup_steps: int) -> Schedule:
  """Multiplies a shape that does not depend on the run's length by a rise."""
  if not warmup_steps:
    return shape
  rise = optax.linear_schedule(0.0, 1.0, warmup_steps)
  return lambda count: rise(count) * shape(count)


def _warm_up_then(
  decay: Callable[[int], Schedule],
  steps: int,
  warmup: float,
  initial: Number,
) -> Schedule:
  """Joins a linear rise and `decay(number of remaining steps)`."""
  rise = round(warmup * steps)
  up = optax.linear_schedule(initial, 1.0, rise)
  return optax.join_schedules([up, decay(max(steps - rise, 1))], [rise])


def _interpolate(
  start: Number, end: Number, steps: int, power: Number = 1.0
) -> Schedule:
  """Goes from start to end as a power of the fraction of remaining steps."""
  left = optax.linear_schedule(1.0, 0.0, steps)
  # Compiled, steps / steps may round to more than 1, and leave less than 0.
  return lambda count: (
    end + (start - end) * jnp.maximum(left(count), 0) ** power
  )


SCHEDULES: dict[str, Callable[..., Schedule]] = {
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


def depends_on_steps(name: str) -> bool:
  """Returns whether the rate at a step depends on the length of the run."""
  entry = lookup(SCHEDULES, name, "schedule")
  return "steps" in inspect.signature(entry).parameters


def create(
  name: str,
  *,
  learning_rate: Number | None = None,
  steps: int | None = None,
  **settings: Any,
) -> Schedule:
  """Creates the schedule `step -> learning_rate * shape(step)`.

  Args:
    name: a key of `SCHEDULES`.
    learning_rate: the peak, required; it may be traced.
    steps: length of the run, required if `depends_on_steps(name)`.
    **settings: keyword settings of the schedule.

  Raises:
    UserError: the name or an argument is unknown, or a setting out of range.
  """
  entry = lookup(SCHEDULES, name, "schedule")
  known = {"learning_rate", "steps", *inspect.signature(entry).parameters}
  check_names(f"schedule {name!r}", settings, known)
  check({"learning_rate": learning_rate, **settings}, name)
  if depends_on_steps(name):
    check({"steps": steps})
    shape = entry(steps, **settings)
  else:
    shape = entry(**settings)
  return lambda step: learning_rate * shape(step)
