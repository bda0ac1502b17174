"""The verdict on strategies of transfer, in sentences."""

import math
from collections.abc import Sequence

from dlcore.report import estimates, groups, scores
from dlcore.report.groups import Comparison, Group
from dlcore.report.json_values import as_mapping, as_number
from dlcore.report.markup import Markup, section, tag
from dlcore.report.metric_display import format_metric, less_is_better
from dlcore.report.paired_tests import (
  SIGNIFICANT,
  format_change,
  format_p,
  format_size,
  paired_differences,
  untestable,
)
from dlcore.report.run import Run

PROBE, SCRATCH = "head", "scratch"
SUBJECTS = {PROBE: "the frozen probe", SCRATCH: "training from scratch"}
"""Strategies that are compared with the best other one, see
`transfer.STRATEGIES`."""

OTHER_DATA = (
  "No verdict: the checksums of the data of these runs differ or are missing."
)
SEEDS = "A paired test needs several seeds of each: train.py --seeds=5."


def verdict(subject: Comparison) -> Markup | None:
  """Returns a sentence for each compared pair of strategies.

  The frozen probe is compared with the best strategy that loads weights, and
  training from scratch with the best of all. Without such pairs the two best
  strategies are compared. The scores that are tested also say which are the
  best, so that the p values are multiplied by the number of possible pairs
  (Bonferroni).
  """
  key = scores.main_metric(subject.groups)
  if key is None:
    return None
  known = [group for group in subject.groups if scores.values(group, key)]
  if len({_strategy(group) for group in known} - {""}) < 2:
    return None
  if not _same_data(known):
    sentences = [OTHER_DATA]
  else:
    sentences = [_sentence(*pair, key) for pair in _pairs(known, key)]
  paragraphs = [tag("p", sentence) for sentence in sentences]
  return section(f"Strategies, {scores.title(key)}", *paragraphs)


def _strategy(group: Group) -> str:
  """Returns the strategy of the runs of a group, '' if they differ."""
  names = {
    groups.component_of(as_mapping(run.config.get("init")), "strategy")
    for run in group.runs
  }
  return names.pop() if len(names) == 1 else ""


def _same_data(of: Sequence[Group]) -> bool:
  """Returns whether all groups have the same splits, by checksum."""
  known = [{_checksums(run) for run in group.finished} for group in of]
  return () not in known[0] and all(data == known[0] for data in known)


def _checksums(run: Run) -> tuple[tuple[str, str], ...]:
  """Returns the checksums of the splits by name, empty if one is missing."""
  splits = as_mapping(run.data.get("splits"))
  sums = {name: as_mapping(s).get("sha256") for name, s in splits.items()}
  if not all(isinstance(value, str) for value in sums.values()):
    return ()
  return tuple(sorted((name, str(value)) for name, value in sums.items()))


def _pairs(of: Sequence[Group], key: str) -> list[tuple[Group, Group, int]]:
  """Returns the pairs of groups to compare, the subject first.

  The third element is the number of pairs of which it is the chosen one.
  """
  sign = -1 if _less_is_better(of, key) else 1

  def mean(group: Group) -> float:
    values = list(scores.values(group, key).values())
    return sign * estimates.interval(values).mean

  ranked = sorted(of, key=mean, reverse=True)
  pairs = []
  for subject in of:
    name = _strategy(subject)
    others = [group for group in ranked if _strategy(group) != name]
    if name == PROBE and any(_strategy(group) != SCRATCH for group in others):
      others = [group for group in others if _strategy(group) != SCRATCH]
    elif name != SCRATCH:
      continue
    pairs.append((subject, others[0], len(others)))
  best = ranked[0]
  others = [group for group in ranked if _strategy(group) != _strategy(best)]
  return pairs or [(best, others[0], math.comb(len(of), 2))]


def _sentence(subject: Group, other: Group, choices: int, key: str) -> str:
  """Returns the result of the comparison of two groups of so many choices."""
  differences = paired_differences(other, subject, key)
  if untestable(other, subject, differences):
    return _untested(subject, other, key)
  values = list(differences.values())
  estimate, p = estimates.interval(values), estimates.paired_p(values)
  unit = f"{len(values)} {subject.unit}s"
  correction = ""
  if p is not None and choices > 1:
    p = min(1.0, choices * p)
    correction = f" (corrected for the choice among {choices})"
  if estimate.mean == 0 and p is None:
    return (
      f"{_title(subject)} is as good as {_name(other)}: the same "
      f"{scores.title(key)} in each of {unit}."
    )
  change = f"{scores.title(key)} {format_change(key, estimate)}, "
  change += f"{format_p(p)}{correction}"
  less_is_better = _less_is_better([subject, other], key)
  gain = -estimate.mean if less_is_better else estimate.mean
  if p is None or p < SIGNIFICANT:
    order = "better" if gain > 0 else "worse"
    return (
      f"{_title(subject)} is {order} than {_name(other)}: {change}, {unit}."
    )
  margin = _margin(other, key)
  if margin is not None and gain - (estimate.half or 0.0) > -margin:
    return (
      f"{_title(subject)} is as good as {_name(other)}: {change}, {unit}. The "
      "interval excludes a loss as large as the uncertainty of a score on "
      f"these test examples, {format_size(key, margin)}."
    )
  return (
    f"No difference is shown between {_subject(subject)} and {_name(other)}, "
    f"nor excluded: {change}, {unit}."
  )


def _margin(group: Group, key: str) -> float | None:
  """Returns half the width of the intervals over the test examples, or None.

  Differences below it are smaller than those that other test examples make.
  """
  intervals = [_run_interval(run, key) for run in group.finished]
  known = [ends for ends in intervals if ends is not None]
  if not known or len(known) < len(intervals):
    return None
  return estimates.interval([(high - low) / 2 for low, high in known]).mean


def _untested(subject: Group, other: Group, key: str) -> str:
  """Returns the scores of two groups that cannot be tested in pairs."""
  one, two = (_described(group, key) for group in (subject, other))
  text = f"{_title(subject)} has a {scores.title(key)} of {one}"
  text += f", {_name(other)} of {two}"
  intervals = [_interval(group, key) for group in (subject, other)]
  if None in intervals:
    return f"{text}. {SEEDS}"
  (low, high), (other_low, other_high) = filter(None, intervals)
  overlap = low <= other_high and other_low <= high
  meaning = (
    "overlap, so that these runs show no difference"
    if overlap
    else "do not overlap"
  )
  return f"{text}. The 95% intervals over the test examples {meaning}. {SEEDS}"


def _described(group: Group, key: str) -> str:
  """Returns the score of a group, of a single run with its interval."""
  metric, values = scores.metric(key), list(scores.values(group, key).values())
  text = estimates.format_estimate(metric, estimates.interval(values))
  if ends := _interval(group, key):
    low, high = (format_metric(metric, end) for end in ends)
    text += f" ({low} to {high})"
  return text


def _interval(group: Group, key: str) -> tuple[float, float] | None:
  """Returns the interval of the score of a single run, if it is known."""
  if len(group.finished) != 1:
    return None
  return _run_interval(group.finished[0], key)


def _run_interval(run: Run, key: str) -> tuple[float, float] | None:
  ends = as_mapping(run.summary.get("intervals")).get(key)
  numbers = [as_number(end) for end in ends] if isinstance(ends, list) else []
  known = [number for number in numbers if number is not None]
  return (known[0], known[1]) if len(known) == len(numbers) == 2 else None


def _less_is_better(of: Sequence[Group], key: str) -> bool:
  """Returns whether less is better, by `best_by` if that names the metric."""
  chosen = {
    str(as_mapping(run.config.get("training")).get("best_by"))
    for group in of
    for run in group.runs
  }
  return less_is_better(
    scores.metric(key), chosen.pop() if len(chosen) == 1 else ""
  )


def _title(group: Group) -> str:
  """Returns the beginning of a sentence about a group."""
  text = _subject(group)
  return text[:1].upper() + text[1:] if _strategy(group) in SUBJECTS else text


def _subject(group: Group) -> str:
  """Returns the noun for the strategy of a group, with its name."""
  noun = SUBJECTS.get(_strategy(group))
  return f"{noun} ({group.name})" if noun else _name(group)


def _name(group: Group) -> str:
  """Returns the name of a group, with its strategy if that differs."""
  strategy = _strategy(group)[:40]
  if strategy in ("", group.name):
    return group.name
  return f"{strategy} ({group.name})"
