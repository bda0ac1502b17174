"""The final metrics of runs and groups, by keys such as `test/accuracy`."""

from collections.abc import Sequence

from dlcore.report.curves import split_order
from dlcore.report.groups import Group, number
from dlcore.report.json_values import as_numbers
from dlcore.report.metric_display import display, rank
from dlcore.report.run import Run

ORDER = ("test", "valid", "train")
"""The most important split first."""


def main_metric(of: Sequence[Group]) -> str | None:
  """Returns the key of the most important metric, such as `test/accuracy`.

  A metric that every group with results has takes precedence.
  """
  known = keys(of)
  available = [
    set().union(*map(results, group.finished)) for group in of if group.finished
  ]
  common = [key for key in known if all(key in names for names in available)]

  def order(key: str) -> tuple[tuple[int, str], int]:
    split, _, name = key.rpartition("/")
    return split_order(split, ORDER), rank(name)

  return min(common or known, key=order, default=None)


def keys(of: Sequence[Group]) -> list[str]:
  """Returns the keys of the final metrics of all runs, test before valid."""
  names: dict[str, None] = {}
  for group in of:
    for run in group.finished:
      names |= dict.fromkeys(results(run))

  return sorted(
    names, key=lambda key: split_order(key.rpartition("/")[0], ORDER)
  )


def values(group: Group, key: str) -> dict[str, float]:
  """Returns a final metric of the finished runs, by the run's name."""
  scores = {run.name: results(run).get(key) for run in group.finished}
  return {name: value for name, value in scores.items() if value is not None}


def by_number(group: Group, key: str) -> dict[int, float]:
  """Returns a final metric of the finished runs, by seed or fold if known."""
  scores = values(group, key)
  pairs = [(number(run), scores.get(run.name)) for run in group.finished]
  return {
    known: value
    for known, value in pairs
    if known is not None and value is not None
  }


def results(run: Run) -> dict[str, float]:
  """Returns the final metrics of a run."""
  return as_numbers(run.summary.get("metrics"))


def metric(key: str) -> str:
  """Returns `accuracy` of `test/accuracy`."""
  return key.rpartition("/")[2]


def title(key: str) -> str:
  """Returns `test accuracy` of `test/accuracy`."""
  split = key.rpartition("/")[0]
  return " ".join(filter(None, (split, display(metric(key)).title)))
