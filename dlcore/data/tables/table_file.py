"""Loading of tables of typed columns, as they are, as training data."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dlcore.data import cache
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.arrow_files import dataset_splits
from dlcore.data.tables.table_building import build_splits
from dlcore.data.tables.table_settings import TableSettings
from dlcore.errors import UserError


def table_file(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  target: str = "",
  targets: tuple = (),
  columns: tuple = (),
  exclude: tuple = (),
  categorical: tuple = (),
  weight: str = "",
  task: str = "auto",
  target_transform: str = "auto",
  missing: str = "impute",
  on_bad: str = "error",
  day_first: bool = False,
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
  """Loads a table with columns of any type and one target.

  The formats are CSV with commas, semicolons or tabs, JSON lines (each also
  .gz), Parquet, Arrow and folders of `datasets.save_to_disk`. The first line of
  a CSV file names the columns.

  The cells of a column decide its type: numbers (also with a decimal comma,
  thousands, percent or a currency), booleans, dates and times, or categories.
  Columns that number the rows, names, free text and constants are left out.
  Categories in fewer than 1% of the training rows, at most 10 rows, count as
  one; so do new ones in prediction. The statistics come from the training rows
  alone, and `info.notes` lists every change of a column.

  Args:
    path: one file, which is split.
    train, valid, test: in place of `path`, a file per split; missing ones are
      held out of train.
    target: the column to predict.
    targets: in place of `target`, columns of 0 and 1 or booleans, each of
      which is a label that an example may have.
    columns: the input columns; empty for all others.
    exclude: columns that are not inputs.
    categorical: columns whose numbers or texts are categories in any case.
    weight: column of the weights of rows in the loss and the metrics.
    task: `"classification"`, `"regression"`, `"multilabel"` or `"auto"`, which
      is classification if the target contains text, or at most 20 different
      integers that occur at least twice on average, and multilabel if its texts
      are lists such as "a;b".
    target_transform: `"log"` learns the logarithm of a number, `"none"` the
      number. `"auto"` is the logarithm of positive numbers with a skewness
      above 1 that it at least halves.
    missing: how to handle missing cells: `"impute"` replaces a number or date
      by the training median and marks it by a further feature, and makes
      missing categories one of their own; `"skip"` drops the row; `"error"`
      lists them. Rows without a target are dropped, or listed for `"error"`.
    on_bad: `"skip"` drops rows with a wrong number of fields; `"error"` lists
      them.
    day_first: whether 1/2/2020 is in February, where both orders fit a column.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group: column of groups, whose rows stay in one split.
    time: column of numbers or dates, whose latest rows are held out.
    split: column that names the split of each row.
    folds: number of folds of a cross-validation, 0 for none.
    fold: the fold that is the test split.
    duplicates: `"move"` moves rows that occur in several splits to train.
    stratify: whether all splits have the same share of each class.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed.
  """
  rule = SplitSettings.of(locals())
  settings = TableSettings(
    target=target,
    targets=targets,
    columns=columns,
    exclude=exclude,
    categorical=categorical,
    weight=weight,
    task=task,
    target_transform=target_transform,
    missing=missing,
    on_bad=on_bad,
    day_first=day_first,
    splits=rule,
  )
  settings.check()
  paths = table_paths(path, train, valid, test)
  return cache.splits(
    functools.partial(build_splits, paths, settings),
    name="table_file",
    key={
      "paths": {name: os.path.abspath(at) for name, at in paths.items()},
      **settings._asdict(),
    },
    files=functools.partial(table_files, paths),
    folder=cache_dir,
  )


def table_paths(
  path: str, train: str, valid: str, test: str
) -> dict[str, Path]:
  """Returns the file or folder of each split.

  One path may be a folder of `datasets.save_to_disk` with several splits.

  Raises:
    UserError: see `split_paths`; or such a folder has no split "train".
  """
  paths = split_paths(path, train, valid, test)
  inside = dataset_splits(paths["train"]) if path else {}
  if inside and "train" not in inside:
    raise UserError(
      f"expected a split 'train' in {path}", f"got {', '.join(inside)}"
    )
  known = {name: at for name, at in inside.items() if name in Splits._fields}
  return known or paths


def table_files(paths: Mapping[str, Path]) -> list[Any]:
  """Returns the files whose times and sizes identify the content."""
  files = []
  for path in paths.values():
    folder = os.path.isdir(path)
    files += [p for p in path.iterdir() if p.is_file()] if folder else [path]
  return files
