"""Some metrics of `METRICS` as the functions that a task calls."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

from dlcore.errors import UserError, nearest
from dlcore.metrics.metric_table import METRICS, Score
from dlcore.metrics.weighted_sums import Predictions, Sums
from dlcore.typing import Metrics


class Selection(NamedTuple):
  """Metrics of one kind of predictions, by name."""

  summed: Mapping[str, Sums]
  scored: Mapping[str, Score]

  def sums(
    self, predictions: Predictions, targets: Any, weights: Any
  ) -> Metrics:
    """Returns the sums of all metrics of a batch.

    Metrics of the same sums share them. The names begin with an underscore:
    the sums are inputs of `derived` only.
    """
    result: dict[str, tuple[Any, Any]] = {}
    for function, owner in self._owners().items():
      sums = function(predictions, targets, weights)
      result |= {f"_{owner}.{name}": pair for name, pair in sums.items()}
    return result

  def derived(self, sums: Metrics) -> dict[str, float]:
    """Returns the metrics of sums, from the totals over a split."""
    owners, values = self._owners(), {}
    for name, metric in self.summed.items():
      prefix = f"_{owners[metric.sums]}."
      own = {
        key.removeprefix(prefix): pair
        for key, pair in sums.items()
        if key.startswith(prefix)
      }
      values[name] = metric.value(own)
    return values

  def score(
    self, predictions: Predictions, targets: Any, weights: Any
  ) -> dict[str, float]:
    """Returns the metrics of all predictions of a split, on the host."""
    return {
      name: float(score(predictions, targets, weights))
      for name, score in self.scored.items()
    }

  def values(
    self, predictions: Predictions, targets: Any, weights: Any
  ) -> dict[str, float]:
    """Returns all metrics from NumPy arrays of a split, in float64."""
    weights = np.asarray(weights, np.float64)
    sums = self.sums(predictions, targets, weights)
    return self.derived(sums) | self.score(predictions, targets, weights)

  def _owners(self) -> dict[Any, str]:
    """Returns the first metric of each function of sums."""
    owners: dict[Any, str] = {}
    for name, metric in self.summed.items():
      owners.setdefault(metric.sums, name)
    return owners


def select(
  names: Collection[str], kind: str, exclude: Collection[str] = ()
) -> Selection:
  """Returns the metrics `names` for a kind of predictions.

  Args:
    names: keys of `METRICS`.
    kind: `CLASSES`, `LABELS` or `NUMBERS`.
    exclude: names to leave out, which the task measures anyway.

  Raises:
    UserError: a name is unknown, or its metric has no such kind.
  """
  if isinstance(names, str):
    names = (names,)
  known = {
    name: getattr(metric, kind)
    for name, metric in METRICS.items()
    if getattr(metric, kind) is not None
  }
  for name in names:
    if name not in known and name not in exclude:
      raise UserError(
        f"expected metrics to be names of metrics of {kind}",
        f"got {name!r}",
        nearest(str(name), {*known, *exclude}),
      )
  chosen = {n: known[n] for n in dict.fromkeys(names) if n not in exclude}
  return Selection(
    {n: measure for n, measure in chosen.items() if isinstance(measure, Sums)},
    {
      n: measure
      for n, measure in chosen.items()
      if not isinstance(measure, Sums)
    },
  )
