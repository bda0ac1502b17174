"""The scores of the answer that does not look at the input, from data alone."""

import math
from collections.abc import Collection
from typing import NamedTuple

from dlcore import metrics
from dlcore.data import DataInfo
from dlcore.data.source import Arrays
from dlcore.metrics import METRICS
from dlcore.tasks.assessment import Assessable, of_each_example, row_weights


class TrivialScores(NamedTuple):
  """The scores of the trivial answer on a split."""

  answer: str
  """Its description, such as `"always 'cat'"`; empty if it is unknown."""

  values: dict[str, float]
  """By metric, without those that are not finite."""


def trivial_scores(
  assessable: Assessable,
  names: Collection[str],
  targets: Arrays,
  info: DataInfo,
) -> TrivialScores:
  """Returns the scores of the best constant answer by the statistics of train.

  Args:
    assessable: of the kind of task.
    names: of the metrics; those that `METRICS` lacks for the kind are left out.
    targets: the arrays of the split other than its inputs.
    info: of train.
  """
  trivial, kind = assessable.trivial(info), assessable.kind
  known = [n for n in names if getattr(METRICS.get(n), kind, None) is not None]
  if trivial is None or not known or assessable.target not in targets:
    return TrivialScores("", {})
  target = targets[assessable.target]
  if kind == metrics.NUMBERS:
    target = target.ravel()  # It may be [N, 1].
  constant = of_each_example(trivial.prediction, len(target))
  weights = row_weights(targets, len(target))
  values = metrics.select(known, kind).values(constant, target, weights)
  finite = {name: v for name, v in values.items() if math.isfinite(v)}
  return TrivialScores(trivial.description, finite)
