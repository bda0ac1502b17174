"""Own tables: CSV files with a line of column names."""

import csv
import functools
import io
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data import cache, split
from dlcore.data.source import Arrays, Splits, hash_rows
from dlcore.errors import UserError, lookup, nearest

FEW = 20
"""Up to so many distinct integers in a target are taken for classes."""

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
  paths = _paths(path, train, valid, test)
  lookup(dict.fromkeys(TASKS), task, "kind of task")
  lookup(dict.fromkeys(split.ON_BAD), on_bad, "way with bad examples")

  def build() -> Splits:
    files = {name: _read_file(file) for name, file in paths.items()}
    names = _wanted(files["train"], target, columns, categorical)
    rows = {name: _rows(file, [*names, target]) for name, file in files.items()}
    encoding = [
      {
        "column": name,
        "categories": _names(rows["train"], place)
        if name in categorical
        else None,
      }
      for place, name in enumerate(names)
    ]
    about = {
      "name": "table_csv",
      "input": "features",
      "target": "target",
      "columns": _encoded_names(encoding),
      "encoding": encoding,
    }
    classes = {name: _names(part, -1) for name, part in rows.items()}
    notes = []
    if task == "classification" or (
      task == "auto" and _are_classes(classes["train"])
    ):
      notes = split.compare_classes(classes)
      about |= {"target": "label", "classes": classes["train"]}
    encoders = [*encoding, {"column": target, "categories": None}]
    parts, bad = {}, []
    for name, part in rows.items():
      parts[name], wrong = _arrays(part, encoders, about)
      bad += wrong
    notes += _judge(bad, on_bad, parts["train"])
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
  file = _read_file(pathlib.Path(path))
  plain = [{"column": name, "categories": None} for name in about["columns"]]
  entries = about.get("encoding") or plain
  rows = _rows(file, [entry["column"] for entry in entries])
  values, kept, bad = _encode(rows, [_encoder(entry) for entry in entries])
  _judge(bad, "error", {})
  return values.astype(np.float32), [row.where for row in kept]


class _File(NamedTuple):
  """A table as text."""

  path: pathlib.Path
  header: list[str]
  lines: list[tuple[int, list[str]]]
  """The number of each line, as an editor counts, and its fields."""


class _Row(NamedTuple):
  """The wanted fields of one row, as text."""

  where: str
  names: Sequence[str]
  """Of the columns."""

  cells: list[str]
  bad: str
  """What is wrong with the row as a whole, if anything."""


def _paths(path: str, train: str, valid: str, test: str):
  if bool(path) == bool(train) or (path and (valid or test)):
    raise UserError(
      "expected data.path, or data.train with data.valid and data.test",
      f"got {path=}, {train=}, {valid=}, {test=}",
      "give one table to be divided, or a table per split",
    )
  given = {"train": path or train, "valid": valid, "test": test}
  return {
    name: pathlib.Path(file).expanduser()
    for name, file in given.items()
    if file
  }


def _read_file(path: pathlib.Path) -> _File:
  """Reads a table as text.

  Raises:
    UserError: there is no such file, it is not UTF-8 text, it is empty, or its
      first line does not name the columns.
  """
  if not path.is_file():
    raise UserError("expected a CSV file", f"got no file at {str(path)!r}")
  try:
    text = path.read_text("utf-8-sig")
  except UnicodeDecodeError as error:
    raise UserError(
      f"expected UTF-8 text in {path}", f"got {error}", "save it as UTF-8"
    ) from error
  # A quoted field may hold several lines, so a row's line is that after the
  # end of the row before.
  lines, before = [], 0
  reader = csv.reader(
    io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True
  )
  try:
    for fields in reader:
      if any(map(str.strip, fields)):
        lines.append((before + 1, [field.strip() for field in fields]))
      before = reader.line_num
  except csv.Error as error:
    raise UserError(
      f"expected a table in {path}", f"got line {reader.line_num}: {error}"
    ) from error
  if len(lines) < 2:
    raise UserError(
      f"expected a line of column names and rows below it in {path}",
      "got no rows" if lines else "got an empty file",
    )
  (_, header), *lines = lines
  doubled = sorted({name for name in header if header.count(name) > 1})
  if doubled or "" in header or None not in map(_number, header):
    raise UserError(
      f"expected a name for every column in the first line of {path}",
      f"got {doubled[0]!r} twice" if doubled else f"got {', '.join(header)}",
      "name each column once",
    )
  return _File(path, header, lines)


def _delimiter(text: str) -> str:
  """Returns the separator that makes the most fields of the first line."""
  first = next(iter(text.split("\n")), "")
  return max(",;\t", key=first.count)


def _wanted(
  file: _File, target: str, columns: Sequence[str], categorical: Sequence[str]
) -> list[str]:
  """Returns the names of the columns to learn from."""
  if not target:
    raise UserError(
      "expected data.target to name the column to predict",
      "got nothing",
      nearest("", file.header),
    )
  _places(file, [target, *columns, *categorical])
  names = list(columns) or [name for name in file.header if name != target]
  if not names or target in names or set(categorical) - set(names):
    raise UserError(
      "expected data.columns without the target, data.categorical among them",
      f"got {target=}, columns={tuple(names)}, {categorical=}",
    )
  return names


def _places(file: _File, names: Sequence[str]) -> list[int]:
  """Returns the positions of columns; an unknown name is an error."""
  for name in names:
    if name not in file.header:
      raise UserError(
        f"expected a column {name!r} in {file.path}",
        f"got the columns {', '.join(file.header)}",
        nearest(name, file.header),
      )
  return [file.header.index(name) for name in names]


def _rows(file: _File, names: Sequence[str]) -> list[_Row]:
  """Returns the cells of the named columns, row by row."""
  places, count = _places(file, names), len(file.header)
  rows = []
  for line, fields in file.lines:
    ragged = len(fields) != count
    rows.append(
      _Row(
        where=f"{file.path}:{line}",
        names=names,
        cells=[""] * len(places) if ragged else [fields[i] for i in places],
        bad=f"{len(fields)} fields in place of {count}" if ragged else "",
      )
    )
  return rows


def _number(cell: str) -> float | None:
  """Returns a number, also NaN, or None where the text is none."""
  try:
    return None if "_" in cell else float(cell)
  except ValueError:
    return None


def _are_classes(distinct: Sequence[str]) -> bool:
  """Whether the different values of a target are classes; see `table_csv`.

  Many values of which nearly all are numbers are a number column with mistakes
  in it, not that many classes.
  """
  numbers = [value for value in map(_number, distinct) if value is not None]
  if len(distinct) > FEW and len(numbers) >= 0.9 * len(distinct):
    return False
  integers = all(math.isfinite(x) and x == int(x) for x in numbers)
  return len(numbers) < len(distinct) or integers


def _names(rows: Sequence[_Row], place: int) -> list[str]:
  """Returns the different texts of a column: by number where all are numbers."""
  names = {row.cells[place] for row in rows} - {""}
  numbers = None not in map(_number, names)
  return sorted(names, key=float) if numbers else sorted(names)


def _encoded_names(encoding: Sequence[Mapping[str, Any]]) -> list[str]:
  names = []
  for entry in encoding:
    column, categories = entry["column"], entry["categories"]
    named = [f"{column}={name}" for name in categories or ()]
    names += [column] if categories is None else named
  return names


def _arrays(
  rows: Sequence[_Row],
  encoding: Sequence[Mapping[str, Any]],
  about: Mapping[str, Any],
) -> tuple[Arrays, list[tuple[str, str]]]:
  """Returns features and target of the good rows, and the bad rows."""
  encoders = [_encoder(entry) for entry in encoding]
  dtype = np.float32
  if about["target"] == "label":
    numbers = {name: [i] for i, name in enumerate(about["classes"])}
    encoders[-1] = functools.partial(_look_up, numbers)
    dtype = np.int32
  values, _, bad = _encode(rows, encoders)
  features = values[:, :-1].astype(np.float32)
  return {
    "features": features,
    about["target"]: values[:, -1].astype(dtype),
  }, bad


def _encode(
  rows: Sequence[_Row], encoders: Sequence[Callable[[str], list[float]]]
) -> tuple[np.ndarray, list[_Row], list[tuple[str, str]]]:
  """Returns float64 `[K, F]` of the good rows, these, and (where, what) is bad."""
  values, kept, bad = [], [], []
  for row in rows:
    try:
      if row.bad:
        raise ValueError(row.bad)
      numbers = []
      for place, encode in enumerate(encoders):
        numbers += encode(row.cells[place])
    except ValueError as error:
      column = "" if row.bad else f" in column {row.names[place]!r}"
      bad.append((row.where, f"{error}{column}"))
    else:
      values.append(numbers)
      kept.append(row)
  return np.array(values, np.float64), kept, bad


def _encoder(entry: Mapping[str, Any]) -> Callable[[str], list[float]]:
  """Returns what turns a cell of a column into numbers, or raises ValueError."""
  names = entry["categories"]
  if names is None:
    return _to_number
  one_hot = np.eye(len(names)).tolist()
  return functools.partial(_look_up, dict(zip(names, one_hot, strict=True)))


def _to_number(cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  number = _number(cell)
  if number is None:
    raise ValueError(f"{cell!r}, not a number,")
  if not abs(number) <= np.finfo(np.float32).max:
    raise ValueError(f"{cell}, not a finite float32,")
  return [number]


def _look_up(values: Mapping[str, list[float]], cell: str) -> list[float]:
  if not cell:
    raise ValueError("an empty cell")
  if cell not in values:
    raise ValueError(f"{cell!r}, which train does not have,")
  return values[cell]


def _judge(
  bad: Sequence[tuple[str, str]], on_bad: str, train: Arrays
) -> list[str]:
  """Returns a note on bad rows where they are skipped.

  Raises:
    UserError: there are bad rows and they are not to be skipped, or no others.
  """
  if not bad:
    return []
  shown = "; ".join(f"{where}: {what}" for where, what in bad[:10])
  more = f"; and {len(bad) - 10} more" if len(bad) > 10 else ""
  if on_bad == "error" or not len(train["features"]):
    raise UserError(
      "expected a number or a name in every cell of the table",
      f"got {len(bad)} bad rows: {shown}{more}",
      "mend them, choose other data.columns (text: data.categorical), or "
      "leave them out with data.on_bad=skip",
    )
  return [f"{len(bad)} bad rows were left out: {shown}{more}"]
