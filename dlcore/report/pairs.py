"""What paired t-tests say of groups that share seeds, in words."""

from collections.abc import Mapping

import numpy as np

from dlcore.report import estimates, groups, markup, scores
from dlcore.report.comparison import colour_key, listed
from dlcore.report.groups import Comparison, Group
from dlcore.report.markup import Markup, tag

SURE = 0.05
"""The p value below which two groups are said to differ."""

TINY = 1e-4


def tests(found: Comparison) -> Markup | None:
  """Returns what a paired t-test says of each group against the first."""
  key = scores.main_metric(found.groups)
  if key is None or len(found.groups) < 2:
    return None
  first = found.groups[0]
  verdicts: list[Markup] = []
  untested: dict[str, list[str]] = {}
  for index, other in enumerate(found.groups[1:], 1):
    seeds = pairs(first, other, key)
    if why := _untested(first, other, seeds):
      untested.setdefault(why, []).append(other.name)
    else:
      name = tag("dt", colour_key(index, other.name))
      verdict = tag("dd", *_verdict(key, seeds))
      verdicts.append(tag("div", name, verdict))
  parts = []
  if verdicts:
    note = (
      "The same seeds are compared in pairs, by the two-sided paired t-test. "
      "It speaks of further seeds on the same data, not of other test examples."
    )
    if len(verdicts) > 1:
      note += (
        f" With {len(verdicts)} comparisons, a small p value comes up by "
        "chance more often than it says: it is not corrected for that."
      )
    parts += [
      tag("p", note, class_="note"),
      tag("dl", *verdicts, class_="verdicts"),
    ]
  parts += [
    tag("p", f"No test of {', '.join(names)}: {why}")
    for why, names in untested.items()
  ]
  return markup.section(f"Against {first.name}, {scores.words(key)}", *parts)


def pairs(first: Group, second: Group, key: str) -> dict[int, float]:
  """Returns by how much `second` is above `first`, by seeds of both."""
  one, other = scores.by_seed(first, key), scores.by_seed(second, key)
  return {seed: other[seed] - one[seed] for seed in one if seed in other}


def _verdict(key: str, seeds: Mapping[int, float]) -> list[Markup]:
  """Returns the test of the differences by seed, in words."""
  differences = list(seeds.values())
  estimate = estimates.interval(differences)
  p = estimates.paired_p(differences)
  text = _told(key, estimate, p, listed(sorted(seeds)))
  return [tag("b", f"{_signed(key, estimate)}, {_p_text(p)}"), tag("p", text)]


def _untested(first: Group, other: Group, seeds: Mapping[int, float]) -> str:
  """Returns why two groups cannot be tested in pairs, '' if they can."""
  if len(groups.tested_on(first) | groups.tested_on(other)) > 1:
    return "the test examples are not the same."
  if len(seeds) < 2:
    return "it needs two seeds or more that both have finished."
  if not all(np.isfinite(value) for value in seeds.values()):
    return "a value is not finite."
  return ""


def _told(
  key: str, estimate: estimates.Estimate, p: float | None, seeds: str
) -> str:
  mean, half, count = estimate
  over = f"over the {count} shared seeds ({seeds})"
  if p is None:
    what = "result" if mean == 0 else "difference"
    return f"The same {what} in every pair, {over}: there is nothing to test."
  low, high = mean - (half or 0.0), mean + (half or 0.0)
  share = "less than 0.01%" if p < TINY else f"{100 * p:.2g}%"
  ending = "" if p < SURE else " These seeds do not tell the two apart."
  return (
    f"On average {_size(key, abs(mean))} {'higher' if mean > 0 else 'lower'}, "
    f"{over}; the 95% interval of the difference goes from "
    f"{_size(key, low, '+')} to {_size(key, high, '+')}. If the two were "
    f"equally good, {share} of such comparisons would show a difference at "
    f"least this large.{ending}"
  )


def _signed(key: str, estimate: estimates.Estimate) -> str:
  if _percent(key):
    mean = markup.minus(f"{100 * estimate.mean:+.2f}")
    return f"{mean} ± {100 * (estimate.half or 0):.2f} points"
  sign = "+" if estimate.mean > 0 else ""
  return sign + estimates.text(scores.metric(key), estimate)


def _size(key: str, value: float, sign: str = "") -> str:
  """Returns a difference, in percentage points where it is one of shares."""
  if _percent(key):
    return markup.minus(f"{100 * value:{sign}.2f}") + " points"
  return (sign if value > 0 else "") + markup.number(value)


def _percent(key: str) -> bool:
  return markup.is_share(scores.metric(key))


def _p_text(p: float | None) -> str:
  if p is None:
    return "no p value"
  return f"p < {TINY:.4f}" if p < TINY else f"p = {p:.2g}"
