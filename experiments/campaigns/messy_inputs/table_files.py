"""Makers of table files as they are, and of their cases."""

import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from messy_inputs.case import Case

ROWS = 120
Columns = dict[str, list[Any]]


def columns(rng: random.Random, rows: int = ROWS, **more: Any) -> Columns:
  """Returns a number, a category and a class, and further columns."""
  a = [round(rng.gauss(0, 1), 4) for _ in range(rows)]
  return {
    "a": a,
    "color": [rng.choice(("red", "green", "blue")) for _ in range(rows)],
    **more,
    "y": ["big" if x + rng.gauss(0, 0.5) > 0 else "small" for x in a],
  }


def text(table: Columns, separator: str = ",", end: str = "\n") -> str:
  """Returns a table as text, with the quotes that it needs."""

  def cell(value: Any) -> str:
    content = str(value)
    needs_quotes = any(c in content for c in (separator, "\n", '"'))
    return '"' + content.replace('"', '""') + '"' if needs_quotes else content

  rows = [list(table), *zip(*table.values(), strict=True)]
  return end.join(separator.join(map(cell, row)) for row in rows) + end


def with_column(
  cell: Callable[[random.Random, int], Any], kind: str, **overrides: str
) -> Case:
  """Returns the case of a table with a column x of such cells.

  Args:
    cell: a function of a generator and the row.
    kind: see `Case.columns`; `""` for a column of another use.
    **overrides: of the section `data`.
  """

  def make(folder: Path, rng: random.Random) -> int:
    cells = [cell(rng, row) for row in range(ROWS)]
    (folder / "t.csv").write_text(text(columns(rng, x=cells)))
    return ROWS

  return case_of(make, {"x": kind} if kind else {}, "trained", **overrides)


def with_target(
  cell: Callable[[random.Random, int, float], Any],
  outcome: str = "trained",
  **overrides: str,
) -> Case:
  """Returns the case of a table whose target is a function of row and a."""

  def make(folder: Path, rng: random.Random) -> int:
    table = columns(rng)
    table["y"] = [cell(rng, i, a) for i, a in enumerate(table["a"])]
    (folder / "t.csv").write_text(text(table))
    return ROWS

  return case_of(make, {}, outcome, **overrides)


def as_file(
  name: str, encode: Callable[[Columns], bytes], outcome: str = "trained"
) -> Case:
  """Returns the case of the plain table in another format."""

  def make(folder: Path, rng: random.Random) -> int:
    (folder / name).write_bytes(encode(columns(rng)))
    return ROWS

  kinds = {"a": "number", "color": "category"}
  kinds = kinds if outcome == "trained" else {}
  return case_of(make, kinds, outcome, path=name)


def raw(content: bytes, rows: int, outcome: str, **overrides: str) -> Case:
  """Returns the case of a file with that content."""

  def make(folder: Path, rng: random.Random) -> int:
    del rng
    (folder / "t.csv").write_bytes(content)
    return rows

  return case_of(make, {}, outcome, **overrides)


def case_of(
  make: Any, kinds: Mapping[str, str], outcome: str, **overrides: str
) -> Case:
  """Returns a case whose target is y; see `Case`.

  Args:
    make: see `Case`.
    kinds: the field `columns`.
    outcome: see `Case`.
    **overrides: of the section `data`; `""` removes one.
  """
  settings = {"path": "t.csv", "target": "y", **overrides}
  settings = {f"data.{key}": value for key, value in settings.items() if value}
  return Case(make, settings, columns=kinds, outcome=outcome)


def json_lines(table: Columns) -> bytes:
  """Returns a table as JSON lines."""
  rows = zip(*table.values(), strict=True)
  lines = (json.dumps(dict(zip(table, row, strict=True))) for row in rows)
  return ("\n".join(lines) + "\n").encode()


def parts(folder: Path, rng: random.Random, *, change: str = "") -> int:
  """Writes train.csv, valid.csv and test.csv; `change` is made to the last."""
  for name in ("train", "valid", "test"):
    table = columns(rng, 40)
    if name == "test" and change == "column":
      del table["color"]
    if name == "test" and change == "class":
      table["y"][0] = "huge"
    (folder / f"{name}.csv").write_text(text(table))
  return 120


def wide(folder: Path, rng: random.Random) -> int:
  """Writes 30 rows of 100,000 columns."""
  rows = [
    ",".join([*map(str, rng.choices(range(10), k=100_000)), "ab"[i % 2]])
    for i in range(30)
  ]
  header = ",".join([*(f"c{i}" for i in range(100_000)), "y"])
  (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n")
  return 30


def many_categories(folder: Path, rng: random.Random) -> int:
  """Writes 20,000 rows with 20,000 categories."""
  rows = 20_000
  names = [f"name {i}" for i in range(rows)]
  (folder / "t.csv").write_text(text(columns(rng, rows, x=names)))
  return rows


def duplicates(folder: Path, rng: random.Random) -> int:
  """Writes every row three times."""
  table = {name: cells * 3 for name, cells in columns(rng, 60).items()}
  (folder / "t.csv").write_text(text(table))
  return 180


def arrays(**changes: Any) -> Case:
  """Returns the case of an `.npz` file of features and labels."""

  def make(folder: Path, rng: random.Random) -> int:
    generator = np.random.default_rng(rng.randrange(10**9))
    content = {
      "features": generator.normal(size=(ROWS, 5)),
      "label": generator.integers(0, 3, ROWS),
      **changes,
    }
    np.savez(folder / "t.npz", **content)
    return ROWS

  return case_of(make, {}, "", name="npz_file", path="t.npz", target="label")


def arrow(name: str, save: Callable[[Any, Path], None]) -> Case:
  """Returns the case of a table that pyarrow writes, or an empty file."""

  def make(folder: Path, rng: random.Random) -> int:
    table = columns(rng)
    try:
      import pyarrow  # pyright: ignore[reportMissingImports]
    except ImportError:
      (folder / name).write_bytes(b"PAR1")
      return ROWS
    save(pyarrow.table(table), folder / name)
    return ROWS

  return case_of(make, {}, "", path=name)


def parquet(table: Any, path: Path) -> None:
  """Writes a table of pyarrow as Parquet."""
  from pyarrow import parquet  # pyright: ignore[reportMissingImports]

  parquet.write_table(table, path)


def feather(table: Any, path: Path) -> None:
  """Writes a table of pyarrow as Feather."""
  from pyarrow import feather  # pyright: ignore[reportMissingImports]

  feather.write_feather(table, path)


def saved(table: Any, path: Path) -> None:
  """Writes a table of pyarrow as `datasets.save_to_disk` does."""
  import pyarrow  # pyright: ignore[reportMissingImports]

  path.mkdir()
  with pyarrow.OSFile(str(path / "data-0.arrow"), "wb") as file:
    writer = pyarrow.ipc.new_stream(file, table.schema)
    writer.write_table(table)
    writer.close()
  state = {"_data_files": [{"filename": "data-0.arrow"}]}
  (path / "state.json").write_text(json.dumps(state))


def excel(table: Columns) -> bytes:
  """Returns the start of an .xlsx file, which is a zip file of XML."""
  del table
  file = io.BytesIO()
  with zipfile.ZipFile(file, "w") as archive:
    archive.writestr("xl/worksheets/sheet1.xml", "<worksheet/>")
  return file.getvalue()
