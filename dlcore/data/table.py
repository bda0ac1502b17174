"""Own tables: CSV files with a line of column names."""

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
from dlcore.data.table_text import File, places, read_file, read_rows
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

  def build() -> Splits:
    files = {name: read_file(file) for name, file in paths.items()}
    names = _wanted(files["train"], target, columns, categorical)
    rows = {
      name: read_rows(file, [*names, target]) for name, file in files.items()
    }
    encoding = [
      {
        "column": name,
        "categories": names_of(rows["train"], place)
        if name in categorical
        else None,
      }
      for place, name in enumerate(names)
    ]
    about = {
      "name": "table_csv",
      "input": "features",
      "target": "target",
      "columns": encoded_names(encoding),
      "encoding": encoding,
    }
    classes = {name: names_of(part, -1) for name, part in rows.items()}
    notes = []
    if task == "classification" or (
      task == "auto" and are_classes(classes["train"])
    ):
      notes = split.compare_classes(classes)
      about |= {"target": "label", "classes": classes["train"]}
    encoders = [*encoding, {"column": target, "categories": None}]
    parts, bad = {}, []
    for name, part in rows.items():
      parts[name], wrong = to_arrays(part, encoders, about)
      bad += wrong
    notes += judge(bad, on_bad, parts)
    return split.make(
      parts,
      {**about, "notes": notes},
      hashes=hash_rows(np.column_stack(list(parts["train"].values()))),
      valid_fraction=valid_fraction,
      test_fraction=test_fraction,
    )

  return cache.splits(
    build,
    name="table_csv",
    key={
      "splits": sorted(paths),
      "target": target,
      "columns": columns,
      "categorical": categorical,
      "task": task,
      "on_bad": on_bad,
      "fractions": (valid_fraction, test_fraction),
    },
    files=paths.values,
    folder=cache_dir,
  )


def read_table(
  path: pathlib.Path | str, about: Mapping[str, Any]
) -> tuple[np.ndarray, list[str]]:
  """Reads a table as a model wants it that was trained on `about`.

  Columns that the model does not know, such as the target, are left out.

  Returns:
    float32 `[N, F]`, and the place of every row: `"file.csv:2"`.

  Raises:
    UserError: a column is missing, or rows cannot be read; they are listed.
  """
  file = read_file(pathlib.Path(path))
  plain = [{"column": name, "categories": None} for name in about["columns"]]
  entries = about.get("encoding") or plain
  rows = read_rows(file, [entry["column"] for entry in entries])
  values, kept, bad = encode(rows, [encoder(entry) for entry in entries])
  judge(bad, "error", {})
  return values.astype(np.float32), [row.where for row in kept]


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
