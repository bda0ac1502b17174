"""Edit distances equal those of the textbook's table, and error rates."""

import numpy as np
import pytest

from dlcore.metrics import (
  Sequences,
  edit_distance,
  error_rates,
  grouped_texts,
  words_as_ids,
)


def textbook(one, other):
  """The distance of two lists by the recurrence of its definition."""
  if not one or not other:
    return len(one) + len(other)
  return min(
    textbook(one[1:], other) + 1,
    textbook(one, other[1:]) + 1,
    textbook(one[1:], other[1:]) + (one[0] != other[0]),
  )


def padded(rows, width):
  """Sequences whose padding is random, as it has no meaning."""
  ids = np.random.default_rng(1).integers(0, 3, (len(rows), width))
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row
  return Sequences(ids, np.array([len(row) for row in rows]))


def test_distances_are_those_of_the_definition():
  random = np.random.default_rng(0)
  lengths = random.integers(0, 6, (40, 2))
  rows = [[random.integers(0, 3, n).tolist() for n in pair] for pair in lengths]
  ones, others = zip(*rows, strict=True)
  values = edit_distance(*padded(ones, 5), *padded(others, 7))
  assert values.tolist() == [textbook(*pair) for pair in rows]


def test_a_distance_is_symmetric_and_0_for_equal_sequences():
  random = np.random.default_rng(2)
  rows = [random.integers(0, 4, n).tolist() for n in (0, 1, 5, 8, 9)]
  others = [random.integers(0, 4, n).tolist() for n in (3, 0, 9, 2, 7)]
  one, other = padded(rows, 9), padded(others, 12)
  forward = edit_distance(*one, *other)
  np.testing.assert_array_equal(forward, edit_distance(*other, *one))
  assert edit_distance(*one, *one).tolist() == [0] * 5


def test_of_several_references_the_nearest_counts():
  predicted = padded([[1, 2, 3], [1, 2, 3], [4], [5, 5]], 4)
  references = padded([[1, 2], [1, 2, 3, 3, 3], [4], [5, 6, 5, 6]], 5)
  rates = error_rates(predicted, references, np.array([7, 7, 3, 9]))
  # Of group 7 the first, with one error in two tokens.
  assert rates == {"exact_match": 1 / 3, "error_rate": (1 + 0 + 2) / 7}
  apart = error_rates(predicted, references, np.arange(4))
  assert apart == {"exact_match": 1 / 4, "error_rate": 5 / 12}


def test_a_sequence_ends_before_its_first_end():
  rows = Sequences.before(
    np.array([[5, 3, 6, 3], [3, 1, 1, 1], [1, 2, 4, 5]]), 3
  )
  assert rows.rows() == [[5], [], [1, 2, 4, 5]]


def test_words_have_one_vocabulary():
  one, other = words_as_ids([["a b", ""], ["b  a c", "d"]])
  assert one.rows() == [[0, 1], []]
  assert other.rows() == [[1, 0, 2], [3]]
  rates = error_rates(one, other, np.arange(2))
  assert rates["error_rate"] == pytest.approx(3 / 4)


def test_texts_of_a_group_have_all_its_references():
  texts, references = grouped_texts(
    ["x", "x", "y"], ["a", "b", "c"], np.array([4, 4, 1])
  )
  assert (texts, references) == (["x", "y"], [["a", "b"], ["c"]])
