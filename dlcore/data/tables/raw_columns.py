"""Columns of a file before they are typed: numbers apart from text."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.tables.csv_text import number
from dlcore.data.tables.encoding import FLOAT32_MAX, MAX_ERRORS, check_size
from dlcore.errors import UserError

NUMBER = -1
"""Code of a cell with a plain number, such as "1e3"."""

MISSING = -2
"""Code of an empty cell, or one of `MISSING_CELLS`."""

INFINITE = -3
"""Code of a number that float32 cannot hold."""

MISSING_CELLS = frozenset(
  (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan",
    "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a",
    "nan", "null", "NaT", "?", "-", "--", ".",
  )
)  # fmt: skip
"""Cells without a value: those of `pandas.read_csv`, and "NaT", "?", "-", "--"
and ".", which other programs write."""

MAX_COLUMNS = 1 << 17
"""Columns of a table."""

CHUNK_CELLS = 1 << 20
"""Cells of a chunk of rows."""

TEXT_BYTES = 1 << 30
"""Memory for the distinct texts of a table."""

BYTES_PER_TEXT = 200
"""Memory of a text besides its characters: a string and an entry of a dict."""


class RawColumn(NamedTuple):
  """The cells of a column."""

  values: np.ndarray
  """float64 `[N]`: plain numbers, NaN in the other cells."""

  codes: np.ndarray
  """int32 `[N]`: the position in `texts`, or one of the codes above."""

  texts: tuple[str, ...]
  """The distinct cells that are neither missing nor plain numbers."""

  overflow: bool = False
  """Whether the texts take too much memory and were not kept: free text."""

  def take(self, rows: np.ndarray) -> "RawColumn":
    """Returns the cells of some rows."""
    return self._replace(values=self.values[rows], codes=self.codes[rows])

  @property
  def missing(self) -> np.ndarray:
    """bool `[N]`, true for cells without a value that float32 can hold."""
    return self.codes <= MISSING


class RawTable(NamedTuple):
  """The readable rows of a file."""

  path: str

  columns: dict[str, RawColumn]
  """By name, in the order of the file."""

  lines: np.ndarray
  """int64 `[N]`: number of each row in the file, from 1."""

  errors: list[tuple[int, str]] = []  # noqa: RUF012  not modified
  """Number and reason of the rows that are malformed as a whole."""

  decimal: str = "."
  """The decimal mark to prefer where a number can be read in two ways."""

  notes: tuple[str, ...] = ()
  """Sentences for the user on the file as a whole."""

  def take(self, rows: np.ndarray) -> "RawTable":
    """Returns some rows."""
    columns = {name: part.take(rows) for name, part in self.columns.items()}
    return self._replace(columns=columns, lines=self.lines[rows])


class Chunk(NamedTuple):
  """Consecutive rows of a file."""

  lines: Sequence[int]

  cells: Mapping[str, Sequence[str]]
  """The stripped cells of each column. A column may begin later in the file:
  its earlier cells are missing."""

  errors: Sequence[tuple[int, str]] = ()


def build_table(path: object, chunks: Iterable[Chunk]) -> RawTable:
  """Returns the table of all chunks.

  Raises:
    UserError: there are more than 2^17 columns, 2^27 cells or a million
      malformed rows.
  """
  builders: dict[str, _Builder] = {}
  budget, lines = _Budget(TEXT_BYTES), []
  errors: list[tuple[int, str]] = []
  for chunk in chunks:
    for name in chunk.cells:
      if name not in builders:
        builders[name] = _Builder(budget)
        builders[name].extend([""] * len(lines))
    size = len(chunk.lines)
    lines += chunk.lines
    errors += chunk.errors
    _check(path, len(lines), len(builders), errors)
    for name, builder in builders.items():
      builder.extend(chunk.cells.get(name) or [""] * size)
  columns = {name: builder.column() for name, builder in builders.items()}
  return RawTable(str(path), columns, np.asarray(lines, np.int64), errors)


def _check(
  path: object, rows: int, columns: int, errors: Sequence[tuple[int, str]]
) -> None:
  if columns > MAX_COLUMNS:
    raise UserError(
      f"expected at most {MAX_COLUMNS:,} columns in {path}",
      f"got {columns:,}",
      "split the table, or store the numbers as arrays (.npz)",
    )
  if len(errors) > MAX_ERRORS:
    line, reason = errors[0]
    raise UserError(
      f"expected a table in {path}",
      f"got more than {MAX_ERRORS:,} malformed rows, the first in line {line}: "
      f"{reason}",
    )
  check_size(rows, columns)


@dataclasses.dataclass
class _Budget:
  """Memory that the columns of a table share."""

  left: int


class _Builder:
  """Collects the cells of a column, a chunk at a time."""

  def __init__(self, budget: _Budget):
    self._budget = budget
    self._used = 0
    self._overflow = False
    self._codes_by_text: dict[str, int] = _missing_codes()
    self._values = [np.empty(0)]
    self._codes = [np.empty(0, np.int32)]

  def extend(self, cells: Sequence[str]) -> None:
    """Appends cells."""
    try:
      values = np.fromiter(map(float, cells), np.float64, len(cells))
      plain = "_" not in "".join(cells)  # Python reads "1_0" as 10.
    except ValueError:
      plain = False
    if plain:
      codes = np.full(len(cells), NUMBER, np.int32)
    else:
      codes = np.asarray([self._code(cell) for cell in cells], np.int32)
      values = np.full(len(cells), np.nan)
      numeric = np.flatnonzero(codes == NUMBER)
      values[numeric] = [float(cells[i]) for i in numeric.tolist()]
    codes[(codes == NUMBER) & np.isnan(values)] = MISSING
    codes[(codes == NUMBER) & (np.abs(values) > FLOAT32_MAX)] = INFINITE
    values[codes != NUMBER] = np.nan
    self._values.append(values)
    self._codes.append(codes)

  def _code(self, cell: str) -> int:
    code = self._codes_by_text.get(cell)
    if code is not None:
      return code
    if number(cell) is not None:
      return NUMBER
    if self._overflow:
      return 0
    code = len(self._codes_by_text) - len(MISSING_CELLS)
    self._codes_by_text[cell] = code
    cost = BYTES_PER_TEXT + len(cell)
    self._used += cost
    self._budget.left -= cost
    if self._budget.left < 0:
      self._discard()
    return code

  def _discard(self) -> None:
    """Removes all texts, whose cells count as one text from now on."""
    self._budget.left += self._used
    self._overflow = True
    self._codes_by_text = _missing_codes()

  def column(self) -> RawColumn:
    """Returns the column, once."""
    values, codes = np.concatenate(self._values), np.concatenate(self._codes)
    if self._overflow:
      return RawColumn(values, np.minimum(codes, 0), ("...",), True)
    texts = tuple(self._codes_by_text)[len(MISSING_CELLS) :]
    return RawColumn(values, codes, texts)


def _missing_codes() -> dict[str, int]:
  return dict.fromkeys(MISSING_CELLS, MISSING)
