"""The page shows sizes, notes, class counts and examples of the data."""

import dataclasses
import json
import logging
import re

import numpy as np
import pytest

from dlcore import data, report
from dlcore.data.tables.table_file import table_file
from dlcore.report import count_table, data_arrays, run
from dlcore.report.table_cells import to_cells
from dlcore.report_arrays import DATA_COUNTS

RANDOM = np.random.default_rng(0)
HOSTILE = "<script>alert('1')</script>"


def images(counts, names=None, **options):
  """Returns a source with `counts[c]` pictures of the class c."""
  label = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
  names = names or [f"class {i}" for i in range(len(counts))]
  pixels = RANDOM.integers(0, 255, (len(label), 5, 4, 3), np.uint8)
  arrays = {"image": pixels, "label": label}
  return data.from_arrays(arrays, name="pets", classes=names, **options)


def written(path, **splits):
  """Returns the section on the data of a run with these splits."""
  (path / "assets").mkdir(parents=True, exist_ok=True)
  sizes = {k: {"size": s.size, "sha256": "ab"} for k, s in splits.items()}
  content = {**data.info_to_json(splits["train"].info), "splits": sizes}
  (path / "assets/data.json").write_text(json.dumps(content))
  report.write_data(path, splits)
  text = report.write(path).read_text()
  assert "omitted" not in text
  return text.partition("<h2>About the data</h2>")[2].partition("</section>")[0]


def cells(text):
  """Returns the text of the cells of every row of a table."""
  rows = re.findall("<tr>(.*?)</tr>", text)
  return [
    [re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?</td>", row)]
    for row in rows
  ][1:]


def test_every_class_has_its_counts_and_pictures(tmp_path):
  train = images([40, 7, 0], ["cat", "dog", "emu"], notes=["3 are resized"])
  text = written(tmp_path, train=train, valid=images([2, 0, 1]))
  assert [row[0] for row in cells(text)] == ["cat", "dog", "emu"]
  assert [row[1] for row in cells(text)] == ["40", "7", "0"]
  assert [row[3] for row in cells(text)] == ["2", "0", "1"]
  assert text.count('class="absent"') == 2
  assert "3 are resized" in text
  assert text.count("<img") == data_arrays.MAX_PER_CLASS + 7
  assert re.findall(r"<dt title=[^>]*>(\w+)", text) == ["cat", "dog"]


def test_a_long_tail_is_one_row(tmp_path):
  counts = [100 - i for i in range(60)]
  text = written(tmp_path, train=images(counts))
  rows = cells(text)
  assert len(rows) == count_table.MAX_CLASSES - 1
  shown = [int(row[1].replace(",", "")) for row in rows]
  assert shown == sorted(shown[:-1], reverse=True) + shown[-1:]
  assert sum(shown) == sum(counts)
  assert "46 others, 41 to 86 each" in rows[-1][0]
  assert text.count("<img") <= data_arrays.MAX_EXAMPLES


def test_examples_of_several_labels_are_named(tmp_path):
  arrays = {
    "image": RANDOM.integers(0, 255, (9, 3, 3, 1), np.uint8),
    "label": np.tile(np.array([[1, 0, 1]], np.float32), (9, 1)),
  }
  source = data.from_arrays(
    arrays, name="tags", classes=("a", "b", "c"), multilabel=True
  )
  text = written(tmp_path, train=source)
  assert text.count("a, c") == 9
  assert [row[1] for row in cells(text)] == ["9", "0", "9"]


def test_examples_of_tagged_tokens_have_their_tags(tmp_path):
  (tmp_path / "a.conll").write_text("the O\ncat B-X\n. _\n\nAnn B-Y\n")
  settings = {"min_count": 1, "valid_fraction": 0.0, "test_fraction": 0.0}
  splits = data.load(
    "tagged_text",
    path=str(tmp_path / "a.conll"),
    cache_dir=str(tmp_path / "cache"),
    **settings,
  )
  text = written(tmp_path / "run", train=splits.train)
  shown = re.findall('<dd dir="auto">(.*?)</dd>', text)
  assert sorted(shown) == ["Ann/B-Y", "the/O cat/B-X ."]
  assert "tokens by class" in text
  assert cells(text) == [[name, "1", ""] for name in ("B-X", "B-Y", "O")]


def test_numbers_have_a_histogram_and_rows_from_low_to_high(tmp_path):
  target = RANDOM.normal(size=50).astype(np.float32)
  arrays = {"features": np.stack([target] * 3, 1), "target": target}
  text = written(tmp_path, train=data.from_arrays(arrays, name="x"))
  assert "target, train" in text
  shown = [float(row[0].replace("\u2212", "-")) for row in cells(text)]
  assert shown == sorted(shown)
  assert shown[0] == pytest.approx(target.min(), rel=1e-3)
  assert shown[-1] == pytest.approx(target.max(), rel=1e-3)


def test_a_stream_is_sampled(tmp_path):
  source, sizes = images([300, 700]), []

  def read(rows):
    sizes.append(len(rows))
    return source.read(rows)

  info = source.info._replace(class_counts=())
  stream = source._replace(arrays=None, read=read, info=info)
  text = written(tmp_path, train=stream)
  assert max(sizes) <= data_arrays.SAMPLE
  assert text.count("<img") == 2 * data_arrays.MAX_PER_CLASS
  assert not cells(text)


@pytest.fixture(scope="module")
def people(tmp_path_factory):
  """The path of a table with gaps, dates and categories."""
  path = tmp_path_factory.mktemp("tables") / "people.csv"
  lines = ["age,city,joined,opened,risk"]
  for i in range(60):
    age = "" if i % 9 == 0 else f"{20 + i / 4:g}"
    city = "" if i % 11 == 0 else f"{('Köln', 'Bonn', HOSTILE)[i % 3]}"
    date, time = f"2024-{1 + i % 12:02}-{1 + i % 28:02}", f"{i % 24:02}:30"
    lines.append(f"{age},{city},{date},{time},{'high' if i % 2 else 'low'}")
  path.write_text("\n".join(lines) + "\n")
  return path


def test_features_are_shown_as_the_cells_of_the_file(people, tmp_path):
  train = table_file(path=str(people), target="risk").train
  content = run.Run("x", {}, data.info_to_json(train.info), {}, {}, {}, ())
  columns, rows = to_cells(content, train.arrays["features"])
  lines = people.read_text().splitlines()
  assert columns == lines[0].split(",")[:-1]
  assert train.names is not None
  for name, row in zip(train.names, rows, strict=True):
    line = lines[int(name.rpartition(":")[2]) - 1]
    assert ",".join(row) == line.rpartition(",")[0]
  text = written(tmp_path, train=train)
  assert "<script" not in text
  assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
  "plan", [[{}], [{"name": "a", "kind": "number"}], "x", [1], [{"name": []}]]
)
def test_a_malformed_encoding_shows_the_features(plan):
  content = {"schema": {"plan": plan, "columns": ["a", "b"]}}
  subject = run.Run("x", {}, content, {}, {}, {}, ())
  columns, rows = to_cells(subject, np.ones((3, 2), np.float32))
  assert columns == ["a", "b"]
  assert rows == [["1", "1"]] * 3


@pytest.mark.parametrize(
  ("name", "value"),
  [
    (f"{DATA_COUNTS}train", np.array([-1, 2])),
    (f"{DATA_COUNTS}train", np.array([["a"]])),
    ("data/targets/train", np.array([np.nan])),
    ("data/label", np.array([0])),
    ("data/label", np.array([-1, 0])),
    ("data/input", np.zeros((2, 3, 3, 1), np.float32)),
    ("data/input", np.zeros((2, 0), np.float32)),
    ("data/other", np.zeros(2)),
  ],
)
def test_malformed_arrays_are_omitted_with_a_remark(tmp_path, name, value):
  report.write_data(tmp_path, {"train": images([1, 1])})
  file = tmp_path / data_arrays.NAME
  with np.load(file) as archive:
    arrays = {**archive, name: value}
  np.savez(file, allow_pickle=False, **arrays)
  (tmp_path / "sha256.json").unlink()
  subject = run.read(tmp_path)
  assert len(subject.remarks) == 1
  assert name not in subject.arrays
  report.write(tmp_path)


def test_many_notes_are_folded_and_escaped(tmp_path):
  notes = [f"column {i}: {HOSTILE}" for i in range(30)]
  text = written(tmp_path, train=images([3, 3], notes=notes))
  assert "22 more notes" in text
  assert text.count("&lt;script&gt;") == 30
  assert "<script" not in text


def test_a_source_that_cannot_be_read_is_a_warning(tmp_path, caplog):
  source = images([3, 3])._replace(arrays=None, read=lambda rows: 1 / 0)
  with caplog.at_level(logging.WARNING, "dlcore"):
    report.write_data(tmp_path, {"train": source})
  assert "the report omits examples of the data" in caplog.text
  assert not (tmp_path / data_arrays.NAME).exists()


def test_a_source_without_a_known_input_is_described(tmp_path):
  source = data.from_arrays({"x": np.zeros((4, 2), np.float32)}, name="x")
  schema = dataclasses.replace(source.info.schema, input="")
  info = source.info._replace(schema=schema)
  assert data_arrays.describe_data({"train": source._replace(info=info)}) == {}
