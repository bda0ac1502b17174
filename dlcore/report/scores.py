"""The final metrics of runs and groups, by keys such as `test/accuracy`."""

from collections.abc import Sequence

from dlcore.report import markup
from dlcore.report.groups import Group, seed
from dlcore.report.overview import HEADLINE
from dlcore.report.run import Run, numbers

ORDER = ("test", "valid", "train")


def main_metric(of: Sequence[Group]) -> str | None:
  """Returns the key of the number to be read first, `test/accuracy`.

  It is one that all groups with results have, if there is one.
  """
  known = keys(of)
  having = [
    set().union(*map(results, group.finished)) for group in of if group.finished
  ]
  common = [key for key in known if all(key in has for has in having)]

  def order(key: str) -> tuple[int, int]:
    split, _, name = key.rpartition("/")
    return (*ORDER, split).index(split), (*HEADLINE, name).index(name)

  return min(common or known, key=order, default=None)


def keys(of: Sequence[Group]) -> list[str]:
  """Returns the final metrics of all runs, test before valid."""
  found: dict[str, None] = {}
  for group in of:
    for run in group.finished:
      found |= dict.fromkeys(results(run))

  def place(key: str) -> int:
    split = key.rpartition("/")[0]
    return (*ORDER, split).index(split)

  return sorted(found, key=place)


def values(group: Group, key: str) -> dict[str, float]:
  """Returns a final metric of the finished runs, by the run's name."""
  found = {run.name: results(run).get(key) for run in group.finished}
  return {name: value for name, value in found.items() if value is not None}


def by_seed(group: Group, key: str) -> dict[int, float]:
  """Returns a final metric of the finished runs whose seed is known."""
  scores = values(group, key)
  found = {}
  for run in group.finished:
    known = seed(run)
    if known is not None and run.name in scores:
      found[known] = scores[run.name]
  return found


def results(run: Run) -> dict[str, float]:
  """Returns the final metrics of a run."""
  return numbers(run.summary.get("metrics"))


def metric(key: str) -> str:
  """Returns `accuracy` of `test/accuracy`."""
  return key.rpartition("/")[2]


def words(key: str) -> str:
  """Returns `test accuracy` of `test/accuracy`."""
  split = key.rpartition("/")[0]
  return " ".join(filter(None, (split, markup.words(metric(key)))))
