"""Formats of tables: all give the same typed table."""

import gzip
import json
import os
import sys

import numpy as np
import pytest

from dlcore import data
from dlcore.data.tables import csv_text, raw_columns, text_lines
from dlcore.data.tables.table_formats import read_file
from dlcore.errors import UserError

COLUMNS = {
  "a": [1, 2.5, None, -3e3] * 10,
  "b": ["x", None, "y, z", 'a "b"'] * 10,
  "c": [True, False, True, None] * 10,
}


def _csv(separator):
  def quote(value):
    text = "" if value is None else str(value).replace('"', '""')
    return f'"{text}"'

  rows = zip(*COLUMNS.values(), strict=True)
  lines = [separator.join(map(quote, row)) for row in rows]
  return "\n".join([separator.join(COLUMNS), *lines]) + "\n"


def _json_lines():
  rows = zip(*COLUMNS.values(), strict=True)
  dicts = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
  return "\n".join(
    json.dumps({k: v for k, v in row.items() if v is not None}) for row in dicts
  )


TEXTS = {
  "t.csv": _csv(","),
  "t.tsv": _csv("\t"),
  "t.txt": _csv(";"),
  "t.dat": _csv("|"),
  "excel.csv": "sep=;\n" + _csv(";"),
  "t.jsonl": _json_lines(),
}


def _same(table):
  first, second, third = (table.columns[name] for name in "abc")
  np.testing.assert_array_equal(
    first.values, [np.nan if x is None else x for x in COLUMNS["a"]]
  )
  names = [second.texts[c] if c >= 0 else None for c in second.codes]
  assert names == COLUMNS["b"]
  truth = [third.texts[c].lower() if c >= 0 else "none" for c in third.codes]
  assert truth == [str(x).lower() for x in COLUMNS["c"]]


def test_only_blank_lines_and_what_precedes_the_names_are_no_rows(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text(" ,\n\na,b\n1,x\n,\n\n  \n2,y\n , \n")
  rows = [(line, fields) for line, fields in csv_text.parse_rows(path, ",")]
  assert rows[0] == (3, ["a", "b"])
  expected = [(4, ["1", "x"]), (5, ["", ""]), (8, ["2", "y"]), (9, ["", ""])]
  assert rows[1:] == expected
  assert read_file(path).lines.tolist() == [4, 5, 8, 9]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_text_files_give_one_table(tmp_path, name, compressed, encoding):
  content = TEXTS[name].encode(encoding)
  path = tmp_path / (f"{name}.gz" if compressed else name)
  path.write_bytes(gzip.compress(content) if compressed else content)
  _same(read_file(path))


def _write_stream(pa, path, table):
  with pa.OSFile(str(path), "wb") as file:
    writer = pa.ipc.new_stream(file, table.schema)
    writer.write_table(table, max_chunksize=9)
    writer.close()


def test_arrow_files_give_the_same_table(tmp_path):
  pa = pytest.importorskip("pyarrow", reason="reads Parquet and Arrow files")
  from pyarrow import feather, parquet

  table = pa.table(COLUMNS)
  parquet.write_table(table, tmp_path / "t.parquet", row_group_size=7)
  feather.write_feather(table, tmp_path / "t.feather")
  folder = tmp_path / "saved"
  folder.mkdir()
  _write_stream(pa, folder / "data-0.arrow", table)
  state = {"_data_files": [{"filename": "data-0.arrow"}]}
  (folder / "state.json").write_text(json.dumps(state))
  for path in (tmp_path / "t.parquet", tmp_path / "t.feather", folder):
    _same(read_file(path))


def test_dates_lists_and_dictionaries_of_arrow_are_cells(tmp_path):
  pa = pytest.importorskip("pyarrow", reason="reads Parquet and Arrow files")
  import datetime

  from pyarrow import parquet

  table = pa.table(
    {
      "when": [datetime.datetime(2020, 1, 2, 3), None],
      "day": [datetime.date(2020, 1, 2), None],
      "tags": [["a", "b"], []],
      "kind": pa.array(["u", "v"]).dictionary_encode(),
      "in": [{"x": 1.5, "y": "q"}, {"x": None, "y": "r"}],
    }
  )
  parquet.write_table(table, tmp_path / "t.parquet")
  columns = read_file(tmp_path / "t.parquet").columns
  assert columns["when"].texts[0].startswith("2020-01-02 03:00:00")
  assert columns["day"].texts == ("2020-01-02",)
  assert columns["tags"].texts == ("a;b",)
  assert columns["kind"].texts == ("u", "v")
  assert columns["in.x"].values[0] == 1.5
  assert columns["in.y"].texts == ("q", "r")


def test_a_saved_dataset_dict_has_its_own_splits(tmp_path):
  pa = pytest.importorskip("pyarrow", reason="reads Parquet and Arrow files")
  names = ["train", "validation", "test"]
  (tmp_path / "dataset_dict.json").write_text(json.dumps({"splits": names}))
  for name in names:
    folder = tmp_path / name
    folder.mkdir()
    table = pa.table({"x": list(range(30)), "y": ["u", "v"] * 15})
    _write_stream(pa, folder / "d.arrow", table)
    state = {"_data_files": [{"filename": "d.arrow"}]}
    (folder / "state.json").write_text(json.dumps(state))
  splits = data.load(
    "table_file",
    path=str(tmp_path),
    target="y",
    cache_dir=str(tmp_path / "cache"),
  )
  assert [part.size for part in splits] == [30, 30, 30]


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "pyarrow", None)
  (tmp_path / "t.parquet").write_bytes(b"PAR1")
  with pytest.raises(UserError, match="--extra arrow") as error:
    read_file(tmp_path / "t.parquet")
  assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  ("name", "content", "match"),
  [
    ("t.csv", b"", "an empty file"),
    ("t.csv", b"a,b\n", "no rows"),
    ("t.csv", b"1,2\n3,4\n", "a name for every column"),
    ("t.csv", b"a,b\n1\n2\n", "no readable row"),
    ("t.csv", b"a,b\n\xff,1\n", "UTF-8"),
    ("t.csv.gz", b"a,b\n1,2\n", "gzip"),
    ("t.csv.gz", gzip.compress(b"a,b\n1,2\n", mtime=0)[:-9], "gzip"),
    ("t.jsonl", b"[1, 2]\n", "no readable row"),
    ("t.jsonl", b"[" * 100_000, "no readable row"),
    ("t.parquet", b"not parquet", "Parquet|extra"),
    ("t.arrow", b"not arrow", "Arrow|extra"),
    ("t.xlsx", b"PK", "an Excel workbook"),
    ("t.pkl", b"\x80", "can run code"),
    ("t.json", b'[{"a": 1}]', "an array"),
    ("t.json", b"[\n{}\n]", "an array"),
    ("t.csv", b"Results\n\na,b,c\n1,2,3\n", "remove lines above"),
    ("t.csv", b'a,b\n1,"2\n', "close every quote"),
    ("t.csv", "a,b\n1,2".encode("utf-16")[:-1], "UTF-8"),
  ],
)
def test_files_that_are_not_tables_are_refused(tmp_path, name, content, match):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(UserError, match=match) as error:
    read_file(path)
  assert len(error.value.lines) <= 3
  assert all(len(line) < 1000 for line in error.value.lines)


def test_a_file_of_endless_zeros_is_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(text_lines, "MAX_CHARACTERS", 1 << 20)
  path = tmp_path / "t.csv.gz"
  path.write_bytes(gzip.compress(b"a,b\n" + b"\n" * (1 << 21)))
  with pytest.raises(UserError, match="at most 1,048,576 characters"):
    read_file(path)


def test_names_of_columns_are_made_distinct_as_by_pandas(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text(",a,a,,b\n0,1,2,3,4\n")
  table = read_file(path)
  assert list(table.columns) == ["Unnamed: 0", "a", "a.1", "Unnamed: 3", "b"]
  assert "'a' to 'a.1'" in table.notes[0]


def test_a_header_without_the_names_of_rows_gets_a_column_for_them(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text("a,b\nr1,1,2\nr2,3,4\n")
  table = read_file(path)
  assert list(table.columns) == ["Unnamed: 0", "a", "b"]
  assert table.columns["b"].values.tolist() == [2, 4]


@pytest.mark.parametrize("count", [1, 3])
def test_delimiters_at_the_end_of_every_row_do_not_shift_the_cells(
  tmp_path, count
):
  path = tmp_path / "t.csv"
  path.write_text("a,b\n" + "1,2,\n" * count)
  table = read_file(path)
  assert list(table.columns) == ["a", "b", "Unnamed: 2"]
  assert table.columns["a"].values.tolist() == [1] * count
  assert table.columns["Unnamed: 2"].missing.all()


def test_delimiters_in_quoted_names_do_not_count(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text('"price, EUR";"size, cm, in"\n1,5;2\n')
  table = read_file(path)
  assert list(table.columns) == ["price, EUR", "size, cm, in"]
  assert table.decimal == ","


def test_a_pipe_is_not_waited_for(tmp_path):
  path = tmp_path / "t.csv"
  os.mkfifo(path)
  with pytest.raises(UserError, match="expected a table file"):
    read_file(path)


def test_texts_beyond_the_memory_of_a_table_are_not_kept(tmp_path, monkeypatch):
  monkeypatch.setattr(raw_columns, "TEXT_BYTES", 10_000)
  lines = [f"{i},text number {i},{'ab'[i % 2]}" for i in range(200)]
  path = tmp_path / "t.csv"
  path.write_text("\n".join(["x,t,c", *lines]))
  table = read_file(path)
  assert table.columns["t"].overflow
  assert table.columns["c"].texts == ("a", "b")
  assert table.columns["x"].values.tolist() == list(range(200))


def test_malformed_rows_are_listed_by_line(tmp_path):
  path = tmp_path / "t.csv"
  path.write_text('a,b\n1,2\n3\n"4\n5",6\n7,8,9\n')
  table = read_file(path)
  assert table.errors == [
    (3, "1 fields in place of 2"),
    (6, "3 fields in place of 2"),
  ]
  assert table.lines.tolist() == [2, 4]
