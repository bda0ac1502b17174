"""Loading of texts, or pairs of texts, in the columns of tables."""

import functools
import os
from collections.abc import Sequence

from dlcore.data import bad_examples, cache
from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.table_file import table_files, table_paths
from dlcore.data.tables.table_settings import TASKS
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.text_tables import build_tables
from dlcore.errors import UserError, check_choice


def text_csv(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  text: str = "",
  pair: str = "",
  target: str = "",
  targets: tuple = (),
  task: str = "auto",
  tokenizer: str = "words",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 512,
  on_long: str = "truncate",
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
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads texts with classes, several labels or numbers to predict.

  The formats are CSV with commas, semicolons or tabs, JSON lines (each also
  .gz), Parquet, Arrow and folders of `datasets.save_to_disk`. White space in a
  text becomes single spaces. Rows with an empty text or without a target are
  left out; a note counts them. Another counts the texts that are in several
  splits, whatever their targets.

  Args:
    path: one file, which is split by a hash of the texts.
    train, valid, test: in place of `path`, a file per split; missing ones are
      held out of train.
    text: the column of the texts.
    pair: the column of the second text of each example; empty for single texts.
    target: the column to predict.
    targets: in place of `target`, columns of 0 and 1 or booleans, each of
      which is a label that an example may have.
    task: see `table_file`.
    tokenizer: `"words"`, `"characters"` or `"bytes"`, or the path of a
      tokenizer.json, see `make_tokenizer`.
    vocab_size: number of ids of words or characters, at most; 0 for any.
    min_count: occurrences of a word or character in the training texts, at
      least; rarer ones are unknown.
    lowercase: whether texts are converted to lower case, for the same kinds.
    max_length: number of tokens of an example, at most.
    on_long: `"truncate"` cuts the end of longer ones, `"error"` lists them.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group, time, split, folds, fold, duplicates, stratify: see
      `SplitSettings`.
    in_memory_limit: bytes of the token ids of all examples with padding; a
      larger data set is padded a batch at a time.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed.
  """
  settings = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    in_memory_limit=in_memory_limit,
    splits=SplitSettings.of(locals()),
  )
  settings.check()
  check_choice("task", task, TASKS)
  bad_examples.check_on_bad(on_bad)
  columns = (text, pair) if pair else (text,)
  _check_columns(columns, target, targets)
  paths = table_paths(path, train, valid, test)
  names = (target,) if target else tuple(targets)
  return cache.splits(
    functools.partial(
      build_tables, paths, columns, names, settings, task=task, on_bad=on_bad
    ),
    name="text_csv",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      "columns": columns,
      "target": target,
      "targets": targets,
      "task": task,
      "on_bad": on_bad,
      **settings._asdict(),
    },
    files=lambda: [*table_files(paths), *settings.files()],
    folder=cache_dir,
    max_bytes=4 * in_memory_limit,
  )


def _check_columns(
  columns: Sequence[str], target: str, targets: Sequence[str]
) -> None:
  names = [*columns, *targets, *([target] if target else [])]
  if not columns[0] or bool(target) == bool(targets):
    raise UserError(
      "expected text to name the column of the texts, and target the column to "
      "predict, or several in targets",
      f"got text={columns[0]!r}, {target=}, targets={tuple(targets)}",
    )
  if len(set(names)) < len(names):
    raise UserError(
      "expected different columns for texts and targets",
      f"got {', '.join(map(repr, names))}",
    )
