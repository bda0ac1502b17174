import itertools

import numpy as np
import pytest

from dlcore.data.text.packing import IGNORED, best_fit, contiguous, packed
from dlcore.errors import UserError


def documents(seed=0, count=60, longest=25):
  """Returns distinct ids from 10, and offsets, with some empty documents."""
  sizes = np.random.default_rng(seed).integers(0, longest, count)
  offsets = np.concatenate([[0], np.cumsum(sizes)])
  return 10 + np.arange(offsets[-1]), offsets


def test_contiguous_rows_are_one_sequence_whose_labels_follow():
  ids, offsets = documents()
  rows = contiguous(ids, offsets, 16, end_id=3)
  expected = []
  for start, stop in itertools.pairwise(offsets):
    expected += [*ids[start:stop], 3] if stop > start else []
  scored = rows.arrays["labels"].ravel() != IGNORED
  assert rows.arrays["input_ids"].ravel()[scored].tolist() == expected[:-1]
  assert rows.arrays["labels"].ravel()[scored].tolist() == expected[1:]
  assert rows.padding == pytest.approx(1 - scored.mean())
  assert scored.tolist() == sorted(scored, reverse=True)


@pytest.mark.parametrize("length", [1, 8, 100])
@pytest.mark.parametrize("end_id", [None, 3])
def test_packed_rows_lose_no_token_and_restart_in_every_segment(length, end_id):
  ids, offsets = documents()
  rows = packed(ids, offsets, length, end_id=end_id)
  x, y, segments, positions = (
    rows.arrays[name]
    for name in ("input_ids", "labels", "segment_ids", "positions")
  )
  kept = segments > 0
  tokens = x[kept]
  assert sorted(tokens[tokens >= 10].tolist()) == ids.tolist()
  num_documents = np.count_nonzero(np.diff(offsets))
  ends = 0 if end_id is None else num_documents
  assert len(tokens) == len(ids) + ends
  assert rows.padding == pytest.approx(1 - kept.mean())
  # Every token but the first of a document is a label once.
  assert np.sum(y != IGNORED) == len(tokens) - num_documents
  firsts = set(ids[offsets[:-1][np.diff(offsets) > 0]].tolist())
  real = y[y >= 10]
  assert sorted(real.tolist()) == sorted(set(ids.tolist()) - firsts)
  assert (y[~kept] == IGNORED).all()
  follows = (y >= 10) & (x >= 10)
  np.testing.assert_array_equal(y[follows], x[follows] + 1)
  for row, (numbers, places) in enumerate(
    zip(segments, positions, strict=True)
  ):
    count = int(numbers.max())
    assert numbers[numbers > 0].tolist() == sorted(numbers[numbers > 0])
    for segment in range(1, count + 1):
      inside = numbers == segment
      np.testing.assert_array_equal(places[inside], np.arange(inside.sum()))
      # A segment is a piece of one document.
      piece = x[row][inside]
      piece = piece[piece >= 10]
      document = np.searchsorted(offsets, piece - 10, side="right")
      assert len(set(document.tolist())) <= 1


def test_a_document_is_cut_only_if_it_is_longer_than_a_row():
  ids, offsets = documents(longest=20)
  rows = packed(ids, offsets, 20)
  assert rows.arrays["positions"].size == rows.arrays["labels"].size
  num_segments = sum(row.max() for row in rows.arrays["segment_ids"])
  assert num_segments == np.count_nonzero(np.diff(offsets))


def test_labels_know_their_documents():
  ids, offsets = documents()
  starts = np.unique(offsets)
  for rows in (contiguous(ids, offsets, 7), packed(ids, offsets, 7)):
    labels = rows.arrays["labels"]
    scored = labels != IGNORED
    assert (rows.documents[~scored] == -1).all()
    expected = np.searchsorted(starts, labels[scored] - 10, side="right") - 1
    np.testing.assert_array_equal(rows.documents[scored], expected)


def test_best_fit_fills_rows_that_first_fit_leaves_open():
  # 6 + 4 and 5 + 3 + 2: the 2 fits the row with less space only.
  rows = best_fit(np.array([6, 5, 4, 3, 2]), 10)
  assert rows.tolist() == [0, 1, 0, 1, 1]
  sizes = np.random.default_rng(0).integers(1, 65, 5000)
  rows = best_fit(sizes, 64)
  totals = np.bincount(rows, sizes)
  assert totals.max() <= 64
  assert 1 - totals.mean() / 64 < 0.01


def test_a_text_of_one_token_is_refused():
  with pytest.raises(UserError, match="at least two tokens"):
    contiguous(np.array([5]), np.array([0, 1]), 4)
