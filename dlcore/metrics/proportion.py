"""The confidence interval of a proportion, such as an accuracy."""

import math

NORMAL_QUANTILE = 1.959963984540054
"""Of the normal distribution at 97.5%."""


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
  """Returns the 95% score interval of a proportion (Wilson 1927).

  In contrast to the bootstrap it has a width above 0 if all examples are right.

  Args:
    successes: number of right examples.
    count: number of all, at least 1.
  """
  share, square = successes / count, NORMAL_QUANTILE**2
  center = (share + square / (2 * count)) / (1 + square / count)
  spread = share * (1 - share) / count + square / (4 * count**2)
  half = NORMAL_QUANTILE * math.sqrt(spread) / (1 + square / count)
  low = 0.0 if successes == 0 else center - half
  high = 1.0 if successes == count else center + half
  return low, high
