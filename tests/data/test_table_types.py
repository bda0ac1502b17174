"""Typing and imputation of columns, beside pandas and scikit-learn."""

import math
import random

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from dlcore.data.tables import date_text
from dlcore.data.tables.column_types import infer, to_names, to_numbers
from dlcore.data.tables.number_text import comma_number, dot_number
from dlcore.data.tables.plan_fitting import Typed, fit
from dlcore.data.tables.raw_columns import MISSING_CELLS, Chunk, build_table
from dlcore.data.tables.table_plan import encode_table


def column(cells):
  table = build_table("t", [Chunk(range(len(cells)), {"x": list(cells)})])
  return table.columns["x"]


@pytest.mark.parametrize(
  ("text", "dot", "comma"),
  [
    ("1,234.5", 1234.5, None),
    ("1.234,5", None, 1234.5),
    ("1,234", 1234.0, 1.234),
    ("0,500", None, 0.5),
    ("12.5%", 0.125, None),
    ("12,5 %", None, 0.125),
    ("$1,000,000", 1e6, None),
    ("3 €", 3.0, 3.0),
    ("1 234", 1234.0, 1234.0),
    ("\u22125", -5.0, -5.0),
    ("-1,5e3", None, -1500.0),
    ("1,23,456", None, None),
    ("1-2", None, None),
    ("e5", None, None),
    (",", None, None),
    ("%", None, None),
    ("5x", None, None),
  ],
)
def test_numbers_are_read_by_their_decimal_mark(text, dot, comma):
  assert dot_number(text) == dot
  assert comma_number(text) == comma


@pytest.mark.parametrize(
  ("cells", "decimal", "kind", "form", "values"),
  [
    (["1", "2.5", ""], ".", "number", ".", [1, 2.5, math.nan]),
    (["1,5", "2", "?"], ",", "number", ",", [1.5, 2, math.nan]),
    (["1,5", "2,25"], ".", "number", ",", [1.5, 2.25]),
    (["1,500", "2,250"], ".", "number", ".", [1500, 2250]),
    (["1,500", "2,250"], ",", "number", ",", [1.5, 2.25]),
    (["1.234,5", "1.234", "2"], ",", "number", ",.", [1234.5, 1234, 2]),
    (["10%", "5 %"], ".", "number", ".", [0.1, 0.05]),
    (["Yes", "no", "NA"], ".", "number", "boolean", [1, 0, math.nan]),
    (["TRUE", "false"], ".", "number", "boolean", [1, 0]),
    (["1970-01-02", "NaT"], ".", "date", "iso", [86400, math.nan]),
    (["1970-01-01T00:00:01Z"], ".", "date", "iso", [1]),
    (["02.01.1970 1:00"], ".", "date", "%d.%m.%Y", [90000]),
    (["1/2/1970", "1/13/1970"], ".", "date", "%m/%d/%Y", [86400, 12 * 86400]),
    (["13/1/1970"], ".", "date", "%d/%m/%Y", [12 * 86400]),
    (["Jan 2, 1970", "Jan 3, 1970"], ".", "date", "%b %d, %Y", [86400, 172800]),
    (["12:30 AM", "1:00 PM"], ".", "date", "time", [1800, 46800]),
  ],
)
def test_cells_decide_the_type_and_the_values(
  cells, decimal, kind, form, values
):
  raw = column(cells)
  found = infer(raw, decimal)
  assert (found.kind, found.format) == (kind, form)
  np.testing.assert_allclose(to_numbers(raw, found), values, rtol=1e-12)


@pytest.mark.parametrize(
  ("cells", "kind"),
  [
    (["red", "blue"], "text"),
    (["1", "red"], "text"),
    (["y", "t"], "text"),
    (["2020-01-01", "red"], "text"),
    (["", "NA", "-"], "empty"),
    (["1_000", "2_000"], "text"),
    ([*map(str, range(50)), "unknown"], "number"),
    ([*map(str, range(50)), *map(chr, range(97, 117))], "text"),
  ],
)
def test_other_cells_are_text_or_missing(cells, kind):
  assert infer(column(cells)).kind == kind


def test_an_order_of_day_and_month_that_could_be_exchanged_is_reported():
  raw = column(["1/2/2020", "3/4/2020"])
  assert infer(raw).ambiguous
  assert infer(raw).format == "%m/%d/%Y"
  assert infer(raw, day_first=True).format == "%d/%m/%Y"
  assert not infer(column(["1/2/2020", "3/14/2020"])).ambiguous


def test_numbers_beyond_float32_and_infinity_are_missing():
  raw = column(["1", "inf", "-1e300", "nan", "1e39"])
  np.testing.assert_array_equal(raw.missing, [0, 1, 1, 1, 1])


def test_names_of_numbers_do_not_depend_on_their_form():
  codes, names = to_names(column(["2", "1.0", "1", "", "2.50"]))
  assert names == ("1", "2", "2.5")
  assert codes.tolist() == [1, 0, 0, -1, 2]


def test_cycles_are_continuous_and_linear_time_is_in_days():
  seconds = np.asarray([0.0, 364.99, 365.0, 366.0]) * date_text.DAY
  parts = date_text.to_parts(seconds, ("time", "year"))
  np.testing.assert_allclose(parts[:, 0], [0, 364.99, 365, 366])
  assert np.abs(parts[1, 1:] - parts[2, 1:]).max() < 0.02
  week = date_text.to_parts(np.arange(15) * date_text.DAY, ("week",))
  np.testing.assert_allclose(week[:8], week[7:], atol=1e-12)


def test_dates_have_the_parts_that_vary():
  days = np.arange(5) * date_text.DAY
  assert date_text.varying_parts(days) == ("time",)
  assert date_text.varying_parts(days * 3) == ("time", "week")
  assert date_text.varying_parts(days * 10.5) == ("time", "year", "week", "day")


def _cells(count=400, seed=0):
  """Returns columns with gaps: numbers and categories, one of them rare."""
  rng = random.Random(seed)
  gaps = ["", "NA", "nan", "N/A", "null"]

  def gap(cell, share=0.1):
    return rng.choice(gaps) if rng.random() < share else cell

  cities = ["Oslo", "Rome", "Paris"]
  return {
    "age": [gap(str(rng.randint(18, 80))) for _ in range(count)],
    "wage": [gap(f"{rng.lognormvariate(3, 1):.6g}") for _ in range(count)],
    "size": [f"{rng.gauss(0, 1):.9g}" for _ in range(count)],
    "city": [gap(rng.choice(cities)) for _ in range(count)],
  }


def test_imputation_and_one_hot_equal_a_pipeline_of_scikit_learn():
  cells = _cells()
  rows = np.arange(300)
  table = build_table("t", [Chunk(range(400), cells)])
  typed = {name: Typed(c, infer(c)) for name, c in table.columns.items()}
  plans, _ = fit(typed, rows, size=400)
  names = [name for plan in plans for name in plan.features]
  actual = dict(
    zip(names, encode_table(plans, table.columns, 400).T, strict=True)
  )
  assert names[:4] == ["age", "age=(missing)", "wage", "wage=(missing)"]

  def parse(name, convert):
    return [
      convert(x) if x not in MISSING_CELLS else np.nan for x in cells[name]
    ]

  numbers = ("age", "wage", "size")
  frame = np.empty((400, 4), object)
  for i, name in enumerate(numbers):
    frame[:, i] = parse(name, float)
  frame[:, 3] = parse("city", str)
  pipeline = ColumnTransformer(
    [
      ("n", SimpleImputer(strategy="median", add_indicator=True), [0, 1, 2]),
      ("c", OneHotEncoder(sparse_output=False), [3]),
    ]
  )
  pipeline.fit(frame[:300])
  expected = np.asarray(pipeline.transform(frame), float)
  order = [*numbers, "age=(missing)", "wage=(missing)"]
  order += ["city=Oslo", "city=Paris", "city=Rome", "city=(missing)"]
  assert sorted(order) == sorted(names)
  for position, name in enumerate(order):
    np.testing.assert_array_equal(
      actual[name], np.float32(expected[:, position]), err_msg=name
    )


def test_types_and_values_equal_those_of_pandas(tmp_path):
  pandas = pytest.importorskip("pandas", reason="compares with pandas")
  from dlcore.data.tables.table_formats import read_file

  cells = _cells(seed=1)
  cells["when"] = [f"2021-{1 + i % 12:02}-{1 + i % 28:02}" for i in range(400)]
  cells["price"] = [f'"{i},{i % 10}"' for i in range(400)]
  header, rows = ";".join(cells), zip(*cells.values(), strict=True)
  path = tmp_path / "t.csv"
  path.write_text("\n".join([header, *map(";".join, rows)]))
  frame = pandas.read_csv(path, sep=";", decimal=",", parse_dates=["when"])
  table = read_file(path)
  assert list(table.columns) == list(frame.columns)
  for name, raw in table.columns.items():
    found = infer(raw, table.decimal)
    expected = frame[name]
    if found.kind == "text":
      assert expected.dtype == object or "str" in str(expected.dtype)
      codes, names = to_names(raw)
      actual = [names[i] if i >= 0 else None for i in codes]
      assert actual == [None if x != x else x for x in expected]
      continue
    values = to_numbers(raw, found)
    if found.kind == "date":
      expected = expected.astype("datetime64[s]").astype("int64")
    np.testing.assert_array_equal(values, np.asarray(expected, float))


def test_rare_and_new_categories_are_those_of_scikit_learn():
  rng = random.Random(2)
  frequent = [f"c{i}" for i in range(5)]
  rare = [f"r{i}" for i in range(60)]
  cells = [
    rng.choice(rare if rng.random() < 0.2 else [*frequent, ""])
    for _ in range(600)
  ]
  cells[500:520] = ["new"] * 20
  rows = np.arange(500)
  table = build_table("t", [Chunk(range(600), {"c": cells})])
  typed = {name: Typed(c, infer(c)) for name, c in table.columns.items()}
  [plan], _ = fit(typed, rows, size=600)
  actual = encode_table([plan], table.columns, 600)
  objects = np.asarray([[x or np.nan] for x in cells], object)
  encoder = OneHotEncoder(
    min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False
  ).fit(objects[:500])
  expected = encoder.transform(objects)
  names = [
    name.removeprefix("x0_")
    .replace("infrequent_sklearn", "(other)")
    .replace("nan", "(missing)")
    for name in encoder.get_feature_names_out()
  ]
  assert sorted(f"c={name}" for name in names) == sorted(plan.features)
  for position, name in enumerate(names):
    column = plan.features.index(f"c={name}")
    np.testing.assert_array_equal(actual[:, column], expected[:, position])


def test_more_types_and_values_equal_those_of_pandas(tmp_path):
  pandas = pytest.importorskip("pandas", reason="compares with pandas")
  from dlcore.data.tables.table_formats import read_file

  rng = random.Random(3)
  frame = pandas.DataFrame(
    {
      "whole": [rng.randrange(10**6) for _ in range(200)],
      "gap": [None if i % 7 == 0 else i / 64 for i in range(200)],
      "flag": [i % 3 == 0 for i in range(200)],
      "when": pandas.date_range("2020-02-28", periods=200, freq="13h"),
      "word": [rng.choice(["uno", "due, tre", None]) for _ in range(200)],
      "empty": [None] * 200,
      "large": [rng.random() * 10**30 for _ in range(200)],
    }
  )
  for name in ("t.csv", "t.csv.gz", "t.jsonl", "t.jsonl.gz"):
    path = tmp_path / name
    if "csv" in name:
      frame.to_csv(path)
    else:
      frame.to_json(path, orient="records", lines=True, date_format="iso",
                    double_precision=15)  # fmt: skip
    table = read_file(path)
    assert [n for n in table.columns if n != "Unnamed: 0"] == [*frame.columns]
    kinds = {name: infer(raw) for name, raw in table.columns.items()}
    assert [kinds[name].kind for name in frame.columns] == [
      *("number", "number", "number", "date", "text", "empty", "number")
    ]
    for column, raw in table.columns.items():
      if kinds[column].kind == "text":
        codes, names = to_names(raw)
        actual = [names[i] if i >= 0 else None for i in codes]
        missing = frame[column].isna()
        assert actual == list(frame[column].astype(object).mask(missing, None))
      elif column in frame:
        expected = frame[column]
        if column == "when":
          expected = expected.astype("datetime64[s]").astype("int64")
        np.testing.assert_allclose(
          to_numbers(raw, kinds[column]), expected.astype(float), rtol=1e-14
        )


def test_thousands_and_percent_equal_those_of_pandas(tmp_path):
  pandas = pytest.importorskip("pandas", reason="compares with pandas")
  from dlcore.data.tables.table_formats import read_file

  rng = random.Random(4)
  path = tmp_path / "t.csv"
  rows = [f'"{rng.randrange(10**7):,}",{rng.random():.2%}' for _ in range(99)]
  path.write_text("\n".join(["sum,share", *rows]))
  frame = pandas.read_csv(path, thousands=",")
  shares = frame["share"].str.rstrip("%").astype(float) / 100
  columns = read_file(path).columns
  for raw, expected in ((columns["sum"], frame["sum"]),
                        (columns["share"], shares)):  # fmt: skip
    values = to_numbers(raw, infer(raw))
    np.testing.assert_allclose(values, expected.astype(float), rtol=1e-14)
