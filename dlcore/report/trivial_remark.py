"""The sentence on a run that is no better than an answer without learning."""

from collections.abc import Mapping
from typing import Any

from dlcore.report.metric_display import less_is_better, rank

ROUNDING = 1e-6
"""Relative difference of two scores below which they are equal: one of them is
a sum in float32."""


def trivial_remark(summary: Mapping[str, Any], remedy: str) -> str:
  """Returns a sentence if a run ends no better than the trivial answer.

  The metric `best_by` of the last split decides, and without one, or for the
  loss, the most important metric; see `metric_display.METRICS`.

  Args:
    summary: the content of `summary.json`: `metrics`, and optionally `trivial`,
      `trivial_answer` and `best_by`.
    remedy: the settings to try.

  Returns:
    The sentence, empty if the run is better or `trivial` is unknown.
  """
  metrics, trivial = summary["metrics"], summary.get("trivial") or {}
  both = [key for key in metrics if key in trivial]
  if not both:
    return ""
  split = both[-1].rpartition("/")[0]
  names = [
    key.rpartition("/")[2] for key in both if key.startswith(f"{split}/")
  ]
  best_by = str(summary.get("best_by", ""))
  name = best_by.removeprefix("-")
  if name not in names or name == "loss":  # Loss is the default.
    name = min(names, key=rank)
  key = f"{split}/{name}"
  sign = -1 if less_is_better(name, best_by) else 1
  if sign * (metrics[key] - trivial[key]) > ROUNDING * abs(trivial[key]):
    return ""
  answer = summary.get("trivial_answer") or "the trivial answer"
  return (
    f"no better than {answer}: {key} is {metrics[key]:.4f}, and "
    f"{trivial[key]:.4f} without any learning; {remedy}"
  )
