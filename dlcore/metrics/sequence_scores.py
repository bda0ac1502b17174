"""Scores of predicted sequences against one or several references."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.metrics.edit_distance import edit_distance
from dlcore.metrics.weighted_sums import ratio


class Sequences(NamedTuple):
  """N sequences of ids with different lengths."""

  ids: np.ndarray
  """int `[N, T]`."""

  lengths: np.ndarray
  """int `[N]`, at most T; what follows has no meaning."""

  @classmethod
  def before(cls, ids: np.ndarray, end_id: int) -> "Sequences":
    """Returns rows up to their first end, or whole rows without one."""
    ends = ids == end_id
    lengths = np.where(ends.any(1), ends.argmax(1), ids.shape[1])
    return cls(ids, lengths)

  def rows(self) -> list[list[int]]:
    """Returns the sequences as lists."""
    pairs = zip(self.ids, self.lengths, strict=True)
    return [ids[:length].tolist() for ids, length in pairs]


def error_rates(
  predicted: Sequences, references: Sequences, groups: np.ndarray
) -> dict[str, float]:
  """Returns `exact_match` and `error_rate` of sequences.

  The error rate is the edit distance divided by the length of the reference,
  both summed over all sequences. Of several references, the one with the least
  distance counts.

  Args:
    predicted: N sequences.
    references: of each.
    groups: see `least_errors`.
  """
  best, errors = least_errors(predicted, references, groups)
  total = references.lengths[best].sum()
  return {
    "exact_match": float(np.mean(errors == 0)),
    "error_rate": ratio(float(errors.sum()), float(total)),
  }


def least_errors(
  predicted: Sequences, references: Sequences, groups: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns the best reference of each example, and the distance to it.

  Args:
    predicted: N sequences.
    references: of each.
    groups: int `[N]`; rows of one group have one prediction, and their
      references are those of one example.

  Returns:
    The rows with the least edit distance of their group, and these distances,
    int `[G]` in the order of the groups.
  """
  errors = edit_distance(*predicted, *references)
  order = np.lexsort((errors, groups))
  is_first = np.diff(groups[order], prepend=groups.min() - 1) > 0
  best = order[is_first]
  return best, errors[best]


def words_as_ids(texts: Sequence[Sequence[str]]) -> list[Sequences]:
  """Returns the words of texts as ids of one vocabulary.

  Args:
    texts: several lists of N texts, such as predictions and references.
  """
  vocabulary: dict[str, int] = {}

  def to_ids(part: Sequence[str]) -> Sequences:
    rows = [
      [vocabulary.setdefault(word, len(vocabulary)) for word in text.split()]
      for text in part
    ]
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), max(1, lengths.max())), -1)
    for i, row in enumerate(rows):
      ids[i, : len(row)] = row
    return Sequences(ids, lengths)

  return [to_ids(part) for part in texts]


def grouped_texts(
  predicted: Sequence[str], references: Sequence[str], groups: np.ndarray
) -> tuple[list[str], list[list[str]]]:
  """Returns the texts of each group, and its references."""
  texts: dict[int, str] = {}
  others: dict[int, list[str]] = {}
  rows = zip(groups.tolist(), predicted, references, strict=True)
  for group, text, reference in rows:
    texts.setdefault(group, text)
    others.setdefault(group, []).append(reference)
  return list(texts.values()), list(others.values())
