"""TFDS's data sets of texts: preparation, features, published splits."""

import csv
import sys
import tarfile
import types

import numpy as np
import pytest
import tfds_archives as archives

from dlcore import data
from dlcore.data.info import IGNORED
from dlcore.data.text.text_encoding import clean_text
from dlcore.data.tfds import published_splits, records, text_features
from dlcore.data.tfds.location import Location
from dlcore.data.tfds.package import import_tfds
from dlcore.errors import UserError


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
  archives.forbid_network(monkeypatch)


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
  """Writes the archives of a data set once: `(examples, settings)`."""
  known = {}

  def prepare(writer):
    if writer not in known:
      folder = tmp_path_factory.mktemp(writer.__name__)
      (folder / "files").mkdir()
      settings = {
        "data_dir": str(folder / "data"),
        "cache_dir": str(folder / "cache"),
        "manual_dir": str(folder / "files"),
        "download": False,
        "verify": False,
      }
      known[writer] = writer(folder / "files"), settings
    return known[writer]

  return prepare


def examples_of(*sources):
  """The decoded texts of some sources with their targets, sorted."""
  found = []
  for source in sources:
    schema, arrays = source.info.schema, source.arrays
    for row in range(source.size):
      ids = arrays["input_ids"][row]
      types = arrays.get("token_type_ids", np.zeros_like(arrays["input_ids"]))
      texts = [
        schema.tokenizer.decode(ids[types[row] == i].tolist())
        for i in range(len(schema.columns))
      ]
      target = arrays[schema.target][row]
      name = schema.classes[target] if schema.classes else float(target)
      found.append((*texts, name))
  return sorted(found)


def expected_of(examples):
  """The examples of an archive as `examples_of` returns them."""
  return sorted(
    (*map(clean_text, [texts] if isinstance(texts, str) else texts), target)
    for texts, target in examples
  )


def refused(match, name, **settings):
  with pytest.raises(UserError, match=match) as caught:
    data.load(name, **settings)
  assert len(caught.value.lines) <= 3
  assert not any("\n" in line for line in caught.value.lines)
  return str(caught.value)


@pytest.mark.parametrize(
  ("name", "writer", "test", "columns"),
  [
    ("imdb_reviews", archives.imdb, "test", ("text",)),
    ("ag_news_subset", archives.ag_news, "test", ("description",)),
    ("glue/sst2", archives.sst2, "validation", ("sentence",)),
    (
      "glue/mnli",
      archives.mnli,
      "validation_matched",
      ("premise", "hypothesis"),
    ),
    ("glue/stsb", archives.stsb, "validation", ("sentence1", "sentence2")),
  ],
  ids=("imdb", "ag_news", "sst2", "mnli", "stsb"),
)
@pytest.mark.fast_cases("stsb")
def test_the_archive_is_loaded_with_its_targets_and_splits(
  prepare, name, writer, test, columns, monkeypatch
):
  examples, settings = prepare(writer)
  splits = data.load(name, tokenizer="bytes", **settings)
  assert splits.train.info.name == name
  assert splits.train.info.schema.columns == columns
  train = examples_of(splits.train, splits.valid)
  assert train == expected_of(examples["train"])
  assert examples_of(splits.test) == expected_of(examples[test])
  unpublished = test != "test"
  notes = "\n".join(splits.train.info.notes)
  assert ("are not published" in notes) == unpublished
  assert (f"the test split is {test!r}" in notes) == unpublished
  assert "tensorflow" not in sys.modules
  # Once more, from the cache.
  monkeypatch.setattr(Location, "prepare", None)
  again = data.load(name, tokenizer="bytes", **settings)
  for one, other in zip(splits, again, strict=True):
    assert one.info == other.info


@pytest.mark.slow
def test_both_validation_splits_of_mnli_are_tests_of_one_model(prepare):
  examples, settings = prepare(archives.mnli)
  matched = data.load("glue/mnli", tokenizer="bytes", **settings)
  other = data.load(
    "glue/mnli", tokenizer="bytes", test="validation_mismatched", **settings
  )
  expected = expected_of(examples["validation_mismatched"])
  assert examples_of(other.test) == expected
  for split in ("train", "valid"):
    one, two = getattr(matched, split).info, getattr(other, split).info
    assert one.sha256 == two.sha256
    assert one.schema == two.schema
  text = refused(
    "with targets", "glue/mnli", test="test_mismatched", **settings
  )
  assert "validation" in text


def test_without_its_archive_the_file_of_this_config_is_named(tmp_path):
  settings = {"data_dir": str(tmp_path), "cache_dir": str(tmp_path)}
  text = refused("download=False", "glue/sst2", download=False, **settings)
  assert text.endswith("set manual_dir to a folder that holds SST-2.zip")
  assert "glue (7.1 MiB)" in text


@pytest.mark.slow
def test_texts_become_the_tokens_and_splits_of_a_table(prepare, tmp_path):
  examples, settings = prepare(archives.sst2)
  for part in ("train", "validation"):
    with open(tmp_path / f"{part}.csv", "w", newline="") as file:
      writer = csv.writer(file)
      writer.writerow(["sentence", "label"])
      writer.writerows(examples[part])
  shared = {"lowercase": True, "max_length": 8, "valid_fraction": 0.25}
  table = data.load(
    "text_csv",
    train=str(tmp_path / "train.csv"),
    test=str(tmp_path / "validation.csv"),
    text="sentence",
    target="label",
    cache_dir=str(tmp_path / "cache"),
    **shared,
  )
  splits = data.load("glue/sst2", **shared, **settings)
  for one, other in zip(splits, table, strict=True):
    assert examples_of(one) == examples_of(other)
  assert (
    splits.train.info.schema.vocab_size == table.train.info.schema.vocab_size
  )
  note = "of 48 texts are truncated to 8 tokens"
  assert any(note in line for line in splits.train.info.notes)


@pytest.mark.parametrize(
  ("name", "writer", "sides", "valid"),
  [
    ("ted_hrlr_translate/pt_to_en", archives.ted, ("pt", "en"), "dev"),
    ("wmt14_translate/de-en", archives.wmt14, ("de", "en"), "dev"),
  ],
  ids=("ted", "wmt14"),
)
@pytest.mark.slow
def test_translations_are_pairs_in_both_directions(
  prepare, name, writer, sides, valid
):
  examples, settings = prepare(writer)
  for step in (1, -1):
    source = sides[::step][0]
    given = {} if step == 1 else {"source": source}
    splits = data.load(name, tokenizer="bytes", **given, **settings)
    assert splits.train.info.schema.columns == (source,)
    for part, published in zip(splits, ("train", valid, "test"), strict=True):
      arrays, decode = part.arrays, part.info.schema.tokenizer.decode
      labels = np.maximum(arrays["labels"], 0)  # -100 is padding.
      pairs = zip(
        map(decode, arrays["input_ids"].tolist()),
        map(decode, labels.tolist()),
        strict=True,
      )
      assert sorted(pairs) == sorted(
        pair[::step] for pair in examples[published]
      )
  again = data.load("tfds_pairs", builder=name, tokenizer="bytes", **settings)
  forward = data.load(name, tokenizer="bytes", **settings)
  assert again.train.info.sha256 == forward.train.info.sha256
  text = refused(
    "source and target", name, source="xx", target="xx", **settings
  )
  assert f"choose from: {', '.join(sorted(sides))}" in text


@pytest.mark.slow
def test_every_sentence_of_lm1b_is_a_document(prepare):
  examples, settings = prepare(archives.lm1b)
  splits = data.load("lm1b", tokenizer="bytes", **settings)
  lines = []
  for part in splits:
    arrays, schema = part.arrays, part.info.schema
    ids = arrays["input_ids"][arrays["labels"] != IGNORED]
    last = arrays["labels"][arrays["labels"] != IGNORED][-1]
    stream = np.append(ids, last)
    ends = np.flatnonzero(stream == schema.tokenizer.eos_id)
    pieces = np.split(stream, ends + 1)
    lines.append(
      [schema.tokenizer.decode(p.tolist()) for p in pieces if len(p)]
    )
  train, valid, test = lines
  assert sorted([*train, *valid]) == sorted(examples["train"])
  assert sorted(test) == sorted(examples["test"])
  assert len(valid) < len(train) / 4


@pytest.mark.slow
def test_a_part_of_a_split_and_texts_without_a_class_are_read(prepare):
  examples, settings = prepare(archives.imdb)
  half = data.load("imdb_reviews", train="train[:50%]", **settings)
  assert half.train.size + half.valid.size == len(examples["train"]) / 2
  splits = data.load(
    "tfds_corpus",
    builder="imdb_reviews",
    train="unsupervised",
    test="test",
    **settings,
  )
  schema = splits.train.info.schema
  stream = splits.train.arrays["input_ids"].ravel().tolist()
  assert "".join(schema.tokenizer.decode(stream))[:8] in "".join(
    examples["unsupervised"]
  )
  text = refused("a split of", "imdb_reviews", train="trian", **settings)
  assert "did you mean 'train'" in text
  refused("a split of", "imdb_reviews", train="train[:x%]", **settings)


@pytest.mark.slow
def test_texts_that_exceed_the_free_memory_are_refused(prepare, monkeypatch):
  _, settings = prepare(archives.imdb)
  monkeypatch.setattr(published_splits, "free_memory", lambda: 10_000)
  text = refused("of memory for 24 examples", "imdb_reviews", **settings)
  assert 'train="train[:' in text
  with pytest.raises(UserError, match="of memory"):
    data.load("imdb_reviews", train="train[:90%]", **settings)
  data.load("imdb_reviews", train="train[:10%]", valid_fraction=0.0, **settings)


@pytest.mark.slow
def test_examples_without_a_target_are_left_out(prepare, monkeypatch):
  examples, settings = prepare(archives.sst2)
  read = records.Records.columns

  def columns(self, names):
    columns = read(self, names)
    columns["label"][:2] = [label, label]
    return columns

  monkeypatch.setattr(records.Records, "columns", columns)
  label = -1
  splits = data.load("glue/sst2", max_length=16, **settings)
  size = len(examples["train"]) - 2
  assert splits.train.size + splits.valid.size == size
  notes = "\n".join(splits.train.info.notes)
  assert "4 examples without a target were skipped: glue/sst2/train/0" in notes
  label = 2
  refused("class 2 of 2", "glue/sst2", max_length=17, **settings)


def _unequal_sides(files):
  archives.ted(files)
  path = files / "qi18naacl-dataset.tar.gz"
  with tarfile.open(path, "w:gz") as archive:
    for language, content in (("pt", b"um\ndois"), ("en", b"one")):
      archives.add(archive, f"datasets/pt_to_en/{language}.train", content)


def _truncated(files):
  archives.imdb(files)
  path = files / "aclImdb_v1.tar.gz"
  path.write_bytes(path.read_bytes()[:700])


def _short_row(files):
  with tarfile.open(files / "ag_news_csv.tar.gz", "w:gz") as archive:
    archives.add(archive, "ag_news_csv/train.csv", b'"3","A title"\n')


@pytest.mark.parametrize(
  ("name", "writer", "reason"),
  [
    ("ted_hrlr_translate/pt_to_en", _unequal_sides, "Sizes do not match"),
    ("imdb_reviews", _truncated, "imdb_reviews"),
    ("ag_news_subset", _short_row, "IndexError"),
  ],
  ids=("sides", "truncated", "row"),
)
@pytest.mark.slow
def test_a_damaged_archive_is_reported(prepare, name, writer, reason):
  _, settings = prepare(writer)
  refused(reason, name, **settings)


@pytest.mark.parametrize(
  ("published", "names", "has_test", "expected"),
  [
    ("train", {}, False, ("train", "", "")),
    ("train test", {}, True, ("train", "", "test")),
    ("train validation test", {}, True, ("train", "validation", "test")),
    ("train validation test", {}, False, ("train", "", "validation")),
    ("train validation", {}, False, ("train", "", "validation")),
    (
      "train validation",
      {"valid": "validation"},
      False,
      ("train", "validation", ""),
    ),
    (
      "train validation test",
      {"test": "validation"},
      True,
      ("train", "", "validation"),
    ),
    (
      "train validation test extra",
      {"train": "train[:1%]", "test": "extra"},
      True,
      ("train[:1%]", "validation", "extra"),
    ),
  ],
)
def test_no_split_is_both_valid_and_test(published, names, has_test, expected):
  chosen = published_splits.choose_splits(
    dict.fromkeys(published.split(), 9),
    published_splits.SplitNames(**names),
    has_test=has_test,
  )
  assert chosen == expected


def info(features, supervised_keys=None):
  """The description of a data set of TFDS."""
  return types.SimpleNamespace(
    name="mine", features=features, supervised_keys=supervised_keys
  )


@pytest.fixture(scope="module")
def kinds():
  """Features of TFDS by a short name."""
  features = import_tfds().features
  return {
    "text": features.Text(),
    "class": features.ClassLabel(names=["no", "yes"]),
    "number": features.Scalar(np.float32),
    "vector": features.Tensor(shape=(3,), dtype=np.float32),
  }


def test_features_are_recognized_or_named(kinds):
  text, label, number = kinds["text"], kinds["class"], kinds["number"]
  find = text_features.find_columns
  pair = info({"one": text, "two": text, "label": label, "idx": number})
  columns = text_features.Columns
  assert find(pair) == columns(("one", "two"), "label", ("no", "yes"))
  assert find(pair, text="two") == columns(("two",), "label", ("no", "yes"))
  assert find(pair, target="idx") == columns(("one", "two"), "idx")
  three = {"a": text, "b": text, "c": text, "stars": label, "idx": number}
  nested = info(three, ({"first": "c", "second": "a"}, "stars"))
  assert find(nested).texts == ("c", "a")
  assert find(info(three), text="b", pair="c").target == "stars"
  assert text_features.find_sides(info(three, ("b", "a"))) == ["b", "a"]
  assert text_features.find_sides(pair, source="two") == ["two", "one"]
  sides = text_features.find_sides(info(three), source="c", target="a")
  assert sides == ["c", "a"]
  for settings in ({}, {"source": "a"}, {"source": "a", "target": "a"}):
    with pytest.raises(UserError, match="choose from: a, b, c"):
      text_features.find_sides(info(three), **settings)
  assert text_features.find_text(info({"a": text, "n": number})) == "a"


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({}, "one feature of text"),
    ({"pair": "a"}, "alone"),
    ({"text": "aa"}, "did you mean 'a'"),
    ({"text": "n"}, "a feature of text"),
    ({"text": "a", "pair": "a"}, "two of a pair"),
    ({"text": "a"}, "target to name"),
    ({"text": "a", "target": "x"}, "unknown feature"),
    ({"text": "a", "target": "vector"}, "a class or a number"),
    ({"text": "a", "target": "b"}, "a class or a number"),
  ],
  ids=str,
)
def test_features_that_are_unknown_or_of_another_kind_are_refused(
  kinds, settings, match
):
  text = kinds["text"]
  features = {"a": text, "b": text, "c": text, "n": kinds["number"]}
  features |= {"one": kinds["class"], "two": kinds["class"]}
  features["vector"] = kinds["vector"]
  with pytest.raises(UserError, match=match) as caught:
    text_features.find_columns(info(features), **settings)
  assert len(caught.value.lines) <= 3
