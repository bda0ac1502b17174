"""Tables as they are, each with one kind of disorder."""

import datetime
import functools
import gzip
import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from messy_inputs.case import Case
from messy_inputs.table_files import (
  ROWS,
  arrays,
  arrow,
  as_file,
  case_of,
  columns,
  duplicates,
  excel,
  feather,
  json_lines,
  many_categories,
  parquet,
  parts,
  raw,
  saved,
  text,
  wide,
  with_column,
  with_target,
)


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
  "Parquet": arrow("t.parquet", parquet),
  "Feather": arrow("t.feather", feather),
  "save_to_disk": arrow("saved", saved),
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
  "duplicates": case_of(duplicates, {}, "trained"),
  "100,000 columns": case_of(wide, {}, ""),
  "20,000 categories": case_of(many_categories, {"x": "left out"}, ""),
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
  "columns of labels": case_of(
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
  "three files": case_of(
    parts, {}, "trained", path="", train="train.csv", valid="valid.csv",
    test="test.csv",
  ),
  "test without a column": case_of(
    functools.partial(parts, change="column"), {}, "refused", path="",
    train="train.csv", test="test.csv",
  ),
  "test with a new class": case_of(
    functools.partial(parts, change="class"), {}, "refused", path="",
    train="train.csv", test="test.csv",
  ),
  "folder of CSV files": case_of(parts, {}, "", path="."),
  "no file": raw(b"", 0, "refused", path="gone.csv"),
}  # fmt: skip
"""By name; the seed decides the values."""
