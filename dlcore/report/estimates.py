"""Means over a few runs, their 95% intervals, and paired tests: Student's t."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import markup

LEVEL = 0.95
ROUNDING = 1e-9
"""Spread relative to the values below which it is rounding alone."""


class Estimate(NamedTuple):
  """A mean and half the width of its interval."""

  mean: float
  half: float | None
  """None for a single value."""

  count: int


def interval(values: Sequence[float]) -> Estimate:
  """Returns the mean of `values` with its 95% interval by Student's t.

  It holds the mean of endlessly many runs in 95% of such studies, if the runs
  are independent and their values about normal.
  """
  from scipy import special  # Late: it is needed here only.

  with np.errstate(all="ignore"):
    array = np.asarray(values, np.float64)
    count, mean = len(array), float(array.mean())
    if count < 2:
      return Estimate(mean, None, count)
    quantile = special.stdtrit(count - 1, (1 + LEVEL) / 2)
    half = quantile * array.std(ddof=1) / math.sqrt(count)
  return Estimate(mean, float(half), count)


def paired_p(differences: Sequence[float]) -> float | None:
  """Returns the two-sided p value of the paired t-test.

  Args:
    differences: one for each pair; that their mean is 0 is tested.

  Returns:
    None where there is nothing to be tested: fewer than two pairs, the same
    difference in all of them, or one that is not finite.
  """
  from scipy import special

  array = np.asarray(differences, np.float64)
  count = len(array)
  if count < 2 or not np.isfinite(array).all():
    return None
  spread = float(array.std(ddof=1))
  if not spread > ROUNDING * float(np.abs(array).max()):
    return None
  t = float(array.mean()) / (spread / math.sqrt(count))
  return float(2 * special.stdtr(count - 1, -abs(t)))


def text(metric: str, found: Estimate) -> str:
  """Returns `98.61% ± 0.37`, or the mean alone where there is no interval."""
  mean, half, _ = found
  if half is None or not math.isfinite(mean + half):
    return markup.measure(metric, mean)
  if markup.is_share(metric) and abs(mean) <= 1:
    return markup.minus(f"{100 * mean:.2f}%") + f" ± {100 * half:.2f}"
  digits = 1 - math.floor(math.log10(half)) if half > 0 else 99
  if digits > 6 or abs(mean) >= 1e15:
    return f"{markup.number(mean)} ± {markup.number(half)}"
  digits = max(0, digits)
  return f"{markup.minus(f'{mean:,.{digits}f}')} ± {half:,.{digits}f}"
