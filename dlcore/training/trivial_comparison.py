"""The trivial answer beside the validation scores of a run of `fit`."""

from collections.abc import Mapping
from typing import Any

from dlcore import data, tasks
from dlcore.errors import UserError

REMEDY = "try another learning rate, more steps, or check the labels"


def compare_with_trivial(
  metrics: Mapping[str, float], best_by: str, splits: Mapping[str, data.Source]
) -> dict[str, Any]:
  """Returns `trivial`, `trivial_answer` and `best_by` of a summary.

  They are the scores of always answering the most frequent class, or the mean.
  `fit` does not know the kind of its task, so the data decides: metrics of a
  kind that suits them are those of that name in `METRICS`. The loss is not
  compared, which may be any function.

  Args:
    metrics: of the best step, by `split/name`.
    best_by: see `fit`.
    splits: the sources by name, `"train"` included. Streams with unknown
      labels are left out.
  """
  info, kind = splits["train"].info, _kind(splits["train"].info)
  content: dict[str, Any] = {"trivial": {}, "best_by": best_by}
  for split, source in splits.items():
    names = [
      key.rpartition("/")[2]
      for key in metrics
      if key.rpartition("/")[0] == split and key != f"{split}/loss"
    ]
    targets = source.known if source.arrays is None else source.arrays
    if kind is None or not names:
      continue
    answer, values = tasks.trivial_scores(kind, names, targets, info)
    content["trivial"] |= {f"{split}/{name}": v for name, v in values.items()}
    content["trivial_answer"] = answer
  return content


def _kind(info: data.DataInfo) -> tasks.Assessable | None:
  """Returns how predictions of the first kind that suits the data score."""
  for kind in tasks.TASKS.values():
    if kind.assessable is None:  # It may suit any data, as masked tokens do.
      continue
    try:
      kind.check_data(info)
    except UserError:
      continue
    return kind.assessable
  return None
