"""Means over a few runs: Student's t intervals and paired t-tests."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.report import markup
from dlcore.report.metric_display import display, format_metric

LEVEL = 0.95
ROUNDING = 1e-9
"""Relative spread below which differences are rounding errors."""


class Estimate(NamedTuple):
  """A mean with its confidence interval."""

  mean: float
  half: float | None
  """Half of the interval's width, None for a single value."""

  count: int


def interval(values: Sequence[float] | np.ndarray) -> Estimate:
  """Returns the mean of `values` with its 95% interval by Student's t.

  If the runs are independent and their values about normal, 95% of such
  intervals contain the expected value.
  """
  from scipy import special  # Imported late: no other module needs it.

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
    differences: one per pair; the null hypothesis is that their mean is 0.

  Returns:
    None if the test is undefined: fewer than two pairs, the same difference
    in all of them, or one that is not finite.
  """
  from scipy import special

  array = np.asarray(differences, np.float64)
  count = len(array)
  if count < 2 or not np.isfinite(array).all():
    return None
  deviation = float(array.std(ddof=1))
  if not deviation > ROUNDING * float(np.abs(array).max()):
    return None
  t = float(array.mean()) / (deviation / math.sqrt(count))
  return float(2 * special.stdtr(count - 1, -abs(t)))


def format_estimate(metric: str, estimate: Estimate) -> str:
  """Returns `98.61% ± 0.37`, or the mean alone without an interval."""
  mean, half, _ = estimate
  if half is None or not math.isfinite(mean + half):
    return format_metric(metric, mean)
  if display(metric).percent and abs(mean) <= 1:
    return markup.with_minus(f"{100 * mean:.2f}%") + f" ± {100 * half:.2f}"
  digits = 1 - math.floor(math.log10(half)) if half > 0 else 99
  if digits > 6 or abs(mean) >= 1e15:
    return f"{markup.format_number(mean)} ± {markup.format_number(half)}"
  digits = max(0, digits)
  return f"{markup.with_minus(f'{mean:,.{digits}f}')} ± {half:,.{digits}f}"
