"""Texts in tables: formats, splits, lengths, targets and bad input."""

import csv
import gzip
import io
import json
import logging
import pickle
import random

import numpy as np
import pytest
import tokenizers

from dlcore import data
from dlcore.data.text.text_encoding import clean_text
from dlcore.errors import UserError

WORDS = {
  "good": ("great", "nice", "lovely", "fine"),
  "bad": ("awful", "poor", "dull", "sad"),
}
FILL = ("the", "film", "was", "a", "story", "of", "it", "and")


def make_rows(count=60, seed=0):
  """Rows of different lengths whose words decide the class."""
  rng = random.Random(seed)
  rows = []
  for i in range(count):
    label = ("good", "bad")[i % 2]
    words = rng.choices(WORDS[label], k=2) + rng.choices(FILL, k=i % 13)
    rows.append(
      {
        "text": f"{' '.join(words)} {i}",
        "other": f"about {label} {i % 5}",
        "label": label,
        "number": f"{rng.gauss(3, 2):.4f}",
        "a": i % 2,
        "b": int(i % 3 == 0),
        "who": f"person {i // 4}",
      }
    )
  return rows


def to_csv(rows, delimiter=","):
  stream = io.StringIO()
  writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
  writer.writeheader()  # With CRLF.
  writer.writerows(rows)
  return stream.getvalue()


def to_jsonl(rows):
  return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def load(tmp_path, caplog):
  """Writes rows to a file and loads it: `(splits, notes)`."""

  def load(rows=None, name="own.csv", content=None, **settings):
    path = tmp_path / name
    if content is None:
      content = to_csv(make_rows() if rows is None else rows)
    path.write_bytes(
      content if isinstance(content, bytes) else content.encode()
    )
    caplog.clear()
    caplog.set_level(logging.WARNING)
    settings = {"path": str(path), "text": "text", "min_count": 1, **settings}
    if "targets" not in settings:
      settings = {"target": "label", **settings}
    cache_dir = str(tmp_path / "cache")
    splits = data.load("text_csv", **settings, cache_dir=cache_dir)
    return splits, "\n".join(caplog.messages)

  return load


def _refused(match, load, *arguments, **settings):
  with pytest.raises(UserError, match=match) as caught:
    load(*arguments, **settings)
  assert len(caught.value.lines) <= 3
  assert all(len(line) < 1500 for line in caught.value.lines)
  return str(caught.value)


def _texts(part):
  """The decoded texts of a split, which have been clean."""
  tokenizer = part.info.schema.tokenizer
  return [*map(tokenizer.decode, part.arrays["input_ids"].tolist())]


def _checksums(splits):
  return [part.info.sha256 for part in splits]


def test_every_text_is_in_one_split_with_its_label_and_its_length(load):
  rows = make_rows()
  splits, notes = load(rows, tokenizer="bytes")
  labels = {row["text"]: row["label"] for row in rows}
  found = {}
  for part in splits:
    schema, arrays = part.info.schema, part.arrays
    mask = arrays["attention_mask"]
    np.testing.assert_array_equal(mask.sum(1), part.lengths)
    np.testing.assert_array_equal(arrays["input_ids"] == 0, mask == 0)
    assert arrays["input_ids"].shape[1] % 8 == 0
    assert schema.sequences == ("input_ids", "attention_mask")
    for text, label in zip(_texts(part), arrays["label"], strict=True):
      found[text] = schema.classes[label]
  assert found == labels
  assert [part.size for part in splits] == [44, 4, 12]
  assert "classification of 2 classes" in notes
  longest = max(len(row["text"]) for row in rows)
  assert max(part.lengths.max() for part in splits) == 2 + longest


def test_the_vocabulary_is_that_of_the_training_texts(load):
  splits, notes = load()
  known = set(splits.train.info.schema.tokenizer.symbols)
  assert known == {
    word for text in _texts(splits.train) for word in text.split()
  }
  held_out = splits.test.arrays["input_ids"]
  assert (held_out == 1).any()  # The numbers of the rows.
  assert "unknown are 0.0% of train" in notes
  sizes = {part.info.schema.vocab_size for part in splits}
  assert sizes == {len(known) + 4}


@pytest.mark.parametrize("tokenizer", ["words", "characters", "bytes"])
def test_the_order_of_the_rows_changes_neither_splits_nor_ids(load, tokenizer):
  rows = make_rows()
  first, _ = load(rows, tokenizer=tokenizer)
  random.Random(3).shuffle(rows)
  second, _ = load(rows, tokenizer=tokenizer)
  for one, other in zip(first, second, strict=True):
    assert one.info.schema == other.info.schema
    pairs = [
      sorted(np.column_stack([part.arrays["label"], ids]).tolist())
      for part in (one, other)
      for ids in [part.arrays["input_ids"]]
    ]
    assert pairs[0] == pairs[1]


def test_every_format_gives_the_same_arrays(load):
  rows = make_rows()
  table, lines = to_csv(rows), to_jsonl(rows)
  expected = _checksums(load(rows)[0])
  for name, content in {
    "t.csv": "\ufeff" + table,
    "lf.csv": table.replace("\r\n", "\n"),
    "16.csv": table.encode("utf-16"),
    "t.tsv": to_csv(rows, "\t"),
    "t.csv.gz": gzip.compress(table.encode()),
    "t.jsonl": lines,
    "t.jsonl.gz": gzip.compress(lines.encode()),
    "spaces.csv": table.replace("the ", "the \t "),
  }.items():
    splits, _ = load(name=name, content=content)
    assert _checksums(splits) == expected, name


def test_cells_of_a_text_column_are_never_numbers_or_missing(load):
  texts = ["007", "1e3", "NA", "-", "None", "true", "1,5", "?"]
  rows = [
    {"text": text, "label": label} for text in texts for label in ("x", "y")
  ]
  splits, _ = load(rows, tokenizer="bytes", duplicates="move")
  assert {text for part in splits for text in _texts(part)} == set(texts)


def test_streamed_rows_equal_those_in_memory(load):
  for settings in ({}, {"pair": "other"}, {"target": "number"}):
    memory, _ = load(**settings)
    streamed, _ = load(**settings, in_memory_limit=10)
    for one, other in zip(memory, streamed, strict=True):
      assert other.arrays is None
      np.testing.assert_array_equal(one.lengths, other.lengths)
      np.testing.assert_array_equal(one.names, other.names)
      index = np.array([2, 0, 1, 2], np.int32)
      expected = one.read(index)
      found = pickle.loads(pickle.dumps(other.read))(index)
      assert found.keys() == expected.keys()
      for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
      assert one.info.schema == other.info.schema
      assert one.info.inputs == other.info.inputs
      assert one.info.class_counts == other.info.class_counts


def test_pairs_have_token_types_and_share_the_vocabulary(load):
  rows = make_rows()
  splits, _ = load(rows, pair="other")
  schema = splits.train.info.schema
  assert schema.columns == ("text", "other")
  assert schema.sequences[-1] == "token_type_ids"
  row = next(r for r in rows if r["text"] == _first_text(splits.train))
  ids = splits.train.arrays["input_ids"][0]
  types = splits.train.arrays["token_type_ids"][0]
  first = schema.tokenizer.encode(row["text"])
  second = schema.tokenizer.encode(row["other"])
  expected = [2, *first, 3, *second, 3]
  assert ids[: len(expected)].tolist() == expected
  assert types.tolist() == [
    *[0] * (len(first) + 2),
    *[1] * (len(second) + 1),
    *[0] * (len(ids) - len(expected)),
  ]


def _first_text(source):
  ids = source.arrays["input_ids"][0].tolist()
  return source.info.schema.tokenizer.decode(ids[: ids.index(3)])


def test_several_labels_and_numbers_are_targets(load):
  splits, _ = load(targets=("a", "b"))
  schema = splits.train.info.schema
  assert (schema.multilabel, schema.classes) == (True, ("a", "b"))
  assert splits.train.arrays["label"].shape[1] == 2
  assert "label" not in schema.sequences
  rows = make_rows()
  splits, notes = load(rows, target="number")
  values = {float(row["number"]) for row in rows}
  found = np.concatenate([part.arrays["target"] for part in splits])
  np.testing.assert_allclose(sorted(found), sorted(values), rtol=1e-6)
  moments = splits.train.info.schema.target_normalization
  assert moments["mean"] == pytest.approx(splits.train.arrays["target"].mean())
  assert "regression" in notes
  for row in rows:
    row["label"] += ";x" if row["b"] else ""
  splits, _ = load(rows)
  assert splits.train.info.schema.classes == ("bad", "good", "x")


def test_groups_folds_and_a_column_of_splits(load):
  rows = make_rows()
  splits, _ = load(rows, group="who")
  people = [
    {rows[int(name.split(":")[1]) - 2]["who"] for name in part.names}
    for part in splits
  ]
  assert not people[0] & people[1] | people[0] & people[2]
  tests = [load(rows, folds=4, fold=i)[0].test for i in range(4)]
  names = [name for part in tests for name in part.names]
  assert sorted(names) == sorted(f"own.csv:{i + 2}" for i in range(len(rows)))
  for i, row in enumerate(rows):
    row["part"] = ("train", "valid", "test")[i % 3]
  splits, _ = load(rows, split="part")
  assert [part.size for part in splits] == [20, 20, 20]


@pytest.mark.parametrize("settings", [{}, {"folds": 3}], ids=str)
def test_equal_texts_are_in_one_split_whatever_their_label(load, settings):
  rows = make_rows(30)
  others = [{**row, "label": "bad"} for row in rows]
  splits, notes = load([*rows, *others, *rows], **settings)
  texts = [set(splits.train.info.schema.display(s.arrays)) for s in splits]
  assert sum(map(len, texts)) == len(set.union(*texts)) == 30
  assert "60 of 90 examples repeat others, in the same split" in notes


def test_equal_texts_are_counted_whatever_their_label(load, tmp_path):
  rows = make_rows(20)
  again = [{**row, "label": "good"} for row in rows[:7]]
  (tmp_path / "test.csv").write_text(to_csv([*again, *make_rows(9, seed=1)]))
  files = {"path": "", "train": str(tmp_path / "own.csv")}
  splits, notes = load(rows, **files, test=str(tmp_path / "test.csv"))
  assert "7 of 16" in notes or "7 examples" in notes, notes
  moved, _ = load(
    rows, **files, test=str(tmp_path / "test.csv"), duplicates="move"
  )
  assert moved.test.size == splits.test.size - 7


def test_long_texts_are_truncated_and_counted_or_refused(load):
  rows = make_rows()
  splits, notes = load(rows, max_length=9)
  full = {clean_text(row["text"]): len(row["text"].split()) for row in rows}
  long = sum(2 + size > 9 for size in full.values())
  assert f"{long} of 60 texts are truncated to 9 tokens" in notes
  assert splits.train.arrays["input_ids"].shape[1] == 9
  assert (
    splits.train.arrays["input_ids"][splits.train.lengths == 9][:, -1] == 3
  ).all()
  message = _refused("at most 9 tokens", load, max_length=9, on_long="error")
  assert "own.csv:" in message
  assert "max_length" in message


def test_empty_texts_and_rows_without_a_target_are_left_out(load):
  rows = make_rows()
  rows[3]["text"], rows[5]["text"], rows[7]["label"] = "", " \t ", ""
  splits, notes = load(rows)
  assert sum(part.size for part in splits) == 57
  assert "2 examples with an empty text were left out: own.csv:5" in notes
  assert "1 rows without a target were skipped: own.csv:9" in notes
  _, notes = load(rows, pair="other")
  assert "2 examples" in notes


def test_texts_of_which_the_tokenizer_makes_no_token_are_counted(
  load, tmp_path
):
  letters = {letter: i for i, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
  inner = tokenizers.Tokenizer(tokenizers.models.BPE(letters, []))
  inner.save(str(tmp_path / "tokenizer.json"))
  rows = make_rows()
  rows[3]["text"] = "123 456"
  _, notes = load(rows, tokenizer=str(tmp_path / "tokenizer.json"))
  assert "1 texts have no token: own.csv:5" in notes


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"text": ""}, "expected text to name the column"),
    ({"text": "tekst"}, "did you mean 'text'"),
    ({"pair": "othr"}, "did you mean 'other'"),
    ({"target": "lable"}, "did you mean 'label'"),
    ({"target": ""}, "expected text to name"),
    ({"target": "label", "targets": ("a",)}, "expected text to name"),
    ({"target": "text"}, "different columns"),
    ({"pair": "text"}, "different columns"),
    ({"group": "whom"}, "did you mean 'who'"),
    ({"tokenizer": "wordz"}, "did you mean 'words'"),
    ({"tokenizer": "/no/tokenizer.json"}, "tokenizer"),
    ({"max_length": 7}, "max_length from 8"),
    ({"on_long": "cut"}, "on_long"),
    ({"on_bad": "drop"}, "on_bad"),
    ({"task": "tagging"}, "task"),
    ({"target": "who"}, "classes that repeat"),
    ({"target": "label", "task": "regression"}, "expected numbers"),
    ({"path": ""}, "expected path"),
    ({"path": "/no/file.csv"}, "no file"),
  ],
  ids=str,
)
def test_wrong_settings_are_three_lines(load, settings, match):
  rows = make_rows()
  for i, row in enumerate(rows):
    row["who"] = f"person {i}"
  _refused(match, load, rows, **settings)


@pytest.mark.parametrize(
  ("name", "content", "match"),
  [
    ("t.csv", b"", "an empty file"),
    ("t.csv", b"text,label\n", "no rows"),
    ("t.csv", b"text,label\na,x\ncaf\xe9,y\n", "byte 0xe9 in line 3"),
    ("t.csv", b"text,label\n ,x\n,y\n", "all of them empty"),
    ("t.csv", b"text,label\na,\nb,\n", "empty cells only"),
    ("t.csv", b"text,label\na,x\nb,y,1\n", "t.csv:3: 3 fields"),
    ("t.jsonl", b'{"text": "a", "label": "x"}\n{"text": \n', "t.jsonl:2"),
    ("t.jsonl", b'[{"text": "a"}]', "an array"),
    ("t.xlsx", b"PK", "Excel"),
    ("t.csv", b'text,label\n"a,x\n', "quote"),
  ],
  ids=str,
)
def test_bad_files_are_three_lines(load, name, content, match):
  _refused(match, load, name=name, content=content)


def test_bad_rows_are_skipped_if_chosen(load):
  content = to_jsonl(make_rows()) + '{"text": "broken\n'
  _refused("own.jsonl:61: not a JSON", load, name="own.jsonl", content=content)
  splits, notes = load(name="own.jsonl", content=content, on_bad="skip")
  assert sum(part.size for part in splits) == 60
  assert "1 bad rows were skipped: own.jsonl:61" in notes


def test_one_class_only_is_noted(load):
  rows = [{**row, "label": "good"} for row in make_rows()]
  _, notes = load(rows)
  assert "all examples have the class 'good'" in notes


def test_a_class_of_test_that_train_lacks_is_refused(load, tmp_path):
  rows = [{**row, "label": "new"} for row in make_rows(6)]
  (tmp_path / "test.csv").write_text(to_csv(rows))
  _refused(
    "among those of train",
    load,
    path="",
    train=str(tmp_path / "own.csv"),
    test=str(tmp_path / "test.csv"),
  )


def test_a_changed_tokenizer_file_is_read_again(load, tmp_path):
  training = pytest.importorskip("dlcore.data.text.tokenizer_training")
  pytest.importorskip("tokenizers")
  path = tmp_path / "tokenizer.json"
  sizes = []
  for vocab_size in (265, 280):
    texts = [row["text"] for row in make_rows()]
    found = training.train_tokenizer(texts, vocab_size=vocab_size)
    path.write_bytes(found.to_file())
    splits, _ = load(tokenizer=str(path))
    sizes.append(splits.train.info.schema.vocab_size)
    assert splits.train.info.schema.tokenizer == found
  assert sizes == [265, 280]
