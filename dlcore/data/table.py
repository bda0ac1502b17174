"""Own tables: CSV files with a line of column names."""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dlcore.data import cache, split
from dlcore.data.source import Splits, hash_rows
from dlcore.data.table_encoding import (
  are_classes,
  encode,
  encoded_names,
  encoder,
  judge,
  names_of,
  to_arrays,
)
from dlcore.data.table_text import File, Row, places, read_file, read_rows
from dlcore.errors import UserError, lookup, nearest

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
  """Loads a table: numbers in, a class or a number out.

  The files are UTF-8 with column names in the first line; comma, semicolon or
  tab separate the fields.

  Args:
    path: one file, divided into splits by a hash of the rows; or give
    train, valid, test: a file per split; what is missing is held out of train.
    target: the column to predict.
    columns: that are learned from; empty for all but the target.
    categorical: those of them that hold names: each name becomes a column.
    task: `"classification"`, `"regression"`, or `"auto"`: classification where
      the target holds text or at most 20 different integers.
    on_bad: what to do with rows that have empty cells, text in place of a
      number, NaN, or too few fields: `"error"` lists them, `"skip"` goes on.
    valid_fraction: share of train for validation where no file is given.
    test_fraction: likewise.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is not as it must be.
  """
  paths = split.paths(path, train, valid, test)
  lookup(dict.fromkeys(TASKS), task, "kind of task")
  lookup(dict.fromkeys(split.ON_BAD), on_bad, "way with bad examples")
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
  """Reads and divides the tables; see `table_csv`."""
  files = {name: read_file(file) for name, file in paths.items()}
  names = _wanted(files["train"], target, columns, categorical)
  rows = {
    name: read_rows(file, [*names, target]) for name, file in files.items()
  }
  about = _describe(rows, names, categorical, task)
  encoders = [*about["encoding"], {"column": target, "categories": None}]
  parts, bad = {}, []
  for name, part in rows.items():
    parts[name], wrong = to_arrays(part, encoders, about)
    bad += wrong
  about["notes"] += judge(bad, on_bad, parts)
  return split.make(
    parts,
    about,
    hashes=hash_rows(np.column_stack(list(parts["train"].values()))),
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )


def _describe(
  rows: Mapping[str, Sequence[Row]],
  names: Sequence[str],
  categorical: Sequence[str],
  task: str,
) -> dict[str, Any]:
  """Returns `about` without what comes from the numbers.

  Args:
    rows: of every split, with the target in the last cell.
    names: of the columns to learn from.
    categorical: see `table_csv`.
    task: likewise.
  """
  train = rows["train"]
  encoding = [
    {
      "column": name,
      "categories": names_of(train, place) if name in categorical else None,
    }
    for place, name in enumerate(names)
  ]
  about = {
    "name": "table_csv",
    "input": "features",
    "target": "target",
    "columns": encoded_names(encoding),
    "encoding": encoding,
    "notes": [],
  }
  classes = {name: names_of(part, -1) for name, part in rows.items()}
  if task == "classification" or (
    task == "auto" and are_classes(classes["train"])
  ):
    about["notes"] = split.compare_classes(classes)
    about |= {"target": "label", "classes": classes["train"]}
  return about


def read_table(
  path: pathlib.Path | str, about: Mapping[str, Any]
) -> tuple[np.ndarray, list[str], list[tuple[str, str]]]:
  """Reads a table as a model wants it that was trained on `about`.

  Columns that the model does not know, such as the target, are left out.

  Returns:
    float32 `[N, F]` of the good rows in order, the place of each of them,
    `"file.csv:2"`, and the other rows as pairs (place, reason).

  Raises:
    UserError: there is no such table, or a column is missing.
  """
  file = read_file(pathlib.Path(path))
  plain = [{"column": name, "categories": None} for name in about["columns"]]
  entries = about.get("encoding") or plain
  rows = read_rows(file, [entry["column"] for entry in entries])
  values, kept, bad = encode(rows, [encoder(entry) for entry in entries])
  # The width is not that of the values where no row is good.
  values = values.astype(np.float32).reshape(-1, len(about["columns"]))
  return values, [row.where for row in kept], bad


def _wanted(
  file: File, target: str, columns: Sequence[str], categorical: Sequence[str]
) -> list[str]:
  """Returns the names of the columns to learn from."""
  if not target:
    raise UserError(
      "expected data.target to name the column to predict",
      "got nothing",
      nearest("", file.header),
    )
  places(file, [target, *columns, *categorical])
  names = list(columns) or [name for name in file.header if name != target]
  if not names or target in names or set(categorical) - set(names):
    raise UserError(
      "expected data.columns without the target, data.categorical among them",
      f"got {target=}, columns={tuple(names)}, {categorical=}",
    )
  return names
