"""Ranges of the settings of optimizers, schedules, clipping and penalties."""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from dlcore.errors import UserError
from dlcore.typing import Array

Number = Array | float
"""A scalar that may be traced."""


class Range(NamedTuple):
  """The values that a setting may have."""

  words: str
  """The range in an error message, after the name of the setting."""
  holds: Callable[[Any], bool]
  static: bool = False
  """Whether the value must be known when the program is traced."""


MAX_FLOAT = float(np.finfo(np.float32).max)
MAX_INT = 2**31 - 1
LARGEST = f"an integer is at most {MAX_INT}, a float at most {MAX_FLOAT:.1e}"

NOT_NEGATIVE = Range(">= 0", lambda x: 0 <= x <= MAX_FLOAT)
POSITIVE = Range("above 0", lambda x: 0 < x <= MAX_FLOAT)
# An infinite limit is off, as 0 is.
LIMIT = Range(">= 0", lambda x: 0 <= x <= MAX_FLOAT or x == math.inf)
SHARE = Range("from 0 to 1", lambda x: 0 <= x <= 1)
STATIC_SHARE = SHARE._replace(static=True)
COUNT = Range(">= 1", lambda x: 1 <= x <= MAX_INT, static=True)
# The arithmetic is float32, where 0.99999999 is 1.
DECAY = Range(
  "from 0 to below 1 (in float32)",
  lambda x: 0 <= x < 1 and float(np.float32(x)) < 1,
)
# Optax recovers the average by dividing by it.
INTERPOLATION = Range("above 0 and below 1", lambda x: 1e-6 <= x <= 1 - 1e-6)
# A gradient's norm is at most 2e19, or its square would overflow: divided by
# 1e-16 it stays finite, even if a long average is divided by a short one.
DIVISOR = Range("of at least 1e-16", lambda x: 1e-16 <= x <= MAX_FLOAT)

RANGES: dict[str, Range] = {
  "adafactor.eps": Range(
    "of at least 1e-30", lambda x: 1e-30 <= x <= MAX_FLOAT
  ),
  "adam_b1": DECAY,
  "adam_b2": DECAY,
  "alpha": NOT_NEGATIVE,
  "b1": DECAY,
  "b2": DECAY,
  "b3": DECAY,
  "beta": DECAY,
  "betas": DECAY,
  "boundaries": COUNT,
  "clip_adaptive": LIMIT,
  "clip_layer": LIMIT,
  "clip_norm": LIMIT,
  "clip_value": LIMIT,
  "clipping_threshold": POSITIVE,
  "consistent_rms": POSITIVE,
  "cooldown": STATIC_SHARE,
  "decay": DECAY,
  "decay_rate": SHARE,
  "eps": DIVISOR,
  "eps_root": NOT_NEGATIVE,
  "estim_lr0": Range("from 1e-7 to 1", lambda x: 1e-7 <= x <= 1),
  "factor": SHARE,
  "final": SHARE,
  "initial": SHARE,
  "initial_accumulator_value": NOT_NEGATIVE,
  "initial_scale": NOT_NEGATIVE,
  "l1": NOT_NEGATIVE,
  "l2": NOT_NEGATIVE,
  "layer_decay": Range("above 0 and at most 1", lambda x: 0 < x <= 1),
  "learning_rate": NOT_NEGATIVE,
  "min_dim_size_to_factor": COUNT,
  "min_scale": SHARE,
  "momentum": DECAY,
  # The fall is as long as the warm-up.
  "one_cycle.warmup": Range(
    "from 0 to at most 0.5", lambda x: 0 <= x <= 0.5, static=True
  ),
  "patience": COUNT,
  # The host lowers the rate between steps.
  "plateau.factor": STATIC_SHARE,
  "plateau.min_scale": STATIC_SHARE,
  "power": POSITIVE,
  "rho": DECAY,
  "schedule_free_adamw.b1": INTERPOLATION,
  "schedule_free_sgd.b1": INTERPOLATION,
  "steps": COUNT,
  "trust_coefficient": POSITIVE,
  "warmup": STATIC_SHARE,
  "warmup_steps": Range(">= 0", lambda x: 0 <= x <= MAX_INT, static=True),
  "weight_decay": NOT_NEGATIVE,
}
"""Ranges by argument, or by `entry.argument` where an entry has its own.

The updates of every optimizer are finite for every finite gradient, and no
schedule exceeds its peak.
"""


SEQUENCES = ("betas", "boundaries")
"""Arguments that are tuples of numbers."""


def check(settings: Mapping[str, Any], entry: str = "") -> None:
  """Checks the type and the range of concrete numbers; traced numbers pass.

  Args:
    settings: numbers, and tuples of numbers for `SEQUENCES`, by argument.
    entry: name of the optimizer or schedule that `settings` belong to.

  Raises:
    UserError: a value is not a number, a number is out of its range, or it is a
      JAX array although the program depends on its value.
  """
  for name, value in settings.items():
    limits = RANGES.get(f"{entry}.{name}") or RANGES.get(name)
    if limits is None:
      continue
    values = (value,)
    if name in SEQUENCES:
      if not isinstance(value, tuple | list):
        raise UserError(f"expected {name} to be a tuple", f"got {value!r}")
      values = value
    for number in values:
      if isinstance(number, jax.Array):
        if limits.static:
          raise UserError(
            f"expected {name} to be a Python number: it may not be traced",
            f"got {number!r}",
          )
      elif not _holds(limits, number):
        raise UserError(
          f"expected {name} {limits.words}",
          f"got {value!r:.60}",
          *((LARGEST,) if _is_too_large(number) else ()),
        )


def _holds(limits: Range, number: Any) -> bool:
  is_number = isinstance(number, numbers.Real | np.ndarray)
  if not is_number or np.ndim(number) or _is_too_large(number):
    return False
  return bool(limits.holds(number))


def _is_too_large(number: Any) -> bool:
  """Returns whether int32 or float32 cannot hold a finite number."""
  if not isinstance(number, numbers.Real) or number == math.inf:
    return False
  is_integer = isinstance(number, numbers.Integral)
  return abs(number) > (MAX_INT if is_integer else MAX_FLOAT)
