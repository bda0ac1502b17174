"""Intervals and p values equal those of the textbook and of SciPy."""

import numpy as np
import pytest
from scipy import stats

from dlcore.report import estimates

RANDOM = np.random.default_rng(0)


def test_an_interval_equals_the_computation_by_hand():
  # Deviation 1, and t = 4.3027 with two degrees of freedom.
  mean, half, count = estimates.interval([1.0, 2.0, 3.0])
  assert (mean, count) == (2.0, 3)
  assert half == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
  assert estimates.interval([7.0]) == (7.0, None, 1)


@pytest.mark.parametrize("count", [2, 5, 30])
def test_intervals_and_p_values_equal_scipys(count):
  first, second = RANDOM.normal(size=(2, count))
  known = stats.ttest_rel(second, first)
  assert estimates.paired_p(second - first) == pytest.approx(known.pvalue)
  low, high = known.confidence_interval()
  mean, half, _ = estimates.interval(second - first)
  assert (mean - half, mean + half) == pytest.approx((low, high))


def test_95_percent_of_the_intervals_contain_the_mean():
  found = [estimates.interval(row) for row in RANDOM.normal(size=(4000, 4))]
  coverage = np.mean([abs(mean) <= half for mean, half, _ in found])
  assert coverage == pytest.approx(0.95, abs=0.015)  # Four standard errors.


@pytest.mark.parametrize(
  "differences",
  [[], [1.0], [0.0, 0.0], [0.9 - 0.8, 0.8 - 0.7], [1.0, np.nan]],
)
def test_equal_differences_have_no_p_value(differences):
  assert estimates.paired_p(differences) is None


@pytest.mark.parametrize(
  ("metric", "found", "text"),
  [
    ("accuracy", (0.98612, 0.00371, 5), "98.61% ± 0.37"),
    ("accuracy", (0.5, None, 1), "50.00%"),
    ("loss", (0.041234, 0.0031, 3), "0.0412 ± 0.0031"),
    ("loss", (-1234.5, 67.0, 3), "\N{MINUS SIGN}1,234 ± 67"),
    ("loss", (0.25, 0.0, 3), "0.25 ± 0"),
    ("loss", (np.nan, np.nan, 3), "not finite"),
    ("loss", (1e20, 1e19, 3), "1.000e20 ± 1.000e19"),
  ],
)
def test_an_estimate_is_rounded_by_its_interval(metric, found, text):
  assert estimates.format_estimate(metric, estimates.Estimate(*found)) == text
