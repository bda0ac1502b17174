"""Precision, recall and F1 of entities that are tagged token by token.

A tag is `O` or a prefix and a type, such as `B-PER`. The prefixes are those of
IOB1, IOB2 and IOBES: B begins an entity, I continues it, E ends it, and S is an
entity of one token. Sequences of tags that no scheme allows have entities too:
they are those of the evaluation of the CoNLL-2000 shared task (Tjong Kim Sang &
Buchholz 2000), which seqeval computes by default.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.metrics.weighted_sums import ratio

OUTSIDE = "O"

TAG = re.compile("[BIES](-.+)?", re.DOTALL)


class Entities(NamedTuple):
  """Entities of a sequence of tokens, each `[E]`."""

  start: np.ndarray
  """Index of the first token."""

  stop: np.ndarray
  """Index after the last token."""

  kind: np.ndarray
  """Number of the type."""


def are_entity_tags(classes: Sequence[str]) -> bool:
  """Returns whether classes are tags of entities, with `O` for other tokens."""
  others = set(classes) - {OUTSIDE}
  has_outside = len(others) < len(classes)
  return has_outside and bool(others) and all(map(TAG.fullmatch, others))


def entity_scores(
  predicted: np.ndarray,
  labels: np.ndarray,
  scored: np.ndarray,
  weights: np.ndarray,
  classes: Sequence[str],
) -> dict[str, float]:
  """Returns precision, recall and F1 of the entities of all sequences.

  An entity counts if its first and last token and its type are right.

  Args:
    predicted: int `[N, T]`, positions in `classes`; -1 for no tag.
    labels: int `[N, T]`.
    scored: bool `[N, T]`, False for tokens that are left out of a sequence.
    weights: of the sequences, `[N]`.
    classes: the tags; `are_entity_tags`.

  Returns:
    `entity_precision`, `entity_recall` and `entity_f1`; as in seqeval, 0 where
    they are undefined.
  """
  rows = np.nonzero(scored)[0]
  found = find_entities(predicted[scored], rows, classes)
  actual = find_entities(labels[scored], rows, classes)
  # By first token, of which an entity has its own.
  stop, kind = np.full((2, len(rows)), -1)
  stop[actual.start], kind[actual.start] = actual.stop, actual.kind
  right = (stop[found.start] == found.stop) & (kind[found.start] == found.kind)
  weights = np.asarray(weights, np.float64)[rows]
  hits = weights[found.start[right]].sum()
  num_found = weights[found.start].sum()
  num_actual = weights[actual.start].sum()
  counts = {
    "entity_precision": (hits, num_found),
    "entity_recall": (hits, num_actual),
    "entity_f1": (2 * hits, num_found + num_actual),
  }
  return {
    name: ratio(*pair) if pair[1] else 0.0 for name, pair in counts.items()
  }


def find_entities(
  tags: np.ndarray, rows: np.ndarray, classes: Sequence[str]
) -> Entities:
  """Returns the entities of sequences of tags.

  Args:
    tags: int `[M]`, positions in `classes` of the tags of all tokens; -1 for no
      tag.
    rows: int `[M]`, the sequence of each token, ascending; an entity does not
      continue in the next one.
    classes: the tags by their numbers; `are_entity_tags`.
  """
  prefixes = np.array([*(name[0] for name in classes), OUTSIDE])
  _, kinds = np.unique([*(n[2:] for n in classes), ""], return_inverse=True)
  # Tables of C + 1 rows, of which the last is that of no tag.
  inside, may_continue, may_be_continued = (
    np.isin(prefixes, list(others))[tags] for others in ("BIES", "IE", "BI")
  )
  kind = kinds[tags]
  is_same = (rows[1:] == rows[:-1]) & (kind[1:] == kind[:-1])
  continues = np.zeros(len(tags), bool)
  continues[1:] = is_same & may_continue[1:] & may_be_continued[:-1]
  start = np.flatnonzero(inside & ~continues)
  stop = np.flatnonzero(inside & ~np.append(continues, False)[1:]) + 1
  return Entities(start, stop, kind[start])
