"""The schedules as their papers write them, in NumPy and float64.

`SCHEDULES[name](step, steps, **settings)` is the rate at an integer step over
the peak rate. The defaults of the settings are written once more. Schedules
that do not depend on the length of the run ignore `steps`.

Convention: the warm-up lasts `round(warmup * steps)` steps, rises in a straight
line (Goyal et al. 2017, section 2.2) and reaches the peak at its end.
"""

import numpy as np


def rise(step, warmup_steps):
  """Returns the factor of a warm-up from 0."""
  return min(step / warmup_steps, 1.0) if warmup_steps else 1.0


def warm_up_then(decay, step, steps, warmup, initial):
  """Returns the warm-up, then `decay(fraction of the rest that has passed)`."""
  length = round(warmup * steps)
  if step < length:
    return initial + (1 - initial) * step / length
  return decay(min((step - length) / max(steps - length, 1), 1.0))


def constant(step, steps, *, warmup_steps=0):
  """Goyal et al. 2017, section 2.2."""
  return rise(step, warmup_steps)


def plateau(
  step, steps, *, factor=0.1, patience=5, min_scale=0.0, warmup_steps=0
):
  """Constant: the trainer lowers the rate, not the schedule."""
  return rise(step, warmup_steps)


def step_decay(step, steps, *, boundaries=(1000,), factor=0.1, warmup_steps=0):
  """He et al. 2015, arXiv:1512.03385, section 3.4.

  Convention: the step at a boundary has the lower rate already.
  """
  passed = sum(step >= boundary for boundary in boundaries)
  return rise(step, warmup_steps) * factor**passed


def inverse_sqrt(step, steps, *, warmup_steps=4000):
  """Vaswani et al. 2017, equation 3, over its value at the peak."""
  if not warmup_steps:
    return max(step, 1) ** -0.5
  inverse = max(step, 1e-9) ** -0.5
  return warmup_steps**0.5 * min(inverse, step * warmup_steps**-1.5)


def polynomial(step, steps, *, power=0.9, warmup=0.0, initial=0.0, final=0.0):
  """Liu et al. 2015, section 4.1: (1 - step / steps) ** power."""
  return warm_up_then(
    lambda passed: final + (1 - final) * (1 - passed) ** power,
    *(step, steps, warmup, initial),
  )


def linear(step, steps, *, warmup=0.0, initial=0.0, final=0.0):
  """`polynomial` with power 1."""
  return polynomial(
    step, steps, power=1.0, warmup=warmup, initial=initial, final=final
  )


def cosine(step, steps, *, warmup=0.0, initial=0.0, final=0.0):
  """Loshchilov and Hutter 2016, equation 5, without restarts."""
  return warm_up_then(
    lambda passed: final + (1 - final) * (1 + np.cos(np.pi * passed)) / 2,
    *(step, steps, warmup, initial),
  )


def warmup_cosine(step, steps, *, warmup=0.1, initial=0.0, final=0.0):
  """`cosine` with a warm-up by default."""
  return cosine(step, steps, warmup=warmup, initial=initial, final=final)


def trapezoid(step, steps, *, warmup=0.1, cooldown=0.2, initial=0.0, final=0.0):
  """Hägele et al. 2024, equation 1, linear cooldown."""
  fall = round(cooldown * steps)
  return warm_up_then(
    lambda _: (
      final + (1 - final) * min(1.0, max(steps - step, 0) / max(fall, 1))
    ),
    *(step, steps, warmup, initial),
  )


def one_cycle(step, steps, *, warmup=0.45, initial=0.1, final=0.001):
  """Smith and Topin 2017, section 3.

  Convention: the decay is as long as the warm-up and ends at `initial`; the
  rest anneals to `final`.
  """
  length = round(warmup * steps)
  points = (0, length, 2 * length, steps)
  return np.interp(step, points, (initial, 1.0, initial, final))


SCHEDULES = {
  "constant": constant,
  "cosine": cosine,
  "inverse_sqrt": inverse_sqrt,
  "linear": linear,
  "one_cycle": one_cycle,
  "plateau": plateau,
  "polynomial": polynomial,
  "step": step_decay,
  "trapezoid": trapezoid,
  "warmup_cosine": warmup_cosine,
}
