"""From table files to splits: rows, target, encoding and arrays."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.source import Arrays, Splits, take_rows
from dlcore.data.split import make_splits
from dlcore.data.tables import encoding
from dlcore.data.tables.column_types import infer
from dlcore.data.tables.plan_fitting import Typed, fit, scaled
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
  rows, divided = divide(parts, names, target, settings)
  size = sum(len(part.target) for part in parts.values())
  kept = {
    name: found._replace(column=parts["train"].table.columns[name])
    for name, found in typed.items()
  }
  plans, of_columns = fit(
    kept,
    rows["train"],
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
  values = parts["train"].target[rows["train"]]
  schema = _schema(plans, target, values, settings)
  arrays = _arrays(parts, rows, plans, target, schema.target_offset or 0.0)
  files = [note for table in tables.values() for note in table.notes]
  notes = [*files, *notes, *_describe_target(target, schema), *of_columns]
  return _finish(arrays, schema, [*notes, *divided], settings)


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


def _arrays(
  parts: Mapping[str, Part],
  rows: Mapping[str, np.ndarray],
  plans: Sequence[ColumnPlan],
  target: Target,
  offset: float,
) -> dict[str, Arrays]:
  """Returns the arrays of every split, float32 but for int32 labels.

  Args:
    parts: by file.
    rows: of train and of each split that is held out of it.
    plans: of the features.
    target: its meaning.
    offset: number to subtract from the target.
  """
  arrays: dict[str, Arrays] = {}
  for file, part in parts.items():
    of_file: dict[str, np.ndarray] = {
      "features": encode_table(plans, part.table.columns, len(part.target)),
      target.array: to_array(part.target - offset, target),
    }
    if part.weight is not None:
      of_file["weight"] = part.weight.astype(np.float32)
    splits = rows if file == "train" else {file: np.arange(len(part.target))}
    arrays |= {split: take_rows(of_file, at) for split, at in splits.items()}
  return arrays


def _describe_target(target: Target, schema: TableSchema) -> list[str]:
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


def _finish(
  arrays: Mapping[str, Arrays],
  schema: TableSchema,
  notes: Sequence[str],
  settings: TableSettings,
) -> Splits:
  """Returns the sources, in which only numbers and times are normalized."""
  moved = settings.duplicates != "keep"
  splits = make_splits(
    arrays,
    schema,
    name="table_file",
    notes=tuple(dict.fromkeys(notes)),
    valid_fraction=0.0,
    test_fraction=0.0,
    **{"duplicates": settings.duplicates} if moved else {},
  )
  normalized = scaled(schema.plan)
  sources = {}
  for name, source in splits._asdict().items():
    if source:
      moments = source.info.schema.normalization
      own = dataclasses.replace(
        source.info.schema,
        normalization={
          "mean": np.where(normalized, moments["mean"], 0.0).tolist(),
          "std": np.where(normalized, moments["std"], 1.0).tolist(),
        },
      )
      info = source.info._replace(
        schema=own, notes=tuple(dict.fromkeys(source.info.notes))
      )
      sources[name] = source._replace(info=info)
  return Splits(**sources)
