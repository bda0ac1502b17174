"""Pairs of texts: files, vocabularies, lengths, references and bad input."""

import gzip
import json
import logging

import numpy as np
import pytest

from dlcore import data
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

ENGLISH = ("one", "two", "three", "four", "five", "six", "seven")
FRENCH = ("un", "deux", "trois", "quatre", "cinq", "six", "sept")


def make_pairs(count=60):
  """Pairs of different lengths, of which each source has one target."""
  random = np.random.default_rng(0)
  rows = [random.integers(0, 7, 2 + i % 5) for i in range(count)]
  sides = ([" ".join(side[i] for i in row) for row in rows] for side in SIDES)
  return list(zip(*sides, strict=True))


SIDES = (ENGLISH, FRENCH)
PAIRS = make_pairs()


def write_parallel(folder, name, pairs, ends=("", ""), newline="\n"):
  for suffix, end, side in zip(("en", "fr"), ends, (0, 1), strict=True):
    content = "".join(pair[side] + newline for pair in pairs).encode()
    content = gzip.compress(content) if end else content
    (folder / f"{name}.{suffix}{end}").write_bytes(content)


@pytest.fixture
def load(tmp_path, caplog):
  """Loads pairs in the folder of the test: `(splits, notes)`."""

  def load(path="own", **settings):
    caplog.clear()
    caplog.set_level(logging.WARNING)
    settings = {"min_count": 1, "source": "en", "target": "fr", **settings}
    splits = data.load(
      "text_pairs",
      **({"path": str(tmp_path / path)} if path else {}),
      **settings,
      cache_dir=str(tmp_path / "cache"),
    )
    return splits, "\n".join(splits.train.info.notes)

  return load


def texts_of(splits):
  """The decoded pairs of all splits."""
  found = []
  for part in splits:
    schema, arrays = part.info.schema, part.arrays
    ends = schema.output_tokenizer.eos_id
    labels = np.where(arrays["labels"] < 0, ends, arrays["labels"])
    found += zip(
      map(schema.tokenizer.decode, arrays["input_ids"].tolist()),
      map(schema.output_tokenizer.decode, labels.tolist()),
      strict=True,
    )
  return found


@pytest.mark.parametrize("ends", [("", ""), (".gz", "")])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_of_parallel_files_are_pairs(load, tmp_path, ends, newline):
  write_parallel(tmp_path, "own", PAIRS, ends, newline)
  splits, notes = load()
  assert sorted(texts_of(splits)) == sorted(PAIRS)
  assert "unknown are 0.0% and 0.0% of train" in notes
  for part in splits:
    arrays, schema = part.arrays, part.info.schema
    labels = arrays["labels"]
    sizes = arrays["attention_mask"].sum(1), (labels != -100).sum(1)
    np.testing.assert_array_equal(part.lengths, np.maximum(*sizes))
    assert labels.shape == arrays["input_ids"].shape
    assert labels.shape[1] % 8 == 0
    last = labels[np.arange(len(labels)), sizes[1] - 1]
    assert (last == schema.output_tokenizer.eos_id).all()
    assert schema.sequences == ("input_ids", "attention_mask", "labels")


@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "own.jsonl"])
def test_columns_of_a_table_are_pairs(load, tmp_path, name):
  if name.endswith("jsonl"):
    rows = [json.dumps(dict(zip(("en", "fr"), p, strict=True))) for p in PAIRS]
  else:
    mark = "," if name.endswith("csv") else "\t"
    rows = [mark.join(pair) for pair in (("en", "fr"), *PAIRS)]
  (tmp_path / name).write_text("\n".join(rows) + "\n")
  splits, _ = load(name)
  assert sorted(texts_of(splits)) == sorted(PAIRS)
  write_parallel(tmp_path, "own", PAIRS)
  parallel, _ = load()
  for one, other in zip(splits, parallel, strict=True):
    assert one.info.sha256 == other.info.sha256


def test_a_source_with_several_targets_is_in_one_split(load, tmp_path):
  pairs = [
    (source, f"{target} {i}") for i in range(3) for source, target in PAIRS
  ]
  write_parallel(tmp_path, "own", pairs)
  splits, _ = load()
  seen = {}
  for part in splits:
    tokenizer = part.info.schema.tokenizer
    for ids in part.arrays["input_ids"].tolist():
      seen.setdefault(tokenizer.decode(ids), set()).add(id(part))
  assert {len(parts) for parts in seen.values()} == {1}


def test_one_vocabulary_or_two(load, tmp_path):
  write_parallel(tmp_path, "own", PAIRS)
  shared = load()[0].train.info.schema
  assert shared.target_vocab_size == 0
  assert shared.vocab_size == 4 + 13  # "six" is in both languages.
  apart = load(target_tokenizer="characters")[0].train.info.schema
  assert apart.vocab_size == 4 + 7
  assert apart.target_vocab_size == 4 + len({*"".join(FRENCH), " "})
  assert apart.output_tokenizer.kind == "characters"


def test_the_vocabulary_is_that_of_the_training_pairs(load, tmp_path):
  write_parallel(tmp_path, "train", PAIRS[:40])
  write_parallel(tmp_path, "test", [("eight", "huit")])
  splits, notes = load(
    "", train=str(tmp_path / "train"), test=str(tmp_path / "test")
  )
  # Three tokens of the source and two of the target.
  assert "33.3% and 50.0% of test" in notes
  assert texts_of(splits)[-1] == ("\ufffd", "\ufffd")


def test_long_pairs_are_truncated_and_counted_or_refused(load, tmp_path):
  write_parallel(
    tmp_path, "own", [*PAIRS, ("one " * 20, "un"), ("x", "y " * 9)]
  )
  splits, notes = load(max_length=9)
  assert "2 of 62 pairs are truncated to 9 tokens" in notes
  for part in splits:
    assert part.arrays["labels"].shape[1] <= 9
  with pytest.raises(UserError, match=r"got 2 pairs.*own:61: 22 tokens"):
    load(max_length=9, on_long="error")


def test_pairs_with_an_empty_side_are_left_out(load, tmp_path):
  write_parallel(tmp_path, "own", [*PAIRS, ("", "un"), ("one", " "), ("", "")])
  splits, notes = load()
  assert sum(part.size for part in splits) == len(PAIRS)
  assert "3 examples with an empty text were left out: own:61" in notes


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"path": "uneven"}, r"got 60 lines in .*uneven.en and 59 in"),
    ({"path": "absent"}, "parallel files absent.en and absent.fr"),
    ({"path": "own", "target": "de"}, "parallel files own.en and own.de"),
    ({"path": "own", "target": "../fr"}, "parallel files own.en and own.../fr"),
    ({"path": "own", "group": "who"}, "a table, with the column 'who'"),
    ({"path": "own", "target": "en"}, "two columns"),
    ({"path": "own", "target_tokenizer": "word"}, "tokenizer to be one of"),
    ({"path": "own", "max_length": 3}, "max_length from 8"),
    ({"path": "table.csv", "target": "french"}, "column 'french'"),
    ({"path": "latin"}, "expected UTF-8 text in .*latin.en"),
  ],
)
def test_bad_input_is_three_lines(load, tmp_path, settings, message):
  write_parallel(tmp_path, "own", PAIRS)
  write_parallel(tmp_path, "uneven", PAIRS)
  lines = (tmp_path / "uneven.fr").read_text().splitlines(keepends=True)
  (tmp_path / "uneven.fr").write_text("".join(lines[:-1]))
  write_parallel(tmp_path, "latin", PAIRS)
  (tmp_path / "latin.en").write_bytes("été\n".encode("latin-1") * 60)
  (tmp_path / "table.csv").write_text("en,fr\none,un\ntwo,deux\n")
  with pytest.raises(UserError, match=message) as error:
    load(**settings)
  assert len(error.value.lines) <= 3


def test_new_sources_are_lines_of_text_and_cells_of_tables(load, tmp_path):
  write_parallel(tmp_path, "own", PAIRS)
  info = load()[0].train.info
  (tmp_path / "new.txt").write_text("one two\n\nthree\n")
  (tmp_path / "new.csv").write_text("en\nseven\n")
  paths = [tmp_path / name for name in ("new.txt", "new.csv", "gone.txt")]
  batches = list(info.schema.read(paths, info, 2))
  names = [name for batch in batches for name in batch.names]
  assert names == [
    f"{tmp_path}/new.txt:1",
    f"{tmp_path}/new.txt:3",
    f"{tmp_path}/new.csv:2",
  ]
  errors = [name for batch in batches for name, _ in batch.errors]
  assert errors == [f"{tmp_path}/new.txt:2", f"{tmp_path}/gone.txt"]
  [batch] = info.schema.read_texts(["one two"], 4)
  assert batch.arrays.keys() == info.inputs.keys()
  for array in batch.arrays.values():
    assert array.shape == (1, info.schema.max_length)


def test_a_schema_survives_json_and_a_damaged_one_is_refused(load, tmp_path):
  write_parallel(tmp_path, "own", PAIRS)
  info = load(target_tokenizer="characters")[0].train.info
  content = json.loads(json.dumps(data.info_to_json(info)))
  assert data.info_from_json(content).schema == info.schema
  content["schema"]["columns"] = ["en", "fr"]
  with pytest.raises(ValueError, match="columns"):
    data.info_from_json(content)


def test_targets_of_one_source_are_references_if_asked_for():
  pairs = [("a b", "x"), ("c", "y"), ("a  b", "z")]
  sources, targets = zip(*pairs, strict=True)
  part = TextPart(sources, targets, {}, sources)
  settings = PairSettings(TextSettings("spaces", min_count=1, max_length=8))
  for references in (False, True):
    splits = build_pairs(
      {"train": part, "valid": part, "test": part},
      settings,
      "own",
      references=references,
    )
    arrays = splits.train.arrays
    if references:
      assert arrays["source_id"].tolist() == [0, 1, 0]
    else:
      assert "source_id" not in arrays
