"""Loading of CSV files with a header line as training data."""

import datetime
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from dlcore.data import bad_examples, cache
from dlcore.data.source import Arrays, Splits, hash_rows
from dlcore.data.split import make_splits, split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables import encoding
from dlcore.data.tables.csv_columns import (
  Split,
  describe,
  input_columns,
  with_offsets,
)
from dlcore.data.tables.csv_text import (
  Table,
  check_columns,
  number,
  open_table,
  read_rows,
)
from dlcore.data.tables.table_schema import TableSchema
from dlcore.errors import check_choice

TASKS = ("auto", "classification", "regression")


def table_csv(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  target: str = "",
  columns: tuple = (),
  categorical: tuple = (),
  task: str = "auto",
  shift: bool = True,
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  group: str = "",
  time: str = "",
  split: str = "",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
  cache_dir: str = "",
) -> Splits:
  """Loads a table with numeric or categorical columns and one target column.

  The files are UTF-8 with column names in the first line. Fields are separated
  by comma, semicolon or tab. The bounds are 65,536 columns, 2^24 characters in
  a row, 10,000 categories in a column and 2^27 numbers.

  Args:
    path: one file, which is split by a hash of the rows.
    train, valid, test: in place of `path`, a file per split; missing ones are
      held out of train.
    target: the column to predict.
    columns: the input columns; empty for all but the target and those that
      `group`, `time` and `split` name.
    categorical: the input columns that are encoded one-hot.
    task: `"classification"`, `"regression"` or `"auto"`, which is
      classification if the target contains text or at most 20 distinct
      integers. Numbers of equal value such as "1" and "1.0" are one class.
    shift: whether to subtract a constant from numeric columns that float32
      would round by more than a millionth of their standard deviation, such
      as times since 1970. Predictions of the target are in its own units.
    on_bad: how to handle rows with empty cells, text in place of a number,
      non-finite numbers or a wrong number of fields: `"error"` lists them,
      `"skip"` drops them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group: a column; rows of one group, such as a patient, stay in one split.
    time: a column of numbers or dates; the latest rows are test, those before
      them valid.
    split: a column that names the split, see `SPLIT_NAMES`.
    folds, fold: number of folds of train, and the one that is test.
    duplicates: `"move"` moves rows that occur in several splits to train.
    stratify: whether all splits have the same share of each class.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed.
  """
  paths = split_paths(path, train, valid, test)
  check_choice("task", task, TASKS)
  bad_examples.check_on_bad(on_bad)
  rule = SplitSettings.of(locals())
  settings = {
    "target": target,
    "columns": columns,
    "categorical": categorical,
    "task": task,
    "shift": shift,
    "on_bad": on_bad,
  }
  return cache.splits(
    functools.partial(_build, paths, rule, **settings),
    name="table_csv",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      **settings,
      **rule._asdict(),
    },
    files=paths.values,
    folder=cache_dir,
  )


def _build(
  paths: Mapping[str, pathlib.Path],
  rule: SplitSettings,
  *,
  target: str,
  columns: Sequence[str],
  categorical: Sequence[str],
  task: str,
  shift: bool,
  on_bad: str,
) -> Splits:
  """Reads and splits the tables; see `table_csv`."""
  tables = {name: open_table(file) for name, file in paths.items()}
  train = tables["train"]
  check_columns(train, list(filter(None, (rule.group, rule.time, rule.split))))
  names = input_columns(train, target, columns, categorical, rule)
  files = {
    name: Split(table, [*names, target]) for name, table in tables.items()
  }
  schema, notes = describe(files, categorical, task)
  encoders = [part.encoder for part in schema.encoding]
  encoders.append(
    encoding.category_encoder(schema.classes)
    if schema.classes
    else encoding.number_encoder
  )
  encoded = {
    name: encoding.encode(file.rows(), file.names, encoders)
    for name, file in files.items()
  }
  skipped = bad_examples.report(
    [
      (f"{files[name].table.path}:{line}", reason)
      for name, part in encoded.items()
      for line, reason in part.errors
    ],
    on_bad,
    noun="bad rows",
    expected="expected a number or a category in every cell of the table",
    remedy="fix them, select other columns, name text columns in categorical, "
    'or skip them with on_bad="skip"',
    empty=not all(len(part.lines) for part in encoded.values()),
  )
  values = {name: part.values for name, part in encoded.items()}
  # A held out row may decide an offset, which changes no more than rounding.
  if shift:
    schema = with_offsets(schema, values["train"])
  parts = {name: _to_arrays(part, schema) for name, part in values.items()}
  lines = encoded["train"].lines
  return make_splits(
    parts,
    schema,
    name="table_csv",
    notes=[*notes, *schema.describe_offsets(target), *skipped],
    hashes=_hashes(values["train"], parts["train"], schema),
    names={
      name: [f"{files[name].table.path.name}:{line}" for line in part.lines]
      for name, part in encoded.items()
    },
    groups=_cells(train, rule.group, lines),
    times=_times(_cells(train, rule.time, lines)),
    assigned=_cells(train, rule.split, lines),
    **rule.arguments(),
  )


def _cells(table: Table, column: str, lines: np.ndarray) -> list[str] | None:
  """Returns the cells of a column in some lines, or None without a column."""
  if not column:
    return None
  kept = set(lines.tolist())
  rows = read_rows(table, [column])
  return [row.cells[0] for row in rows if row.line in kept]


def _times(cells: list[str] | None) -> np.ndarray | list[str] | None:
  """Returns cells that are all numbers, or all dates, as such."""
  if cells is None or not all(cells):
    return cells
  numbers = list(map(number, cells))
  if None not in numbers:
    return np.array(numbers)
  try:
    return np.array([_seconds(cell) for cell in cells])
  except ValueError:
    return cells


def _seconds(cell: str) -> float:
  """Returns an ISO 8601 date as seconds since 1970, in UTC without a zone."""
  date = datetime.datetime.fromisoformat(cell)
  return (
    date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
  ).timestamp()


def _hashes(
  values: np.ndarray, train: Arrays, schema: TableSchema
) -> list[str]:
  """Returns a hash of each training row, which decides its split."""
  if schema.offsets or schema.target_offset:
    return hash_rows(values)  # Rounded to float32, some would be equal.
  hashes = []
  for start in range(0, len(values), 1024):  # A piece may become float64.
    piece = [array[start : start + 1024] for array in train.values()]
    hashes += hash_rows(np.column_stack(piece))
  return hashes


def _to_arrays(values: np.ndarray, schema: TableSchema) -> Arrays:
  """Returns features and target, label (int32) or target (float32).

  Args:
    values: float64 `[N, P]` with the target in the last column.
    schema: with the offsets to subtract.
  """
  features = encoding.to_features(values[:, :-1], schema.widths, schema.offsets)
  target = values[:, -1] - (schema.target_offset or 0.0)
  dtype = np.int32 if schema.target == "label" else np.float32
  return {"features": features, schema.target: target.astype(dtype)}
