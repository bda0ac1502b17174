"""Paired t-tests between groups of the same seeds or folds, in sentences."""

from collections.abc import Mapping

import numpy as np

from dlcore.report import estimates, groups, markup, scores
from dlcore.report.comparison import color_key, format_items
from dlcore.report.groups import Comparison, Group
from dlcore.report.markup import Markup, tag
from dlcore.report.metric_display import display

SIGNIFICANT = 0.05
"""The p value below which a difference is reported as such."""

MIN_P = 1e-4
"""Smaller p values are reported as an inequality."""

METHOD = (
  "Runs of the same {} are compared in pairs, by the two-sided paired t-test. "
)

LIMITS = {
  "seed": "It concerns further seeds on the same data, not other test "
  "examples.",
  "fold": "The training examples of the folds overlap, so that p is too small "
  "(Dietterich 1998).",
}
"""The conclusions that a test does not allow, by the unit of the pairs."""


def tests(subject: Comparison) -> Markup | None:
  """Returns the paired t-test of each group against the first."""
  key = scores.main_metric(subject.groups)
  if key is None or len(subject.groups) < 2:
    return None
  first = subject.groups[0]
  verdicts: list[Markup] = []
  untested: dict[str, list[str]] = {}
  for index, other in enumerate(subject.groups[1:], 1):
    differences = paired_differences(first, other, key)
    if reason := untestable(first, other, differences):
      untested.setdefault(reason, []).append(other.name)
    else:
      name = tag("dt", color_key(index, other.name))
      verdict = tag("dd", *_verdict(key, differences, first.unit))
      verdicts.append(tag("div", name, verdict))
  parts = []
  if verdicts:
    note = METHOD.format(first.unit) + LIMITS[first.unit]
    parts = [
      tag("p", note + _correction(len(verdicts)), class_="note"),
      tag("dl", *verdicts, class_="verdicts"),
    ]
  parts += [
    tag("p", f"No test of {', '.join(names)}: {reason}")
    for reason, names in untested.items()
  ]
  return markup.section(f"Against {first.name}, {scores.title(key)}", *parts)


def paired_differences(
  first: Group, second: Group, key: str
) -> dict[int, float]:
  """Returns `second - first` of a metric, by seeds or folds of both."""
  left, right = scores.by_number(first, key), scores.by_number(second, key)
  return {seed: right[seed] - left[seed] for seed in left if seed in right}


def untestable(
  first: Group, other: Group, differences: Mapping[int, float]
) -> str:
  """Returns why two groups cannot be tested in pairs, or ''."""
  if first.unit != other.unit:
    return "one is over seeds, the other over folds."
  if not groups.same_tests([first, other]):
    return "their test examples differ."
  if len(differences) < 2:
    return f"a test needs at least two {first.unit}s that both have finished."
  if not all(np.isfinite(value) for value in differences.values()):
    return "a value is not finite."
  return ""


def _correction(count: int) -> str:
  if count < 2:
    return ""
  return (
    f" The p values are not corrected for {count} comparisons: a small one is "
    "more likely by chance than it states."
  )


def _verdict(
  key: str, differences: Mapping[int, float], unit: str
) -> list[Markup]:
  values = list(differences.values())
  estimate = estimates.interval(values)
  p = estimates.paired_p(values)
  over = f"{unit}s ({format_items(sorted(differences))})"
  heading = f"{format_change(key, estimate)}, {format_p(p)}"
  text = _explain(key, estimate, p, over)
  return [tag("b", heading), tag("p", text)]


def _explain(
  key: str, estimate: estimates.Estimate, p: float | None, pairs: str
) -> str:
  mean, half, count = estimate
  over = f"over the {count} shared {pairs}"
  if p is None:
    same = "result" if mean == 0 else "difference"
    return f"Every pair has the same {same}, {over}: there is nothing to test."
  low, high = mean - (half or 0.0), mean + (half or 0.0)
  share = "less than 0.01%" if p < MIN_P else f"{100 * p:.2g}%"
  ending = "" if p < SIGNIFICANT else " These runs do not show a difference."
  return (
    f"On average {format_size(key, abs(mean))} "
    f"{'higher' if mean > 0 else 'lower'}, {over}. The 95% interval of the "
    f"difference is {format_size(key, low, '+')} to "
    f"{format_size(key, high, '+')}. If the two were equally good, {share} of "
    f"such comparisons would show a difference at least this large.{ending}"
  )


def format_change(key: str, estimate: estimates.Estimate) -> str:
  """Returns `+0.08 ± 4.37 points`, the mean difference and its interval."""
  if _is_percent(key):
    mean = markup.with_minus(f"{100 * estimate.mean:+.2f}")
    return f"{mean} ± {100 * (estimate.half or 0):.2f} points"
  sign = "+" if estimate.mean > 0 else ""
  return sign + estimates.format_estimate(scores.metric(key), estimate)


def format_size(key: str, value: float, sign: str = "") -> str:
  """Returns a difference, in percentage points if the metric is a share."""
  if _is_percent(key):
    return markup.with_minus(f"{100 * value:{sign}.2f}") + " points"
  return (sign if value > 0 else "") + markup.format_number(value)


def _is_percent(key: str) -> bool:
  return display(scores.metric(key)).percent


def format_p(p: float | None) -> str:
  """Returns `p = 0.94`, an inequality for small values."""
  if p is None:
    return "no p value"
  return f"p < {MIN_P:.4f}" if p < MIN_P else f"p = {p:.2g}"
