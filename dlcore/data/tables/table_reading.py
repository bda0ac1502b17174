"""Reading of new tables with the encoding of the training data."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlcore.data.info import ReadBatch
from dlcore.data.tables.raw_columns import Chunk, RawTable, build_table
from dlcore.data.tables.table_formats import open_chunks, to_cell
from dlcore.data.tables.table_plan import ColumnPlan, bad_rows, encode_table
from dlcore.errors import UserError, nearest


def read_planned(
  path: Path, plans: Sequence[ColumnPlan], array: str, rows: int
) -> Iterator[ReadBatch]:
  """Yields the features of a file of any format of `table_formats`.

  Args:
    path: the file; columns without a plan, such as the target, are ignored.
    plans: see `encode_table`.
    array: name of the features.
    rows: largest number of rows in a batch.

  Raises:
    UserError: the file is missing or malformed, or lacks a column.
  """
  chunks, _, _ = open_chunks(path, rows, [plan.name for plan in plans])
  for chunk in chunks:
    yield _encode(path, chunk, plans, array)


def read_frame(
  frame: Any, plans: Sequence[ColumnPlan], array: str, rows: int
) -> Iterator[ReadBatch]:
  """Yields the features of a data frame, or of a dict of columns.

  Args:
    frame: an object with `columns` and `[name]`, or a mapping.
    plans: see `encode_table`.
    array: name of the features.
    rows: largest number of rows in a batch.

  Raises:
    UserError: a column is missing, or the columns differ in length.
  """
  columns = column_cells(frame, [plan.name for plan in plans])
  size = len(next(iter(columns.values()), ()))
  for start in range(0, size, rows):
    stop = min(start + rows, size)
    piece = {name: cells[start:stop] for name, cells in columns.items()}
    yield _encode("row", Chunk(range(start, stop), piece), plans, array)


def column_cells(frame: Any, names: Sequence[str]) -> dict[str, list[str]]:
  """Returns the cells of the named columns of a data frame as text.

  Raises:
    UserError: a column is missing, or the columns differ in length.
  """
  known = list(frame if isinstance(frame, Mapping) else frame.columns)
  _check_present(names, known, "the data frame")
  columns = {name: list(map(to_cell, frame[name])) for name in names}
  sizes = {name: len(cells) for name, cells in columns.items()}
  if len(set(sizes.values())) > 1:
    raise UserError("expected columns of one length", f"got {sizes}")
  return columns


def _encode(
  path: object, chunk: Chunk, plans: Sequence[ColumnPlan], array: str
) -> ReadBatch:
  errors = [(f"{path}:{line}", reason) for line, reason in chunk.errors]
  if not len(chunk.lines):
    return ReadBatch([], None, errors)
  names = [plan.name for plan in plans]
  _check_present(names, chunk.cells, path)
  cells = {name: chunk.cells[name] for name in names}
  table = build_table(path, [chunk._replace(cells=cells, errors=())])
  table, bad = without_bad_rows(table, plans)
  features = encode_table(plans, table.columns, len(table.lines))
  lines = [f"{path}:{line}" for line in table.lines.tolist()]
  errors += [(f"{path}:{line}", reason) for line, reason in bad]
  return ReadBatch(lines, {array: features} if lines else None, errors)


def without_bad_rows(
  table: RawTable, plans: Sequence[ColumnPlan]
) -> tuple[RawTable, list[tuple[int, str]]]:
  """Returns the rows with all required cells, and the lines of the others."""
  bad = dict(bad_rows(plans, table))
  if not bad:
    return table, []
  lines = [(int(table.lines[row]), reason) for row, reason in bad.items()]
  return table.take(np.delete(np.arange(len(table.lines)), list(bad))), lines


def _check_present(
  names: Sequence[str], known: Mapping[str, Any] | Sequence[str], where: object
) -> None:
  for name in names:
    if name not in known:
      raise UserError(
        f"expected a column {name!r} in {where}",
        f"got the columns {', '.join(map(str, known))}"[:400],
        nearest(name, map(str, known))[:400],
      )
