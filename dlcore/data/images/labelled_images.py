"""Images whose labels are in a table."""

import collections
import pathlib
from collections.abc import Iterator, Sequence

from dlcore.data.images.image_names import ImageNames
from dlcore.data.images.label_table import (
  Cell,
  LabelRow,
  LabelTable,
  list_names,
  read_table,
)
from dlcore.data.images.listing import Item, Listing, find_images
from dlcore.errors import UserError

NAME_COLUMN = "file_name"
"""Column of the names in the tables of Hugging Face's ImageFolder."""

LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "tags")
"""Columns that hold the labels if there are others as well, in lower case."""

FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "": False,
         "false": False, "true": True, "no": False, "yes": True}  # fmt: skip
"""Values of a column that is one of several labels, in lower case."""

SAMPLE = 200
"""Rows by which the column of the names is recognized."""


def labelled_images(
  folder: pathlib.Path,
  path: pathlib.Path,
  names: str,
  targets: Sequence[str],
  columns: Sequence[str] = (),
  exclude: Sequence[str] = (),
) -> Listing:
  """Lists the images that a table names, with the labels that it gives them.

  Args:
    folder: of the images, with folders inside of it.
    path: of the table.
    names: column of the file names; by default the one that names most images.
    targets: see `label_columns`.
    columns: of groups, times and splits, `""` without one; the cells of an
      image are those of its first row.
    exclude: columns that are not labels, if the table has them.

  Raises:
    UserError: the table or a column is missing, or no image is named.
  """
  table = read_table(path)
  table.check([column for column in columns if column])
  files, left_out = find_images(folder, folder.resolve())
  index = ImageNames(folder, files)
  names = _name_column(table, index, names, folder)
  targets = label_columns(table, names, targets, exclude)
  rows: dict[pathlib.Path, list[LabelRow]] = collections.defaultdict(list)
  errors = []
  for row in table.rows:
    file, reason = _find(row, names, index)
    if file and _label(row, targets) is None:
      reason = "a label other than 0 and 1"
    if file and not reason:
      rows[file].append(row)
    else:
      cell = str(row.cells.get(names, ""))
      reason = f"{reason} (line {row.line} of {path.name})"
      errors.append((Item(folder / cell, "", cell), reason))
  if others := len(files) - len(rows):
    left_out[f"images that {path.name} does not name"] += others
  items = [
    _item(file, file.relative_to(folder).as_posix(), several, targets, columns)
    for file, several in rows.items()
  ]
  return Listing(sorted(items), left_out, errors)


def _item(
  file: pathlib.Path,
  name: str,
  rows: Sequence[LabelRow],
  targets: Sequence[str],
  columns: Sequence[str],
) -> Item:
  """Returns an image with the labels of its rows."""
  labels = [
    label for row in rows if (label := _label(row, targets)) is not None
  ]
  cells = tuple(str(rows[0].cells.get(column, "")) for column in columns)
  return Item(file, _joined(labels), name, cells)


def label_columns(
  table: LabelTable,
  names: str,
  targets: Sequence[str],
  exclude: Sequence[str] = (),
) -> list[str]:
  """Returns the columns of the labels: one, or one of 0 and 1 for each label.

  Args:
    table: with names and labels.
    names: column of the names.
    targets: the columns; by default the only one beside the names, one of
      `LABEL_COLUMNS`, or all if they are 0 and 1.
    exclude: columns that are not labels.

  Raises:
    UserError: there is no such column, or it is not clear which is meant.
  """
  if targets:
    table.check(targets)
    return list(targets)
  others = [c for c in table.columns if c != names and c not in exclude]
  others = [name for name in others if not name.startswith("Unnamed:")]
  usual = [name for name in others if name.lower() in LABEL_COLUMNS]
  for columns in (others, usual):
    if len(columns) == 1:
      return columns
  if others and all(_are_flags(table.column(name)) for name in others):
    return others
  raise UserError(
    f"expected target or targets to name the labels in {table.path}",
    f"got the columns {list_names(table.columns)}",
    'set target=COLUMN, or labels="" if the folders are the classes',
  )


def _name_column(
  table: LabelTable, index: ImageNames, names: str, folder: pathlib.Path
) -> str:
  """Returns the column whose cells name the most different images."""
  if names:
    table.check([names])
    return names
  rows = table.rows[:: max(1, len(table.rows) // SAMPLE)]

  def count(name: str) -> tuple[int, bool]:
    cells = {row.cells.get(name, "") for row in rows}
    found = [index.find(cell) for cell in cells if isinstance(cell, str)]
    return sum(map(bool, found)), name == NAME_COLUMN

  best = max(table.columns, key=count)
  if count(best)[0]:
    return best
  example = next(iter(rows[0].cells.values()), "")
  raise UserError(
    f"expected {table.path} to name images in {folder}",
    f"got the columns {list_names(table.columns)}, with {example!r:.80} in the "
    "first row",
    "set path to the folder of the images and labels to the table",
  )


def _find(
  row: LabelRow, names: str, index: ImageNames
) -> tuple[pathlib.Path | None, str]:
  """Returns the image of a row, or None and the reason why there is none."""
  if row.error:
    return None, row.error
  cell = row.cells.get(names, "")
  files = index.find(cell) if isinstance(cell, str) else []
  if len(files) == 1:
    return files[0], ""
  return None, f"{len(files)} images of that name" if files else "no such image"


def _label(row: LabelRow, columns: Sequence[str]) -> Cell | None:
  """Returns the label of a row, None for a malformed one."""
  if len(columns) == 1:
    return row.cells.get(columns[0], "")
  flags = [FLAGS.get(cell) for cell in _lowered(row, columns)]
  if None in flags:
    return None
  return tuple(n for n, flag in zip(columns, flags, strict=True) if flag)


def _lowered(row: LabelRow, columns: Sequence[str]) -> Iterator[str]:
  return (str(row.cells.get(name, "")).lower() for name in columns)


def _are_flags(cells: Sequence[Cell]) -> bool:
  return {str(cell).lower() for cell in cells} <= FLAGS.keys()


def _joined(cells: Sequence[Cell]) -> Cell:
  """Returns the label of an image that has one or several rows."""
  if len(set(cells)) == 1:
    return cells[0]
  several = (cell if isinstance(cell, tuple) else (cell,) for cell in cells)
  return tuple(dict.fromkeys(name for names in several for name in names))
