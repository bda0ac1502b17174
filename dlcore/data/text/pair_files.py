"""Reading of pairs: two parallel files of lines, or two columns of a table."""

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dlcore.data import bad_examples
from dlcore.data.split_settings import SplitSettings
from dlcore.data.tables.raw_columns import RawTable
from dlcore.data.tables.row_division import columns_of_splits
from dlcore.data.tables.text_lines import read_lines
from dlcore.data.text.text_files import MAX_TEXT, read_text_table
from dlcore.data.text.text_parts import TextPart
from dlcore.errors import UserError


class Columns(NamedTuple):
  """The names of both sides: columns, or suffixes of parallel files."""

  source: str
  target: str


def pair_files(path: Path, columns: Columns) -> tuple[Path, ...]:
  """Returns the files of some pairs: one table, or two parallel files.

  Args:
    path: a table, or the beginning of the names of parallel files: "corpus"
      stands for "corpus.en" and "corpus.fr" (also .gz).
    columns: the names of both sides.

  Raises:
    UserError: there are no such files.
  """
  if os.path.exists(path):
    return (path,)
  files = []
  for suffix in columns:
    names = [f"{path.name}.{suffix}{end}" for end in ("", ".gz")]
    present = [n for n in names if os.path.isfile(path.parent / n)]
    if not present:
      raise UserError(
        f"expected a table {str(path)!r}, or the parallel files "
        f"{path.name}.{columns.source} and {path.name}.{columns.target} in its "
        "folder",
        f"got neither {str(path)!r} nor {names[0]!r}",
        "set source and target to the columns of the table or the suffixes of "
        "the files",
      )
    files.append(path.parent / present[0])
  return tuple(files)


def read_pairs(
  path: Path, columns: Columns, rule: SplitSettings, on_bad: str
) -> tuple[TextPart, list[str]]:
  """Reads pairs, of which `TextPart.pairs` are the targets.

  Args:
    path: see `pair_files`.
    columns: the names of both sides.
    rule: names the columns of groups, times and splits.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.

  Returns:
    The pairs, and notes for the user.

  Raises:
    UserError: a file is missing or malformed, parallel files differ in their
      number of lines, or they have no columns that `rule` names.
  """
  files = pair_files(path, columns)
  special = [name for name in (rule.group, rule.time, rule.split) if name]
  if len(files) == 1:
    table, part, notes = read_pair_table(path, columns, rule, on_bad)
    return part, [*table.notes, *notes]
  if special:
    raise UserError(
      f"expected a table, with the column {special[0]!r}",
      f"got the parallel files {files[0].name} and {files[1].name}",
      "leave out group, time and split",
    )
  sources, targets = _read_parallel(files)
  names = [f"{path.name}:{i}" for i in range(1, 1 + len(sources))]
  return TextPart(sources, targets, {}, names), []


def read_pair_table(
  path: Path,
  columns: Columns,
  rule: SplitSettings,
  on_bad: str,
  more: Sequence[str] = (),
) -> tuple[RawTable, TextPart, list[str]]:
  """Reads the pairs of a table.

  Args:
    path: of the table.
    columns: the names of both sides.
    rule: names the columns of groups, times and splits.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.
    more: names of other columns.

  Returns:
    The table with the columns of `rule` and `more`, the pairs, and notes for
    the user in addition to those of the table.

  Raises:
    UserError: the file or a row is malformed, or lacks a column.
  """
  special = [name for name in (rule.group, rule.time, rule.split) if name]
  table, texts = read_text_table(path, columns, [*more, *special])
  file = path.name
  notes = bad_examples.report(
    [(f"{file}:{line}", why) for line, why in table.errors],
    on_bad,
    noun="bad rows",
    expected="expected rows with a field for every column",
    remedy='fix them, or skip them with on_bad="skip"',
    empty=False,
  )
  part = TextPart(
    texts[columns.source],
    texts[columns.target],
    {},
    [f"{file}:{line}" for line in table.lines.tolist()],
    columns_of_splits(table, rule) if special else {},
  )
  return table, part, notes


def _read_parallel(files: tuple[Path, ...]) -> tuple[list[str], list[str]]:
  """Returns the lines of two files.

  Raises:
    UserError: they differ in number.
  """
  sides: tuple[list[str], list[str]] = ([], [])
  for lines in itertools.zip_longest(*map(_lines, files)):
    for side, line in zip(sides, lines, strict=True):
      if line is not None:
        side.append(line)
  counts = [len(side) for side in sides]
  if counts[0] != counts[1]:
    raise UserError(
      "expected parallel files, with a line in both for each pair",
      f"got {counts[0]:,} lines in {files[0]} and {counts[1]:,} in {files[1]}",
      "line i of one is the translation of line i of the other; an empty line "
      "in both is left out",
    )
  return sides


def _lines(path: Path) -> Iterator[str]:
  for number, line in enumerate(read_lines(path, MAX_TEXT), start=1):
    if len(line) > MAX_TEXT:
      raise UserError(
        f"expected at most {MAX_TEXT:,} characters in a line of {path}",
        f"got more in line {number}",
      )
    yield line
