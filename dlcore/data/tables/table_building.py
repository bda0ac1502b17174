"""From table files to splits: rows, target, encoding and arrays."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.array_source import from_arrays
from dlcore.data.info import Schema
from dlcore.data.normalization import statistics
from dlcore.data.source import Arrays, Splits
from dlcore.data.split_plan import gather, name_examples
from dlcore.data.tables import encoding
from dlcore.data.tables.column_types import infer
from dlcore.data.tables.plan_fitting import Typed, describe_gaps, fit, scaled
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.row_division import divide
from dlcore.data.tables.row_selection import (
  Part,
  check_present,
  input_columns,
  select_rows,
)
from dlcore.data.tables.table_formats import read_file
from dlcore.data.tables.table_plan import ColumnPlan, encode_table
from dlcore.data.tables.table_schema import TableSchema
from dlcore.data.tables.table_settings import TableSettings
from dlcore.data.tables.target_column import (
  Target,
  infer_target,
  infer_targets,
  is_skewed,
  to_array,
)
from dlcore.errors import UserError


def build_splits(paths: Mapping[str, Path], settings: TableSettings) -> Splits:
  """Reads, types, splits and encodes the tables; see `table_file.table_file`.

  Every statistic comes from the training rows, so the rows are split before
  the encoding is fitted.
  """
  tables = {name: read_file(path) for name, path in paths.items()}
  train = tables["train"]
  names = input_columns(train, settings)
  target = _target(train, settings)
  for table in tables.values():
    weight = [settings.weight] if settings.weight else []
    check_present(table, [*names, *_target_names(settings), *weight])
  typed = {
    name: Typed(
      train.columns[name],
      infer(train.columns[name], train.decimal, settings.day_first),
    )
    for name in names
  }
  parts, notes = select_rows(tables, typed, target, settings)
  try:
    divided, of_splits = divide(parts, names, target, settings)
  except UserError as error:
    raise _with_notes(error, notes) from error
  rows = divided.of_train()["train"]
  size = sum(len(part.target) for part in parts.values())
  kept = {
    name: found._replace(column=parts["train"].table.columns[name])
    for name, found in typed.items()
  }
  plans, of_columns = fit(
    kept,
    rows,
    size=size,
    categorical=settings.categorical,
    chosen=settings.chosen,
    required=settings.missing != "impute",
  )
  if not plans:
    raise UserError(
      f"expected an input column with information in {train.path}",
      f"got none: {bad_examples.shorten(of_columns, '; ')}",
      "name columns in categorical to use them in any case",
    )
  of_columns += describe_gaps(plans, (part.table for part in parts.values()))
  values = parts["train"].target[rows]
  schema = _schema(plans, target, values, settings)
  files = [note for table in tables.values() for note in table.notes]
  notes = [*files, *notes, *describe_target(target, schema), *of_columns]
  arrays = {file: _arrays(part, target, schema) for file, part in parts.items()}
  splits = {
    split: gather(arrays, pieces) for split, pieces in divided.rows.items()
  }
  schema = _normalized(schema, splits["train"])
  sources = {
    split: from_arrays(
      of_split, name="table_file", schema=schema, notes=[*notes, *of_splits]
    )
    for split, of_split in splits.items()
  }
  sizes = {file: len(part.target) for file, part in parts.items()}
  lines = {file: part.names for file, part in parts.items()}
  return name_examples(Splits(**sources), divided, lines, sizes)


def _with_notes(error: UserError, notes: Sequence[str]) -> UserError:
  """Returns an error with the rows that were skipped before it."""
  expected, got, remedy = (*error.lines, "", "")[:3]
  got = "; ".join([got, *(note[:200] for note in notes)])
  return UserError(expected, got, remedy)


def _target_names(settings: TableSettings) -> Sequence[str]:
  return settings.targets or [settings.target]


def _target(train: RawTable, settings: TableSettings) -> Target:
  """Returns the meaning of the target columns."""
  names = _target_names(settings)
  found = {
    name: infer(train.columns[name], train.decimal, settings.day_first)
    for name in names
  }
  columns = {name: train.columns[name] for name in names}
  if settings.targets:
    return infer_targets(columns, found, settings.task)
  name = settings.target
  return infer_target(name, columns[name], found[name], settings.task)


def _schema(
  plans: tuple[ColumnPlan, ...],
  target: Target,
  values: np.ndarray,
  settings: TableSettings,
) -> TableSchema:
  """Returns the schema without the statistics of the features.

  Args:
    plans: of the columns.
    target: its meaning.
    values: of the target in the training rows, float64 `[N]` or `[N, C]`.
    settings: of the table.
  """
  schema = TableSchema(
    target=target.array,
    classes=target.classes,
    columns=tuple(name for plan in plans for name in plan.features),
    plan=plans,
    multilabel=target.task == "multilabel",
  )
  if target.task != "regression":
    return schema
  transform = settings.target_transform
  if transform == "log" and values.min() <= 0:
    raise UserError(
      'expected numbers above 0 in the target for target_transform="log"',
      f"got {values.min():g}",
      'set target_transform="none"',
    )
  if transform == "log" or (transform == "auto" and is_skewed(values)):
    logarithm = np.log(values)
    return dataclasses.replace(
      schema,
      target_transform="log",
      transformed_normalization={
        "mean": float(logarithm.mean()),
        "std": float(logarithm.std()) or 1.0,
      },
    )
  return dataclasses.replace(
    schema, target_offset=encoding.offset(values) or None
  )


def _arrays(part: Part, target: Target, schema: TableSchema) -> Arrays:
  """Returns the arrays of the rows of a file, float32 but for int32 labels."""
  offset = schema.target_offset or 0.0
  arrays = {
    "features": encode_table(schema.plan, part.table.columns, len(part.target)),
    target.array: to_array(part.target - offset, target),
  }
  if part.weight is not None:
    arrays["weight"] = part.weight.astype(np.float32)
  return arrays


def _normalized(schema: TableSchema, train: Arrays) -> TableSchema:
  """Returns the schema with the statistics of train.

  Only numbers and times are normalized: the others have mean 0, deviation 1.
  """
  moments, numbers = statistics(train), scaled(schema.plan)
  columns = moments["normalization"]
  moments["normalization"] = {
    "mean": np.where(numbers, columns["mean"], 0.0).tolist(),
    "std": np.where(numbers, columns["std"], 1.0).tolist(),
  }
  return dataclasses.replace(schema, **moments)


def describe_target(target: Target, schema: Schema) -> list[str]:
  """Returns a note on the task, and on the numbers that are learned."""
  names = ", ".join(map(repr, target.names[:10]))
  classes = f" of {len(target.classes):,} classes" if target.classes else ""
  why = f", as it has {target.reason}" if target.reason else ""
  change = ' (task="..." changes this)' if target.reason else ""
  notes = [f"target {names}: {target.task}{classes}{why}{change}"]
  if schema.target_transform != "none":
    notes.append(f"target {names}: the model learns its logarithm")
  if schema.target_offset:
    notes.append(
      f"target {names}: {schema.target_offset!r} is subtracted before the "
      "rounding to float32"
    )
  return notes
