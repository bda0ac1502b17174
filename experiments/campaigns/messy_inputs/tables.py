"""Tables as they are, each with one kind of disorder."""

import datetime
import functools
import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping, Sequence
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

  return _case(make, {"x": kind} if kind else {}, "trained", **overrides)


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

  return _case(make, {}, outcome, **overrides)


def as_file(
  name: str, encode: Callable[[Columns], bytes], outcome: str = "trained"
) -> Case:
  """Returns the case of the plain table in another format."""

  def make(folder: Path, rng: random.Random) -> int:
    (folder / name).write_bytes(encode(columns(rng)))
    return ROWS

  kinds = {"a": "number", "color": "category"}
  kinds = kinds if outcome == "trained" else {}
  return _case(make, kinds, outcome, path=name)


def raw(content: bytes, rows: int, outcome: str, **overrides: str) -> Case:
  """Returns the case of a file with that content."""

  def make(folder: Path, rng: random.Random) -> int:
    del rng
    (folder / "t.csv").write_bytes(content)
    return rows

  return _case(make, {}, outcome, **overrides)


def _case(
  make: Any, kinds: Mapping[str, str], outcome: str, **overrides: str
) -> Case:
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

  return _case(make, {}, "", name="npz_file", path="t.npz", target="label")


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

  return _case(make, {}, "", path=name)


def _parquet(table: Any, path: Path) -> None:
  from pyarrow import parquet  # pyright: ignore[reportMissingImports]

  parquet.write_table(table, path)


def _feather(table: Any, path: Path) -> None:
  from pyarrow import feather  # pyright: ignore[reportMissingImports]

  feather.write_feather(table, path)


def _saved(table: Any, path: Path) -> None:
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


def _day(row: int) -> datetime.datetime:
  return datetime.datetime(2021, 1, 1) + datetime.timedelta(hours=31 * row)


def _gap(cell: Any, names: Sequence[str] = ("",)) -> Callable[..., Any]:
  """Returns a function that leaves out a fifth of the cells."""

  def choose(rng: random.Random, row: int) -> Any:
    return rng.choice(names) if rng.random() < 0.2 else cell(rng, row)

  return choose


NAMES = ("", "NA", "N/A", "null", "NaN", "?", "-", "None", "#N/A")
WORDS = ("the", "a", "large", "bird", "tree", "runs", "sleeps", "under", "over")
HEADER = b"a,color,y\n"
LINES = b"".join(
  b"%d,%s,%s\n" % (i, (b"red", b"blue")[i % 2], (b"u", b"v")[i % 3 == 0])
  for i in range(60)
)


def _skew(rng: random.Random, row: int, a: float) -> str:
  del row
  return f"{np.exp(2 * a + rng.gauss(0, 1)):.5f}"


CASES: dict[str, Case] = {
  "CSV": as_file("t.csv", lambda t: text(t).encode()),
  "TSV": as_file("t.tsv", lambda t: text(t, "\t").encode()),
  "semicolons": as_file("t.csv", lambda t: text(t, ";").encode()),
  "pipes": as_file("t.txt", lambda t: text(t, "|").encode()),
  "spaces": as_file("t.dat", lambda t: text(t, " ").encode(), ""),
  "JSON lines": as_file("t.jsonl", json_lines),
  "JSON array": as_file(
    "t.json",
    lambda t: b"[" + b",\n".join(json_lines(t).splitlines()) + b"]",
    "",
  ),
  "CSV.gz": as_file("t.csv.gz", lambda t: gzip.compress(text(t).encode())),
  "JSONL.gz": as_file("t.jsonl.gz", lambda t: gzip.compress(json_lines(t))),
  "byte order mark": as_file("t.csv", lambda t: text(t).encode("utf-8-sig")),
  "Windows lines": as_file("t.csv", lambda t: text(t, end="\r\n").encode()),
  "Excel's sep=": as_file(
    "t.csv", lambda t: b"sep=;\r\n" + text(t, ";", "\r\n").encode(), ""
  ),
  "Latin-1": as_file(
    "t.csv",
    lambda t: text(
      t | {"color": [c.replace("red", "grün") for c in t["color"]]}
    ).encode("latin-1"),
    "",
  ),
  "UTF-16": as_file("t.csv", lambda t: text(t).encode("utf-16"), ""),
  "Excel workbook": as_file("t.xlsx", excel, "refused"),
  "Parquet": arrow("t.parquet", _parquet),
  "Feather": arrow("t.feather", _feather),
  "save_to_disk": arrow("saved", _saved),
  "NumPy": arrays(),
  "NumPy objects": arrays(features=np.asarray([[None] * 5] * ROWS)),
  "NumPy lengths": arrays(label=np.arange(5)),
  "decimal commas": with_column(
    lambda rng, i: f"{rng.random():.3f}".replace(".", ","), "number"
  ),
  "thousands": with_column(
    lambda rng, i: f"{rng.randrange(10**6) + 0.5:,.2f}", "number"
  ),
  "percent": with_column(lambda rng, i: f"{rng.random():.1%}", "number"),
  "currency": with_column(lambda rng, i: f"${rng.randrange(900)}", "number"),
  "booleans": with_column(lambda rng, i: rng.choice(("TRUE", "FALSE")),
                          "number"),
  "ISO dates": with_column(lambda rng, i: _day(i).isoformat(), "date"),
  "dotted dates": with_column(
    lambda rng, i: _day(i).strftime("%d.%m.%Y %H:%M"), "date"
  ),
  "index": with_column(lambda rng, i: i, "number"),
  "gaps": with_column(_gap(lambda rng, i: rng.random()), "number"),
  "spellings of gaps": with_column(
    _gap(lambda rng, i: rng.random(), NAMES), "number"
  ),
  "gaps in categories": with_column(
    _gap(lambda rng, i: rng.choice("uvw"), NAMES), "category"
  ),
  "mixed types": with_column(
    lambda rng, i: i if i % 3 else rng.choice(("low", "high")), "number"
  ),
  "few wrong cells": with_column(
    lambda rng, i: "unknown" if i == 7 else rng.random(), "number"
  ),
  "constant": with_column(lambda rng, i: "same", "left out"),
  "empty column": with_column(lambda rng, i: "", "left out"),
  "unique names": with_column(lambda rng, i: f"Person {i}", "left out"),
  "free text": with_column(
    lambda rng, i: " ".join(rng.choices(WORDS, k=12)), "left out"
  ),
  "quoted newlines": with_column(
    lambda rng, i: rng.choice(("one\ntwo", 'a "b", c')), "category"
  ),
  "infinite": with_column(
    lambda rng, i: ("inf", "-inf", i / 7)[min(i % 9, 2)], "number"
  ),
  "huge numbers": with_column(
    lambda rng, i: f"{i / 7}e300" if i % 9 == 0 else i / 7, "number"
  ),
  "long integers": with_column(
    lambda rng, i: 10**17 + rng.randrange(1000), "number"
  ),
  "duplicates": _case(duplicates, {}, "trained"),
  "100,000 columns": _case(wide, {}, ""),
  "20,000 categories": _case(many_categories, {"x": "left out"}, ""),
  "empty file": raw(b"", 0, "refused"),
  "header only": raw(HEADER, 0, "refused"),
  "one row": raw(HEADER + b"1,red,u\n", 1, "refused"),
  "blank lines": raw(
    HEADER + LINES.replace(b"\n", b"\n\n", 9) + b"\n\n", 60, "trained"
  ),
  "comma at the end": raw((HEADER + LINES).replace(b"\n", b",\n"), 60,
                          "trained"),
  "no names": raw(LINES, 60, "", target="2"),
  "repeated names": raw(b"a,a,y\n" + LINES, 60, "trained"),
  "short rows": raw(HEADER + LINES + b"7\n8,red\n", 62, "refused"),
  "short rows skipped": raw(
    HEADER + LINES + b"7\n8,red\n", 62, "trained", on_bad="skip"
  ),
  "open quote": raw(HEADER + LINES + b'"7,red,u\n', 61, "refused"),
  "zero bytes": raw(HEADER + LINES + b"\0" * 40, 60, ""),
  "wrong target": raw(HEADER + LINES, 60, "refused", target="Y"),
  "no target": raw(HEADER + LINES, 60, "refused", target=""),
  "missing target": with_target(
    lambda rng, i, a: "" if i % 7 == 0 else "uv"[a > 0]
  ),
  "rare class": with_target(
    lambda rng, i, a: "once" if i == 5 else "uv"[a > 0]
  ),
  "one class": with_target(lambda rng, i, a: "same", ""),
  "numbers": with_target(lambda rng, i, a: f"{a + rng.random():.4f}"),
  "counts": with_target(lambda rng, i, a: rng.randrange(40)),
  "formatted numbers": with_target(lambda rng, i, a: f"{1e4 + 1e3 * a:,.2f}"),
  "skewed": with_target(_skew),
  "dates": with_target(lambda rng, i, a: _day(i).date(), "refused"),
  "names": with_target(lambda rng, i, a: f"Person {i}", "refused"),
  "text for regression": with_target(
    lambda rng, i, a: "uv"[a > 0], "refused", task="regression"
  ),
  "several labels": with_target(
    lambda rng, i, a: ";".join(rng.sample(("news", "sport", "art"), k=2))
  ),
  "columns of labels": _case(
    lambda folder, rng: (
      (folder / "t.csv").write_text(
        text(columns(rng, u=[0, 1] * 60, v=[1, 1, 0] * 40))
      )
      and ROWS
    ),
    {},
    "trained",
    target="",
    targets="('u','v')",
  ),
  "weights": with_column(lambda rng, i: 1 + i % 3, "", weight="x"),
  "groups": with_column(lambda rng, i: f"p{i % 20}", "", group="x"),
  "times": with_column(lambda rng, i: _day(i).date(), "date", time="x"),
  "split names": with_column(
    lambda rng, i: ("Train", "train", "val", "test")[i % 4],
    "",
    split="x",
  ),
  "three files": _case(
    parts, {}, "trained", path="", train="train.csv", valid="valid.csv",
    test="test.csv",
  ),
  "test without a column": _case(
    functools.partial(parts, change="column"), {}, "refused", path="",
    train="train.csv", test="test.csv",
  ),
  "test with a new class": _case(
    functools.partial(parts, change="class"), {}, "refused", path="",
    train="train.csv", test="test.csv",
  ),
  "folder of CSV files": _case(parts, {}, "", path="."),
  "no file": raw(b"", 0, "refused", path="gone.csv"),
}  # fmt: skip
"""By name; the seed decides the values."""
