"""From tables with columns of texts to splits: rows and targets."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.source import Splits
from dlcore.data.split_checks import compare_classes
from dlcore.data.tables import encoding
from dlcore.data.tables.column_types import infer
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.row_division import columns_of_splits
from dlcore.data.tables.table_building import describe_target
from dlcore.data.tables.target_column import (
  Target,
  encode_target,
  infer_target,
  infer_targets,
  to_array,
)
from dlcore.data.text.building import TextPart, build_splits
from dlcore.data.text.text_files import read_text_table
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.text_settings import TextSettings


def build_tables(
  paths: Mapping[str, Path],
  columns: Sequence[str],
  targets: Sequence[str],
  settings: TextSettings,
  *,
  task: str,
  on_bad: str,
) -> Splits:
  """Reads and splits the tables; see `text_csv.text_csv`."""
  rule = settings.splits
  special = [name for name in (rule.group, rule.time, rule.split) if name]
  tables = {
    part: read_text_table(
      path, columns, [*targets, *(special if part == "train" else [])]
    )
    for part, path in paths.items()
  }
  train, _ = tables["train"]
  target = _target(train, targets, task)
  notes = [note for table, _ in tables.values() for note in table.notes]
  notes += _report_bad([table for table, _ in tables.values()], on_bad)
  parts, classes, missing = {}, {"train": target.classes}, []
  for part, (table, texts) in tables.items():
    values, known, others = encode_target(target, table.columns)
    classes[part] = (*target.classes, *sorted(others))
    rows = np.flatnonzero(known)
    names = _names(table)
    missing += [(names[i], "no target") for i in np.flatnonzero(~known)]
    parts[part] = TextPart(
      texts[columns[0]],
      texts[columns[1]] if len(columns) == 2 else None,
      {target.array: values},
      names,
      columns_of_splits(table, rule) if part == "train" else {},
    ).take(rows)
  if target.classes:
    compare_classes(classes)
  notes += _report_missing(missing, parts)
  schema = _schema(target, columns, parts["train"])
  notes += describe_target(target, schema)
  offset = schema.target_offset or 0.0
  parts = {
    part: content._replace(
      targets={
        name: to_array(values - offset, target)
        for name, values in content.targets.items()
      }
    )
    for part, content in parts.items()
  }
  return build_splits(parts, settings, "text_csv", schema, notes)


def _names(table: RawTable) -> list[str]:
  file = os.path.basename(table.path)
  return [f"{file}:{line}" for line in table.lines.tolist()]


def _target(train: RawTable, names: Sequence[str], task: str) -> Target:
  """Returns the meaning of the target columns."""
  columns = {name: train.columns[name] for name in names}
  found = {name: infer(c, train.decimal) for name, c in columns.items()}
  if len(names) > 1:
    return infer_targets(columns, found, task)
  [name] = names
  return infer_target(name, columns[name], found[name], task)


def _report_bad(tables: Sequence[RawTable], on_bad: str) -> list[str]:
  """Returns a note on malformed rows, or raises a UserError."""
  return bad_examples.report(
    [
      (f"{os.path.basename(table.path)}:{line}", why)
      for table in tables
      for line, why in table.errors
    ],
    on_bad,
    noun="bad rows",
    expected="expected rows with a field for every column",
    remedy='fix them, or skip them with on_bad="skip"',
    empty=False,
  )


def _report_missing(
  missing: Sequence[tuple[str, str]], parts: Mapping[str, TextPart]
) -> list[str]:
  """Returns a note on the rows without a target, or raises a UserError."""
  return bad_examples.report(
    missing,
    "skip",
    noun="rows without a target",
    expected="expected a target in some rows of every file",
    remedy="choose another column as the target",
    empty=not all(len(part.texts) for part in parts.values()),
  )


def _schema(
  target: Target, columns: Sequence[str], train: TextPart
) -> TextSchema:
  schema = TextSchema(
    classes=target.classes,
    multilabel=target.task == "multilabel",
    columns=tuple(columns),
  )
  if target.task != "regression":
    return schema
  offset = encoding.offset(train.targets[target.array])
  return TextSchema(columns=tuple(columns), target_offset=offset or None)
