"""Sequences of tokens with tags: CoNLL files and JSON lines."""

import gzip
import json

import numpy as np
import pytest

from dlcore import data
from dlcore.errors import UserError

SENTENCES = [
  (["Ann", "lives", "in", "New", "York"], ["B-P", "O", "O", "B-L", "I-L"]),
  (["Bob", "sleeps"], ["B-P", "_"]),
  (["It", "rains", "."], ["O", "O", "O"]),
]


def conll(sentences, separator=" ", *, middle="x"):
  """Returns the lines of a file with a column between token and tag."""
  blocks = [
    "\n".join(
      separator.join(filter(None, (token, middle, tag)))
      for token, tag in zip(*sentence, strict=True)
    )
    for sentence in sentences
  ]
  return "\n\n".join(blocks) + "\n"


def json_lines(sentences):
  rows = [
    {"tokens": a, "tags": [None if t == "_" else t for t in b], "id": i}
    for i, (a, b) in enumerate(sentences)
  ]
  return "".join(json.dumps(row) + "\n" for row in rows)


def table(sentences):
  rows = ["id,tokens,tags"]
  rows += [f'{i},"{" ".join(a)}",{" ".join(b)}' for i, (a, b) in sentences]
  return "\n".join(rows) + "\n"


def load(path, content, **settings):
  """Writes a file and returns its sequences, all in train."""
  content = content if isinstance(content, bytes) else content.encode()
  path.write_bytes(content)
  settings = {"min_count": 1, "test_fraction": 0.0, **settings}
  settings.setdefault("cache_dir", str(path.parent / "cache"))
  return data.load(
    "tagged_text", path=str(path), valid_fraction=0.0, **settings
  )


def sequences(source):
  """Returns tokens and tags of the examples of a source."""
  schema, arrays = source.info.schema, source.arrays
  pairs = []
  for ids, labels, mask in zip(
    *(arrays[k] for k in ("input_ids", "labels", "attention_mask")), strict=True
  ):
    tokens = schema.tokenizer.decode(ids[mask > 0]).split()
    assert (labels[mask == 0] == -100).all()
    tags = ["_" if i == -100 else schema.classes[i] for i in labels[mask > 0]]
    pairs.append((tokens, tags))
  return pairs


FILES = {
  "a.conll": conll(SENTENCES),
  "tabs.txt": conll(SENTENCES, "\t"),
  "crlf.conll": "\ufeff" + conll(SENTENCES).replace("\n", "\r\n"),
  "blank.conll": "\n\n" + conll(SENTENCES).replace("\n\n", "\n \n\n") + "\n\n",
  "start.conll": "-DOCSTART- x O\n\n" + conll(SENTENCES),
  "no_line.conll": "-DOCSTART- x O\n" + conll(SENTENCES),
  "a.jsonl": json_lines(SENTENCES),
  "a.csv": table(enumerate(SENTENCES)),
  "a.csv.gz": gzip.compress(table(enumerate(SENTENCES)).encode()),
  "a.jsonl.gz": gzip.compress(json_lines(SENTENCES).encode()),
  "a.conll.gz": gzip.compress(conll(SENTENCES).encode()),
}


@pytest.mark.parametrize("name", FILES)
def test_all_formats_give_the_same_sequences(name, tmp_path):
  train = load(tmp_path / name, FILES[name]).train
  assert sequences(train) == SENTENCES
  assert train.info.schema.classes == ("B-L", "B-P", "I-L", "O")
  assert train.lengths.tolist() == [5, 2, 3]
  assert train.arrays["input_ids"].shape == (3, 8)
  assert train.info.schema.sequences == (
    *("input_ids", "attention_mask", "labels"),
  )
  files = {example.split(":")[0] for example in train.names.tolist()}
  assert files == {name}


def test_columns_of_universal_dependencies(tmp_path):
  rows = [
    "# text = It's so",
    "1-2\tIt's\t_\t_",
    "1\tIt\tit\tPRON",
    "2\t's\tbe\tAUX",
    "2.1\tx\t_\t_",
    "3\tso\tso\tADV",
  ]
  settings = {"token_column": 1, "tag_column": 3}
  source = load(tmp_path / "a.conllu", "\n".join(rows), **settings).train
  assert sequences(source) == [(["It", "'s", "so"], ["PRON", "AUX", "ADV"])]


def test_other_names_and_numbers_as_tags(tmp_path):
  rows = '{"words": ["a b", 3], "ner": [0, 1]}\n'
  settings = {"tokens": "words", "tags": "ner"}
  source = load(tmp_path / "a.jsonl", rows, **settings).train
  assert sequences(source) == [(["a_b", "3"], ["0", "1"])]


def test_tokens_with_the_label_of_padding_are_not_scored(tmp_path):
  rows = '{"tokens": ["a", "b", "c"], "tags": [0, -100, 1]}\n'
  train = load(tmp_path / "a.jsonl", rows).train
  assert sequences(train) == [(["a", "b", "c"], ["0", "_", "1"])]
  assert train.info.class_counts == (1, 1)


@pytest.mark.parametrize(
  ("name", "content", "message"),
  [
    ("a.conll", "a x O\nb O\n", "a.conll:1: line 2: 2 columns in place of 3"),
    ("a.conll", "a\nb\n", "1 columns, without one of the token"),
    ("a.conll", "a\t\nb\tO\n", "line 1: an empty token or tag"),
    ("a.conll", "a O\nb O\n", "two different tags\ngot 'O' for all"),
    ("a.conll", "a _\n", "two different tags\ngot none"),
    ("a.conll", "", "empty"),
    ("a.conll", "\n\n", "empty"),
    ("a.conll", b"a O\nb \xff\n", "UTF-8"),
    ("a.jsonl", "", "empty"),
    ("a.jsonl", '{"tokens": ["a"]}\n', "a.jsonl:1: no list 'tags'"),
    (
      "a.jsonl",
      '{"tokens": ["a"], "tags": ["O"]}\n\n{"tokens": ["a", "b"], '
      '"tags": ["O"]}\n',
      "a.jsonl:3: 2 tokens and 1 tags",
    ),
    ("a.jsonl", '{"tokens": ["a"], "tags": ["O"]}\n{"tok', "a.jsonl:2: "),
    ("a.jsonl", "[1]\n", "a JSON object, got"),
    ("a.csv", "tokens,tags\na b,O\n", "a.csv:2: 2 tokens and 1 tags"),
    ("a.csv", "tokens,tags\n,O\n", "a.csv:2: an empty text"),
    ("a.csv", "tokens,tags\na,O\nb,O,c\n", "a.csv:3: 3 fields in place of"),
    ("a.csv", "words,tags\na b,O X\n", "a column 'tokens' in"),
    ("a.jsonl", '{"tokens": [], "tags": []}\n', "a text for each token"),
    ("a.jsonl", '{"tokens": [null], "tags": [1]}\n', "a text for each token"),
    ("a.jsonl", '{"tokens": [["a"]], "tags": [1]}\n', "expected texts"),
    ("a.jsonl", "[" * 100_000 + "\n", "a.jsonl:1: "),
  ],
)
def test_malformed_files_are_errors_of_three_lines(
  name, content, message, tmp_path
):
  with pytest.raises(UserError) as error:
    load(tmp_path / name, content)
  assert message in str(error.value)
  assert len(error.value.lines) <= 3


def test_a_missing_file_is_an_error(tmp_path):
  with pytest.raises(UserError, match="no file at"):
    data.load("tagged_text", path=str(tmp_path / "none.conll"))


def test_malformed_sequences_may_be_skipped(tmp_path):
  content = "a O\nb\n\n" + conll(SENTENCES, middle="")
  source = load(tmp_path / "a.conll", content, on_bad="skip").train
  assert sequences(source) == SENTENCES
  assert any("1 bad sequences" in note for note in source.info.notes)


def test_long_sequences_are_truncated_and_counted_or_refused(tmp_path):
  sentences = [(["a"] * 20, ["O", *["X"] * 19]), *SENTENCES]
  content = conll(sentences)
  source = load(tmp_path / "a.conll", content, max_length=8).train
  assert source.lengths.tolist() == [8, 5, 2, 3]
  note = "1 of 4 sequences are truncated to 8 tokens"
  assert note in source.info.notes
  with pytest.raises(UserError, match="20 tokens, above max_length=8"):
    load(tmp_path / "a.conll", content, max_length=8, on_long="error")


def many(count=200):
  generator = np.random.default_rng(0)
  for _ in range(count):
    size = generator.integers(1, 6)
    numbers = generator.integers(0, 50, size)
    yield [f"w{n}" for n in numbers], [f"t{n % 3}" for n in numbers]


def test_splits_do_not_depend_on_the_order_of_sequences(tmp_path):
  sentences = list({tuple(a): (a, b) for a, b in many(250)}.values())
  settings = {"valid_fraction": 0.2, "test_fraction": 0.2}
  found = []
  for order in (sentences, sentences[::-1]):
    path = tmp_path / "a.conll"
    path.write_text(conll(order))
    splits = data.load(
      "tagged_text", path=str(path), cache_dir=str(tmp_path), **settings
    )
    by_split = splits._asdict().items()
    found.append(
      {
        name: {(tuple(a), tuple(b)) for a, b in read_back(source, order)}
        for name, source in by_split
      }
    )
  assert found[0] == found[1]
  train, valid, test = found[0].values()
  assert not train & (valid | test)
  assert not valid & test
  assert 20 <= len(test) <= 60


LETTERS = [[f"a{i % 5}", f"b{i // 5 % 5}", f"c{i // 25}"] for i in range(120)]
LETTERS = [LETTERS[7 * i % 120] for i in range(120)]
DOCUMENTS = [
  (f"d{i // 4}", i, ("train", "dev", "test")[i // 4 % 3], (words, [*"xyz"]))
  for i, words in enumerate(LETTERS)
]
"""Name of a document, time, split and sequence."""


def with_fields(name):
  """Returns a file with the fields of all sequences."""
  if name == "a.jsonl":
    rows = [
      {"tokens": a, "tags": b, "doc": doc, "time": time, "part": part}
      for doc, time, part, (a, b) in DOCUMENTS
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)
  if name == "a.csv":
    rows = [
      f"{' '.join(a)},{' '.join(b)},{doc},{time},{part}"
      for doc, time, part, (a, b) in DOCUMENTS
    ]
    return "\n".join(["tokens,tags,doc,time,part", *rows])
  blocks, last = [], ""
  for doc, time, part, sentence in DOCUMENTS:
    comments = f"# time = {time}\n# part = {part}\n"
    if doc != last:  # Such a comment stands above the first sequence only.
      comments = f"# doc = {doc}\n\n{comments}"
    blocks.append(comments + conll([sentence]))
    last = doc
  return "\n".join(blocks)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.conll"])
def test_fields_decide_the_splits(name, tmp_path):
  path = tmp_path / name
  path.write_text(with_fields(name))
  rows = {(tuple(a), tuple(b)): row for *row, (a, b) in DOCUMENTS}

  def fields(position, **settings):
    splits = data.load(
      "tagged_text",
      path=str(path),
      comment="#",
      min_count=1,
      cache_dir=str(tmp_path / "cache"),
      **settings,
    )
    return [
      {rows[tuple(a), tuple(b)][position] for a, b in sequences(source)}
      for source in splits
    ]

  train, valid, test = fields(0, group="doc")
  assert len(train) + len(valid) + len(test) == 30
  assert not train & (valid | test) | (valid & test)
  train, valid, test = fields(1, time="time")
  assert max(train) < min(valid) < max(valid) < min(test)
  assert fields(2, split="part") == [{"train"}, {"dev"}, {"test"}]
  with pytest.raises(UserError, match="'author'"):
    fields(0, group="author")
  with pytest.raises(UserError, match="single rule"):
    fields(0, group="doc", time="time")


def test_documents_of_conll_2003_stay_together(tmp_path):
  blocks = [conll(many(3)) for _ in range(40)]
  text = "".join(f"-DOCSTART- x O\n\n{block}\n" for block in blocks)
  path = tmp_path / "a.conll"
  path.write_text(text)
  splits = data.load(
    "tagged_text",
    path=str(path),
    group="-DOCSTART-",
    cache_dir=str(tmp_path / "cache"),
  )
  lines = text.splitlines()
  documents = [
    {lines[: int(n.split(":")[1])].count("-DOCSTART- x O") for n in part.names}
    for part in splits
  ]
  assert sum(map(len, documents)) == 40
  assert [3 * len(d) for d in documents] == [part.size for part in splits]


def read_back(source, sentences):
  """Returns the sequences of a split by their lines."""
  starts, line = {}, 1
  for sentence in sentences:
    starts[line] = sentence
    line += len(sentence[0]) + 1
  return [starts[int(name.split(":")[1])] for name in source.names]


def test_the_vocabulary_is_that_of_train_and_rare_tokens_are_unknown(tmp_path):
  for name, word in (("train", "a"), ("test", "b")):
    rows = [([word, "c"], ["X", "Y"]), ([word], ["X"])]
    (tmp_path / f"{name}.conll").write_text(conll(rows))
  splits = data.load(
    "tagged_text",
    train=str(tmp_path / "train.conll"),
    test=str(tmp_path / "test.conll"),
    valid_fraction=0.0,
    cache_dir=str(tmp_path / "cache"),
  )
  tokenizer = splits.train.info.schema.tokenizer
  assert tokenizer.symbols == ("a",)
  assert splits.test.arrays["input_ids"][0, :2].tolist() == [1, 1]
  assert any("100.0% of test" in note for note in splits.train.info.notes)


def test_a_tag_of_another_file_only_is_a_note(tmp_path):
  rows = {"train": ["X", "Y"], "test": ["X", "Z"]}
  for name, tags in rows.items():
    (tmp_path / f"{name}.conll").write_text(conll([(["a", "b"], tags)]))
  splits = data.load(
    "tagged_text",
    **{name: str(tmp_path / f"{name}.conll") for name in rows},
    valid_fraction=0.0,
    cache_dir=str(tmp_path / "cache"),
  )
  assert splits.train.info.schema.classes == ("X", "Y", "Z")
  notes = splits.train.info.notes
  assert any("no examples of the classes 'Z'" in note for note in notes)


@pytest.mark.parametrize("name", ["a.conll", "a.jsonl", "a.csv"])
def test_new_files_are_read_as_those_of_training(name, tmp_path):
  train = load(tmp_path / name, FILES[name]).train
  content = json.loads(json.dumps(data.info_to_json(train.info)))
  info = data.info_from_json(content)
  assert info.schema == train.info.schema
  new = tmp_path / f"new{name}"
  tokens = [tokens for tokens, _ in SENTENCES]
  if name == "a.conll":
    new.write_text("\n\n".join("\n".join(words) for words in tokens))
  elif name == "a.csv":
    rows = ["tokens", *map(" ".join, tokens), "a,b"]
    new.write_text("\n".join(rows))
  else:
    rows = [json.dumps({"tokens": words}) for words in tokens]
    new.write_text("\n".join([*rows, "{"]))
  batches = list(info.schema.read([new, tmp_path / "none"], info, rows=2))
  for key in info.inputs:
    read = [batch.arrays[key] for batch in batches if batch.arrays]
    np.testing.assert_array_equal(np.concatenate(read), train.arrays[key])
  names = [name for batch in batches for name in batch.names]
  lines = {"a.conll": ["1", "7", "10"], "a.jsonl": ["1", "2", "3"]}
  lines = lines.get(name, ["2", "3", "4"])
  assert [name.rsplit(":")[-1] for name in names] == lines
  errors = [error for batch in batches for error in batch.errors]
  assert len(errors) == 1 + (name != "a.conll")


def test_texts_are_split_at_spaces(tmp_path):
  train = load(tmp_path / "a.conll", FILES["a.conll"]).train
  info = train.info
  texts = [" ".join(tokens) for tokens, _ in SENTENCES]
  [batch] = info.schema.read_texts([*texts, " "], rows=8)
  for key in info.inputs:
    np.testing.assert_array_equal(batch.arrays[key], train.arrays[key])
  assert batch.errors == [("text:3", "an empty text")]


def test_new_sequences_may_be_longer_than_those_of_training(tmp_path):
  content = FILES["a.conll"]
  info = load(tmp_path / "a.conll", content, max_length=40).train.info
  assert info.schema.max_length == 8
  batches = info.schema.read_texts(["a " * 20, "a " * 50, "a"], rows=1)
  masks = [batch.arrays["attention_mask"] for batch in batches]
  assert [(mask.shape[1], mask.sum()) for mask in masks] == [
    *((32, 20), (40, 40), (8, 1)),
  ]


@pytest.mark.parametrize(
  "change",
  [
    {"max_length": 9},
    {"max_length": -1},
    {"on_long": "x"},
    {"form": {"token_column": True}},
    {"form": {}},
    {"vocab_size": 3},
    {"tokenizer": {"kind": "spaces", "symbols": "ab", "lowercase": False}},
    {"unknown": 1},
  ],
  ids=str,
)
def test_a_malformed_schema_is_refused(change, tmp_path):
  info = load(tmp_path / "a.conll", FILES["a.conll"]).train.info
  content = data.info_to_json(info)
  content["schema"] = {**content["schema"], **change}
  with pytest.raises(ValueError, match=next(iter(change))):
    data.info_from_json(content)
