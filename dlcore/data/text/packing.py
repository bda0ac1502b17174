"""Rows of one length from documents of tokens, for language models.

Documents are flat ids `[M]` and offsets `[D + 1]`: document d is
`ids[offsets[d] : offsets[d + 1]]`. A label is the token after that of the
input, also where a cut separates the two.
"""

import bisect
import math
from typing import NamedTuple

import numpy as np

from dlcore.data.info import IGNORED, LABELS, TOKENS
from dlcore.errors import UserError


class Packing(NamedTuple):
  """Rows of tokens."""

  arrays: dict[str, np.ndarray]
  """`input_ids` and `labels`, int32 `[N, T]`, and from `packed` also
  `segment_ids` and `positions`."""

  documents: np.ndarray
  """Number of the document of each label, int32 `[N, T]`, of those that have
  tokens; -1 where the label is `IGNORED`."""

  padding: float
  """Share of the positions that hold no token."""


def contiguous(
  ids: np.ndarray,
  offsets: np.ndarray,
  length: int,
  *,
  end_id: int | None = None,
  pad_id: int = 0,
) -> Packing:
  """Cuts the documents, joined to one sequence, into rows that follow.

  Every token but the first one of all is a label. The end token of a document
  predicts the first token of the next one, so that generation may start with
  it.

  Args:
    ids: integers `[M]`, tokens of all documents.
    offsets: integers `[D + 1]`, see the module.
    length: T, number of tokens of a row.
    end_id: the token that is added to every document, if any.
    pad_id: the token that fills the last row.

  Raises:
    UserError: there are fewer than two tokens.
  """
  _check_length(length)
  ids, offsets = _end_documents(ids, offsets, end_id)
  count = len(ids) - 1  # The last token is a label only.
  if count < 1:
    raise UserError(
      "expected texts of at least two tokens for a language model",
      f"got {len(ids)}",
    )
  shape = (-(-count // length), length)
  return Packing(
    {
      TOKENS: _filled(ids[:-1], shape, pad_id),
      LABELS: _filled(ids[1:], shape, IGNORED),
    },
    _filled(_documents(offsets)[1:], shape, -1),
    1 - count / math.prod(shape),
  )


def packed(
  ids: np.ndarray,
  offsets: np.ndarray,
  length: int,
  *,
  end_id: int | None = None,
  pad_id: int = 0,
  scored: np.ndarray | None = None,
) -> Packing:
  """Puts whole documents together in rows, by best fit of decreasing lengths.

  Documents longer than a row are cut into pieces, which then are segments of
  their own (Ding et al. 2024, "Fewer truncations improve language modeling",
  arXiv:2404.10830). Every token is an input once, and a label once unless it is
  the first of its document.

  Args:
    ids: integers `[M]`, tokens of all documents.
    offsets: integers `[D + 1]`, see the module.
    length: T, number of tokens of a row.
    end_id: the token that is added to every document, if any.
    pad_id: the token that fills the ends of rows.
    scored: bool `[M]`, the tokens that are labels; by default all are. It is
      not combined with `end_id`.

  Returns:
    Rows with `segment_ids`, which count the segments of a row from 1 and are 0
    for padding, and `positions`, which restart at 0 in every segment.

  Raises:
    UserError: there are no tokens.
  """
  _check_length(length)
  ids, offsets = _end_documents(ids, offsets, end_id)
  if not len(ids):
    raise UserError("expected texts with tokens", "got none")
  labels, documents = np.append(ids[1:], IGNORED), _documents(offsets)
  ignored = np.zeros(len(ids), bool)
  ignored[offsets[1:] - 1] = True
  if scored is not None:
    ignored |= ~np.append(scored[1:], False)
  labels[ignored], documents[ignored] = IGNORED, -1
  starts, sizes = _pieces(offsets, length)
  rows = best_fit(sizes, length)
  order = np.lexsort((starts, rows))
  starts, sizes, rows = starts[order], sizes[order], rows[order]
  first = _first_of_row(rows)
  ends = np.cumsum(sizes)
  columns = ends - sizes - (ends - sizes)[first]
  positions = np.arange(len(ids)) - np.repeat(ends - sizes, sizes)
  source = np.repeat(starts, sizes) + positions
  target = np.repeat(rows.astype(np.int64) * length + columns, sizes)
  target += positions
  segments = np.repeat(1 + np.arange(len(rows)) - first, sizes)
  shape = (int(rows[-1]) + 1, length)

  def place(values: np.ndarray, fill: int) -> np.ndarray:
    flat = np.full(shape[0] * length, fill, np.int32)
    flat[target] = values
    return flat.reshape(shape)

  return Packing(
    {
      TOKENS: place(ids[source], pad_id),
      LABELS: place(labels[source], IGNORED),
      "segment_ids": place(segments, 0),
      "positions": place(positions, 0),
    },
    place(documents[source], -1),
    1 - len(ids) / math.prod(shape),
  )


PACKINGS = {"contiguous": contiguous, "packed": packed}
"""Ways to make rows of documents, by name."""


def best_fit(sizes: np.ndarray, capacity: int) -> np.ndarray:
  """Returns the row of each piece, int32 `[P]`.

  The pieces are placed by decreasing size, each in the row with the least free
  space that holds it, or in a new row.

  Args:
    sizes: integers `[P]` from 1 to `capacity`.
    capacity: the size of a row.
  """
  rows = np.empty(len(sizes), np.int32)
  order = np.argsort(-sizes, kind="stable")
  rows_by_space: dict[int, list[int]] = {}
  spaces: list[int] = []  # Ascending, those that a row has.
  count = 0
  for piece, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
    at = bisect.bisect_left(spaces, size)
    if at == len(spaces):
      row, space = count, capacity
      count += 1
    else:
      space = spaces[at]
      row = rows_by_space[space].pop()
      if not rows_by_space[space]:
        del spaces[at]
    rows[piece] = row
    if space > size:
      others = rows_by_space.setdefault(space - size, [])
      if not others:
        bisect.insort(spaces, space - size)
      others.append(row)
  return rows


def _check_length(length: int) -> None:
  if length < 1:
    raise UserError("expected max_length of at least 1", f"got {length}")


def _end_documents(
  ids: np.ndarray, offsets: np.ndarray, end_id: int | None
) -> tuple[np.ndarray, np.ndarray]:
  """Returns int32 ids and int64 offsets of the documents that have tokens."""
  ids = np.asarray(ids, np.int32)
  offsets = np.unique(np.asarray(offsets, np.int64))
  if end_id is None:
    return ids, offsets
  ids = np.insert(ids, offsets[1:], end_id)
  return ids, offsets + np.arange(len(offsets))


def _documents(offsets: np.ndarray) -> np.ndarray:
  """Returns the document of each token, int32 `[M]`."""
  count = np.arange(len(offsets) - 1, dtype=np.int32)
  return np.repeat(count, np.diff(offsets))


def _filled(
  values: np.ndarray, shape: tuple[int, int], fill: int
) -> np.ndarray:
  """Returns values `[M]` as int32 of `shape`, with `fill` at the end."""
  rows = np.full(shape, fill, np.int32)
  rows.reshape(-1)[: len(values)] = values
  return rows


def _pieces(offsets: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
  """Returns start and size of the pieces of all documents, int64 `[P]`."""
  sizes = np.diff(offsets)
  counts = -(-sizes // length)
  first = np.repeat(np.cumsum(counts) - counts, counts)
  starts = np.repeat(offsets[:-1], counts)
  starts += (np.arange(len(first)) - first) * length
  return starts, np.minimum(np.repeat(offsets[1:], counts) - starts, length)


def _first_of_row(rows: np.ndarray) -> np.ndarray:
  """Returns for each of ascending rows the index of its first occurrence."""
  return np.searchsorted(rows, rows, side="left")
