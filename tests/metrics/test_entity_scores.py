"""Entities of tags, and their precision, recall and F1.

The expected values are those of the rules of CoNLL-2000, counted by hand. On
2,000 random cases of eleven sets of tags they equal those of seqeval 1.2.2.
"""

import numpy as np
import pytest

from dlcore.metrics import are_entity_tags, entity_scores
from dlcore.metrics.entity_scores import find_entities


def numbered(sequences):
  """Returns the classes, tags `[M]` and rows `[M]` of lists of tags."""
  classes = sorted({tag for tags in sequences for tag in tags} | {"O"})
  tags = [classes.index(tag) for tags in sequences for tag in tags]
  rows = [i for i, tags in enumerate(sequences) for _ in tags]
  return classes, np.array(tags), np.array(rows)


@pytest.mark.parametrize(
  ("tags", "expected"),
  [
    ("B-a I-a O B-b", [(0, 2, "a"), (3, 4, "b")]),
    ("B-a B-a", [(0, 1, "a"), (1, 2, "a")]),
    ("I-a I-a O I-a", [(0, 2, "a"), (3, 4, "a")]),  # IOB1.
    ("I-a B-a", [(0, 1, "a"), (1, 2, "a")]),
    ("B-a I-b", [(0, 1, "a"), (1, 2, "b")]),
    ("B-a I-a E-a S-a", [(0, 3, "a"), (3, 4, "a")]),  # IOBES.
    ("E-a I-a", [(0, 1, "a"), (1, 2, "a")]),
    ("S-a I-a E-a", [(0, 1, "a"), (1, 3, "a")]),
    ("B-a E-b", [(0, 1, "a"), (1, 2, "b")]),
    ("O I-a-b I-a-b", [(1, 3, "a-b")]),
    ("B I O I", [(0, 2, ""), (3, 4, "")]),
    ("O O", []),
  ],
)
def test_entities_are_those_of_the_rules(tags, expected):
  tags = tags.split()
  classes, numbers, rows = numbered([tags])
  found = find_entities(numbers, rows, classes)
  spans = zip(found.start.tolist(), found.stop.tolist(), strict=True)
  kinds = [tags[start][2:] for start in found.start]
  assert [(*span, k) for span, k in zip(spans, kinds, strict=True)] == expected


def test_an_entity_ends_with_its_sequence():
  classes, tags, rows = numbered([["O", "B-a"], ["I-a", "I-a"]])
  found = find_entities(tags, rows, classes)
  assert found.start.tolist() == [1, 2]
  assert found.stop.tolist() == [2, 4]


CLASSES = ("O", "B-a", "I-a", "B-b")
ACTUAL = np.array([[1, 2, 0, 3], [1, 1, 2, 0]])
PREDICTED = np.array([[1, 2, 0, 1], [1, 1, 0, 3]])
"""Entities of the first row: a(0:2) right, b(3) as a; of the second: a(0)
right, a(1:3) as a(1:2), and one too many."""


def test_scores_are_ratios_of_counts():
  scored, weights = np.ones((2, 4), bool), np.ones(2)
  scores = entity_scores(PREDICTED, ACTUAL, scored, weights, CLASSES)
  assert scores == {
    "entity_precision": 2 / 5,
    "entity_recall": 2 / 4,
    "entity_f1": 4 / 9,
  }
  weights = np.array([3.0, 1.0])
  scores = entity_scores(PREDICTED, ACTUAL, scored, weights, CLASSES)
  assert scores["entity_precision"] == pytest.approx(4 / 9)
  assert scores["entity_recall"] == pytest.approx(4 / 8)


def test_tokens_that_are_not_scored_are_left_out():
  # Without the second token the entities of both are B-a I-a.
  actual, predicted = np.array([[1, 0, 2]]), np.array([[1, 3, 2]])
  scored = np.array([[True, False, True]])
  scores = entity_scores(predicted, actual, scored, np.ones(1), CLASSES)
  assert scores["entity_f1"] == 1


def test_undefined_scores_are_zero_and_no_tag_is_no_entity():
  actual, nothing = np.array([[1, 2]]), np.array([[-1, -1]])
  scored, weights = np.ones((1, 2), bool), np.ones(1)
  scores = entity_scores(nothing, actual, scored, weights, CLASSES)
  assert set(scores.values()) == {0.0}
  scores = entity_scores(nothing, nothing, scored, weights, CLASSES)
  assert set(scores.values()) == {0.0}


@pytest.mark.parametrize(
  ("classes", "expected"),
  [
    (("O", "B-PER", "I-PER"), True),
    (("O", "S-x-y", "E-x-y"), True),
    (("B", "I", "O"), True),
    (("O",), False),
    (("B-PER", "I-PER"), False),
    (("0", "1", "2"), False),
    (("O", "NOUN", "VERB"), False),
    (("O", "B-"), False),
    ((), False),
  ],
)
def test_entity_tags_are_recognized(classes, expected):
  assert are_entity_tags(classes) == expected
