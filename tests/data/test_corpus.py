"""Running text: documents, splits, tokens, counts of characters and bytes."""

import gzip
import json
import re

import numpy as np
import pytest

from dlcore import data
from dlcore.data.info import IGNORED
from dlcore.data.text import corpus_files
from dlcore.data.text.corpus_files import (
  find_copies,
  read_documents,
  split_paragraphs,
)
from dlcore.errors import UserError

WORDS = ("tide", "harbour", "lantern", "quiet", "salt", "œuvre", "gull")


def write_text(path, paragraphs=60, seed=0):
  """Writes paragraphs of random words and returns the text."""
  random = np.random.default_rng(seed)
  text = "\n\n".join(
    f"{i}: " + " ".join(random.choice(WORDS, 12)) for i in range(paragraphs)
  )
  path.write_text(text, encoding="utf-8")
  return text


def decode(source):
  """Returns the text of a source whose rows follow one another."""
  arrays = source.arrays
  ids = arrays["input_ids"][arrays["labels"] != IGNORED]
  last = arrays["labels"][arrays["labels"] != IGNORED][-1]
  return source.info.schema.tokenizer.decode([*ids.tolist(), int(last)])


@pytest.mark.parametrize("tokenizer", ["characters", "bytes"])
def test_the_splits_joined_are_the_text_in_its_order(tmp_path, tokenizer):
  text = write_text(tmp_path / "a.txt")
  splits = data.load(
    "text_file",
    path=str(tmp_path / "a.txt"),
    tokenizer=tokenizer,
    max_length=32,
    test_fraction=0.2,
  )
  assert "".join(map(decode, splits)) == text
  parts = splits._asdict().items()
  sizes = {name: len(decode(part)) / len(text) for name, part in parts}
  assert sizes["test"] == pytest.approx(0.2, abs=0.02)
  assert sizes["valid"] == pytest.approx(0.1, abs=0.02)
  assert decode(splits.test)[0].isdigit()  # The beginning of a paragraph.
  schema = splits.train.info.schema
  again = data.info_from_json(data.info_to_json(splits.train.info)).schema
  assert again == schema


def test_counts_of_characters_and_bytes_are_those_of_the_scored_text(tmp_path):
  text = write_text(tmp_path / "a.txt")
  for tokenizer in ("characters", "bytes", "words"):
    splits = data.load(
      "text_file",
      path=str(tmp_path / "a.txt"),
      tokenizer=tokenizer,
      valid_fraction=0.0,
      test_fraction=0.0,
    )
    arrays = splits.train.arrays
    num_tokens = np.sum(arrays["labels"] != IGNORED)
    # All but the first token is scored.
    share = num_tokens / (num_tokens + 1)
    characters, size = len(text), len(text.encode())
    assert arrays["num_characters"].sum() == pytest.approx(characters * share)
    assert arrays["num_bytes"].sum() == pytest.approx(size * share)
  one = arrays["num_characters"].max() if tokenizer == "characters" else 0
  assert one in (0, 128)


def test_documents_end_with_a_token_that_is_no_character(tmp_path):
  write_text(tmp_path / "a.txt", paragraphs=10)
  splits = data.load(
    "text_file",
    path=str(tmp_path / "a.txt"),
    documents="paragraph",
    packing="packed",
    max_length=100,
    test_fraction=0.0,
  )
  arrays, schema = splits.train.arrays, splits.train.info.schema
  ends = arrays["input_ids"] == schema.tokenizer.eos_id
  assert ends.sum() == arrays["segment_ids"].max(1).sum() == 9
  scored = arrays["labels"] != IGNORED
  assert arrays["num_characters"].sum() == pytest.approx(scored.sum() - 9)
  assert set(splits.train.info.inputs) == {
    "input_ids",
    "positions",
    "segment_ids",
  }


def test_the_vocabulary_is_that_of_train_alone(tmp_path):
  path = tmp_path / "a.txt"
  path.write_text("abc " * 300 + "xyz")
  splits = data.load("text_file", path=str(path), valid_fraction=0.0)
  tokenizer = splits.train.info.schema.tokenizer
  assert "x" not in tokenizer.symbols
  notes = " ".join(splits.train.info.notes)
  assert re.search(r"vocabulary: 3 \(\d\.\d\d%\) of test", notes)


def test_repeated_paragraphs_are_counted_or_removed(tmp_path):
  (tmp_path / "a.txt").write_text("one two\n\nthree\n\n one  two\n\nfour five")
  settings = {"path": str(tmp_path / "a.txt"), "valid_fraction": 0.0}
  settings["test_fraction"] = 0.0
  kept = data.load("text_file", **settings).train
  assert "1 of 4 paragraphs (25.0%) are copies" in " ".join(kept.info.notes)
  removed = data.load("text_file", **settings, duplicates="remove").train
  assert decode(removed) == "one two\n\nthree\n\nfour five"


def test_folders_json_lines_and_gzip_are_read_in_their_order(tmp_path):
  folder = tmp_path / "texts"
  folder.mkdir()
  (folder / "b.txt").write_bytes(b"\xef\xbb\xbffirst\r\nline")
  lines = [{"id": 1, "body": "a\nb"}, {"id": 2, "body": "c"}]
  content = "\n".join(map(json.dumps, lines)).encode()
  (folder / "c.jsonl.gz").write_bytes(gzip.compress(content))
  (folder / "d.png").write_bytes(b"no text")
  source = data.load(
    "text_file",
    path=str(folder),
    text="body",
    valid_fraction=0.0,
    test_fraction=0.0,
  ).train
  ids = source.arrays["input_ids"].ravel().tolist()
  end = source.info.schema.tokenizer.eos_id
  first, second, third, *_ = "".join(
    "|" if i == end else source.info.schema.tokenizer.decode([i])
    for i in ids[: source.arrays["labels"].ravel().tolist().index(IGNORED)]
  ).split("|")
  assert (first, second, third) == ("first\nline", "a\nb", "c")


def test_paragraphs_joined_are_the_text():
  text = "  a\nb\n\n\n   c\n \t\nd\n"
  paragraphs = split_paragraphs(text)
  assert paragraphs == ["  a\nb\n\n\n", "   c\n \t\n", "d\n"]
  assert find_copies(["a b", "c", " a\n b\n"]) == [False, False, True]


def test_a_limit_of_rows_that_follow_one_another_is_the_first_ones(tmp_path):
  write_text(tmp_path / "a.txt")
  train = data.load("text_file", path=str(tmp_path / "a.txt")).train
  part = data.limit(train, 5)
  np.testing.assert_array_equal(
    part.arrays["input_ids"], train.arrays["input_ids"][:5]
  )


@pytest.mark.parametrize(
  ("content", "settings", "message"),
  [
    ("a text of many words", {"max_length": 1}, "max_length from 2"),
    ("a text of many words", {"packing": "loose"}, "packing to be"),
    ("a text of many words", {"tokenizer": "bpe"}, "tokenizer to be one of"),
    ("a text of many words", {"test_fraction": 1.5}, "test_fraction"),
    ("   \n ", {}, "expected text in"),
    ("a text", {"documents": "paragraph"}, "expected text for the split"),
  ],
)
def test_bad_settings_and_files_are_three_lines(
  tmp_path, content, settings, message
):
  (tmp_path / "a.txt").write_text(content)
  with pytest.raises(UserError, match=message) as error:
    data.load("text_file", path=str(tmp_path / "a.txt"), **settings)
  assert len(error.value.lines) <= 3


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"caf\xe9 au lait", "UTF-8"),
    (b'{"text": "a"}\n{"text": 3}', "line 2"),
    (b'{"text": "a"}\n{"text": ', "line 2"),
    (b'{"body": "a"}', "a text 'text'"),
  ],
)
def test_files_in_another_form_are_refused_by_line(tmp_path, content, message):
  path = tmp_path / "a.jsonl"
  path.write_bytes(content)
  with pytest.raises(UserError, match=message):
    data.load("text_file", path=str(path))


def test_files_are_read_in_pieces_within_bounds(tmp_path, monkeypatch):
  text = "one two three " * 9 + "\n"
  (tmp_path / "a.txt").write_text(text)
  row = json.dumps({"text": text}) + "\n"
  (tmp_path / "a.jsonl").write_text(row * 3)
  for name, value in (("PIECE", 7), ("MAX_LINE", len(row))):
    monkeypatch.setattr(corpus_files, name, value)
  assert read_documents(tmp_path / "a.txt", "text") == [text]
  assert read_documents(tmp_path / "a.jsonl", "text") == [text] * 3
  monkeypatch.setattr(corpus_files, "MAX_LINE", len(row) - 9)
  with pytest.raises(UserError, match="got more in line 1"):
    read_documents(tmp_path / "a.jsonl", "text")
  monkeypatch.setattr(corpus_files, "MAX_CHARACTERS", 100)
  with pytest.raises(UserError, match="at most 100 characters"):
    read_documents(tmp_path / "a.txt", "text")


def test_new_files_are_cut_as_the_training_data(tmp_path):
  write_text(tmp_path / "a.txt")
  splits = data.load("text_file", path=str(tmp_path / "a.txt"))
  info = splits.train.info
  new = tmp_path / "new.txt"
  new.write_text("salt and quiet " * 20)
  first, second = info.schema.read([new], info, rows=2)
  assert first.names == [f"{new}[0]", f"{new}[1]"]
  assert second.names == [f"{new}[2]"]
  assert {k: v.shape for k, v in first.arrays.items()} == {
    "input_ids": (2, 128),
    "labels": (2, 128),
  }
  # The token after the last of a row is in the next row.
  assert first.arrays["labels"][0, -1] == first.arrays["input_ids"][1, 0]
  (bad,) = info.schema.read([tmp_path / "none.txt"], info, rows=2)
  assert bad.arrays is None
  assert "no file" in bad.errors[0][1]
