"""Texts for prediction: files, tables, strings; and hostile run folders."""

import copy
import gzip
import json
import logging

import numpy as np
import pytest

from dlcore import data
from dlcore.data.text.building import TextPart, build_splits
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

TEXTS = [
  f"{'very ' * (i % 7)}{'good' if i % 2 else 'bad'} {i}" for i in range(40)
]


def make(pairs=None, **settings):
  """The splits of some texts, without a file."""
  labels = (np.arange(len(TEXTS)) % 2).astype(np.int32)
  columns = ("text",) if pairs is None else ("text", "answer")
  part = TextPart(TEXTS, pairs, {"label": labels}, [*map(str, labels)])
  return build_splits(
    {"train": part},
    TextSettings(**{"min_count": 1, **settings}),
    "own",
    TextSchema(classes=("bad", "good"), columns=columns),
  )


@pytest.fixture(scope="module")
def info():
  return make().train.info


def _read(info, *paths, rows=100):
  return list(info.schema.read(paths, info, rows))


def _errors(batches):
  return dict(error for batch in batches for error in batch.errors)


def test_new_files_give_the_arrays_of_the_training_texts(info, tmp_path):
  train = make().train
  texts = [
    info.schema.tokenizer.decode(row.tolist())
    for row in train.arrays["input_ids"]
  ]
  lines = ["label,text\n", *(f"x,{text}\n" for text in texts)]
  (tmp_path / "new.csv").write_text("".join(lines))
  batches = _read(info, tmp_path / "new.csv", rows=7)
  assert len(batches) == -(-len(texts) // 7)
  for name in info.inputs:
    found = np.concatenate([batch.arrays[name] for batch in batches])
    np.testing.assert_array_equal(found, train.arrays[name])
  [batch] = info.schema.read_texts(texts, 100)
  np.testing.assert_array_equal(
    batch.arrays["input_ids"], train.arrays["input_ids"]
  )


def test_a_text_file_is_one_example(info, tmp_path):
  (tmp_path / "a.txt").write_text("\ufeffvery\r\n good 1\r\n")
  (tmp_path / "b.md").write_text("very good 1")
  (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"very good 1"))
  batches = _read(info, *sorted(tmp_path.iterdir()))
  rows = [batch.arrays["input_ids"] for batch in batches]
  assert [batch.names for batch in batches] == [
    [str(path)] for path in sorted(tmp_path.iterdir())
  ]
  np.testing.assert_array_equal(rows[0], rows[1])
  np.testing.assert_array_equal(rows[0], rows[2])


def test_unreadable_texts_are_errors_in_their_places(info, tmp_path):
  contents = {
    "empty.txt": b" \n",
    "latin.txt": b"one\ncaf\xe9",
    "cut.txt.gz": gzip.compress(b"good" * 99)[:-9],
    "other.csv": b"comment,label\na,x\n",
    "broken.jsonl": b'{"text": "good"}\n{"text": \n{"text": ""}\n',
    "image.png": b"\x89PNG\r\n\x1a\n\x00",
  }
  for name, content in contents.items():
    (tmp_path / name).write_bytes(content)
  batches = _read(info, *(tmp_path / name for name in contents))
  errors = _errors(batches)
  reasons = {
    "empty.txt": "an empty text",
    "latin.txt": "byte 0xe9 in line 2",
    "cut.txt.gz": "gzip",
    "other.csv": "a column 'text'",
    "broken.jsonl:2": "not a JSON object",
    "broken.jsonl:3": "an empty text",
    "image.png": "UTF-8",
  }
  assert errors.keys() == {str(tmp_path / name) for name in reasons}
  for name, reason in reasons.items():
    assert reason in errors[str(tmp_path / name)]
  assert [batch.names for batch in batches if batch.names] == [
    [f"{tmp_path / 'broken.jsonl'}:1"]
  ]


def test_long_texts_are_truncated_with_one_warning_or_errors(caplog):
  long = ["good " * 99, "good 1", "bad " * 50]
  info = make(max_length=16).train.info
  with caplog.at_level(logging.WARNING, "dlcore"):
    batches = list(info.schema.read_texts(long, 1))
  assert [batch.arrays["attention_mask"].sum() for batch in batches] == [
    *(16, 4, 16),
  ]
  assert [m for m in caplog.messages if "truncated" in m] == [
    "2 of the texts have more than 16 tokens and were truncated"
  ]
  info = make(max_length=16, on_long="error").train.info
  [batch] = info.schema.read_texts(long, 9)
  assert batch.names == ["text:1"]
  assert [name for name, _ in batch.errors] == ["text:0", "text:2"]
  assert "101 tokens" in batch.errors[0][1]


def test_max_length_and_not_the_training_texts_limits_new_ones(caplog):
  info = make(max_length=60).train.info
  assert info.schema.max_length == 16
  texts = ["good 1", "good " * 20, "good " * 40, "good " * 99]
  with caplog.at_level(logging.WARNING, "dlcore"):
    batches = list(info.schema.read_texts(texts, 1))
  masks = [batch.arrays["attention_mask"] for batch in batches]
  # Few lengths, each of which is a compiled program.
  assert [mask.shape[1] for mask in masks] == [16, 32, 60, 60]
  assert [mask.sum() for mask in masks] == [4, 22, 42, 60]
  assert "1 of the texts have more than 60 tokens" in caplog.text


def test_pairs_are_two_strings_or_one_with_a_tab(tmp_path):
  info = make(pairs=[f"answer {i}" for i in range(len(TEXTS))]).train.info
  texts = ["good\tanswer 1", ("good", "answer 1"), ["good", "answer 1"]]
  [batch] = info.schema.read_texts(texts, 9)
  for array in batch.arrays.values():
    np.testing.assert_array_equal(array[0], array[1])
    np.testing.assert_array_equal(array[0], array[2])
  assert batch.arrays["token_type_ids"][0].sum() == 3
  for wrong in ("good", ("a", "b", "c"), ("a",), (1, "a")):
    with pytest.raises(UserError, match="expected two texts") as error:
      list(info.schema.read_texts([wrong], 9))
    assert len(error.value.lines) == 3
  (tmp_path / "a.txt").write_text("good")
  assert "answer" in _errors(_read(info, tmp_path / "a.txt")).popitem()[1]


def test_the_columns_of_a_frame_are_read_as_those_of_a_file(info):
  frame = {"other": [1] * 3, "text": ["very good 1", None, "bad\n2"]}
  batches = list(info.schema.read_frame(frame, 2))
  assert [batch.names for batch in batches] == [["row:0"], ["row:2"]]
  assert _errors(batches) == {"row:1": "an empty text"}
  [expected] = info.schema.read_texts(["very good 1", "bad 2"], 9)
  found = [batch.arrays["input_ids"] for batch in batches]
  np.testing.assert_array_equal(
    np.concatenate(found), expected.arrays["input_ids"]
  )
  with pytest.raises(UserError, match="a column 'text'"):
    list(info.schema.read_frame({"txt": ["a"]}, 2))


def test_a_schema_survives_json(info):
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content) == info


HOSTILE = {
  "tokenizer": [None, 3, {}, {"kind": "words"}, {"kind": "bytes"}],
  "columns": [[], ["a", "b"], ["a", "b", "c"], "text", [1]],
  "max_length": [0, -1, 7, 1 << 40, "8", 2.0],
  "prediction_length": [-1, 1 << 40, "8", 2.0],
  "on_long": ["cut", 3, None],
  "vocab_size": [3, -1, "9", None],
}


@pytest.mark.parametrize(
  ("field", "value"),
  [(field, value) for field, values in HOSTILE.items() for value in values],
  ids=str,
)
def test_a_hostile_schema_is_refused(info, field, value):
  content = json.loads(json.dumps(data.info_to_json(info)))
  content["schema"][field] = value
  with pytest.raises(ValueError, match=field):
    data.info_from_json(content)


@pytest.mark.parametrize(
  "inputs",
  [
    {"input_ids": {"shape": [1 << 29], "dtype": "int32"}},
    {"input_ids": {"shape": [8, 8], "dtype": "int32"}},
    {"image": {"shape": [8, 8, 3], "dtype": "uint8"}},
  ],
  ids=str,
)
def test_inputs_that_are_no_texts_are_refused(info, inputs):
  content = copy.deepcopy(data.info_to_json(info))
  content["inputs"] = inputs
  with pytest.raises(ValueError):  # noqa: PT011  of any field
    data.info_from_json(content)


def test_one_builder_serves_other_loaders():
  splits = make(tokenizer="bytes", lowercase=True)
  assert [part.size for part in splits if part] == [36, 4]
  schema = splits.train.info.schema
  assert (schema.vocab_size, schema.target) == (260, "label")
  assert splits.train.info.name == "own"
  assert splits.train.info.class_counts == (18, 18)
