"""Loading of CSV files with a header line as training data."""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data import bad_examples, cache, split
from dlcore.data.source import Splits, hash_rows
from dlcore.data.tables.csv_text import (
  File,
  Row,
  column_positions,
  read_file,
  read_rows,
)
from dlcore.data.tables.encoding import (
  are_classes,
  class_encoder,
  distinct_values,
  encoder,
  to_arrays,
)
from dlcore.data.tables.table_schema import Column, TableSchema
from dlcore.errors import UserError, check_choice, nearest

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
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  cache_dir: str = "",
) -> Splits:
  """Loads a table with numeric or categorical columns and one target column.

  The files are UTF-8 with column names in the first line. Fields are separated
  by comma, semicolon or tab.

  Args:
    path: one file, which is split by a hash of the rows. Alternatively pass
    train, valid, test: a file per split; missing ones are held out of train.
    target: the column to predict.
    columns: the input columns; empty for all but the target.
    categorical: the input columns that are encoded one-hot.
    task: `"classification"`, `"regression"` or `"auto"`, which is
      classification if the target contains text or at most 20 distinct
      integers.
    on_bad: how to handle rows with empty cells, text in place of a number,
      non-finite numbers or a wrong number of fields: `"error"` lists them,
      `"skip"` drops them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed.
  """
  paths = split.split_paths(path, train, valid, test)
  check_choice("task", task, TASKS)
  bad_examples.check_on_bad(on_bad)
  settings = {
    "target": target,
    "columns": columns,
    "categorical": categorical,
    "task": task,
    "on_bad": on_bad,
    "valid_fraction": valid_fraction,
    "test_fraction": test_fraction,
  }
  return cache.splits(
    functools.partial(_build, paths, **settings),
    name="table_csv",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      **settings,
    },
    files=paths.values,
    folder=cache_dir,
  )


def _build(
  paths: Mapping[str, pathlib.Path],
  *,
  target: str,
  columns: Sequence[str],
  categorical: Sequence[str],
  task: str,
  on_bad: str,
  valid_fraction: float,
  test_fraction: float,
) -> Splits:
  """Reads and splits the tables; see `table_csv`."""
  files = {name: read_file(file) for name, file in paths.items()}
  names = _input_columns(files["train"], target, columns, categorical)
  rows = {
    name: read_rows(file, [*names, target]) for name, file in files.items()
  }
  schema, notes = _describe(rows, names, categorical, task)
  encoders: list[Any] = [encoder(part.categories) for part in schema.encoding]
  encoders.append(
    class_encoder(schema.classes) if schema.classes else encoder(None)
  )
  parts, errors = {}, []
  for name, part in rows.items():
    parts[name], bad = to_arrays(part, encoders, schema.target)
    errors += bad
  skipped = bad_examples.report(
    errors,
    on_bad,
    noun="bad rows",
    expected="expected a number or a category in every cell of the table",
    remedy="fix them, select other columns, name text columns in categorical, "
    'or skip them with on_bad="skip"',
    empty=not all(len(arrays["features"]) for arrays in parts.values()),
  )
  return split.make(
    parts,
    schema,
    name="table_csv",
    notes=[*notes, *skipped],
    hashes=hash_rows(np.column_stack(list(parts["train"].values()))),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def _describe(
  rows: Mapping[str, Sequence[Row]],
  names: Sequence[str],
  categorical: Sequence[str],
  task: str,
) -> tuple[TableSchema, list[str]]:
  """Returns the schema without statistics, and notes for the user.

  Args:
    rows: of every split, with the target in the last cell.
    names: the input columns.
    categorical: see `table_csv`.
    task: likewise.
  """
  train = rows["train"]
  encoding = tuple(
    Column(
      name, distinct_values(train, position) if name in categorical else None
    )
    for position, name in enumerate(names)
  )
  features = tuple(name for column in encoding for name in column.features)
  values = {name: distinct_values(part, -1) for name, part in rows.items()}
  if task == "regression" or (
    task == "auto" and not are_classes(values["train"])
  ):
    return TableSchema(target="target", columns=features, encoding=encoding), []
  schema = TableSchema(
    target="label",
    classes=values["train"],
    columns=features,
    encoding=encoding,
  )
  return schema, split.compare_classes(values)


def _input_columns(
  file: File, target: str, columns: Sequence[str], categorical: Sequence[str]
) -> list[str]:
  """Returns the names of the input columns."""
  if not target:
    raise UserError(
      "expected target to name the column to predict",
      "got nothing",
      nearest("", file.header),
    )
  column_positions(file, [target, *columns, *categorical])
  names = list(columns) or [name for name in file.header if name != target]
  if not names or target in names or set(categorical) - set(names):
    raise UserError(
      "expected columns without the target, and categorical among them",
      f"got {target=}, columns={tuple(names)}, {categorical=}",
    )
  return names
