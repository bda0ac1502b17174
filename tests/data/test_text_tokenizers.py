"""Tokenizers: their vocabularies, special tokens and files."""

import collections
import itertools
import json
import random
import sys
import unicodedata

import numpy as np
import pytest
import tokenizers

from dlcore.data import json_fields
from dlcore.data.text import (
  framing,
  frozen,
  library_tokenizer,
  symbol_tokenizers,
  tokenizer_training,
  word_tokenizer,
)
from dlcore.data.text.ragged import Ragged, join
from dlcore.data.text.text_encoding import (
  TokenRows,
  clean_text,
  encode_texts,
)
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.tokenizer import (
  FITTED,
  TOKENIZERS,
  make_tokenizer,
  tokenizer_from_json,
)
from dlcore.errors import UserError

TEXTS = (
  "The cat sat on the mat.",
  "The dog ate the café cat 🙂!",
  "नमस्ते दुनिया 我爱你 e\u0301te\u0301",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """A tokenizer.json of each kind of training."""
  pytest.importorskip("tokenizers")
  folder = tmp_path_factory.mktemp("tokenizers")
  for kind in tokenizer_training.KINDS:
    trained = tokenizer_training.train_tokenizer(
      TEXTS * 20, kind=kind, vocab_size=400
    )
    (folder / f"{kind}.json").write_bytes(trained.to_file())
  return folder


@pytest.fixture(scope="module")
def every(files):
  """A tokenizer of each kind, and one of each file."""
  fitted = {name: make_tokenizer(name, TEXTS) for name in FITTED}
  read = {
    path.stem: library_tokenizer.read_tokenizer(path)
    for path in files.iterdir()
  }
  return fitted | read


def test_the_tables_of_tokenizers_agree():
  assert {name: cls.kind for name, cls in TOKENIZERS.items()} == {
    name: name for name in TOKENIZERS
  }
  assert set(FITTED) == TOKENIZERS.keys() - {"tokenizers"}


def test_symbols_are_sorted_by_falling_count_then_by_code_point():
  words = random.Random(0).choices("zyxwvutsrq", range(1, 11), k=500)
  counts = collections.Counter(words)
  expected = sorted(counts, key=lambda word: (-counts[word], ord(word)))
  for seed in range(3):
    random.Random(seed).shuffle(words)
    texts = [" ".join(words[i : i + 7]) for i in range(0, len(words), 7)]
    found = make_tokenizer("words", texts, vocab_size=11, min_count=2)
    assert list(found.symbols) == expected[:7]


def test_rare_symbols_are_unknown_and_have_no_id():
  found = make_tokenizer("words", ["a a a b b c"], min_count=2)
  assert found.encode("c a d b") == [1, 4, 1, 5]
  assert found.decode([2, 4, 1, 5, 3, 0, 0]) == "a \ufffd b"
  assert make_tokenizer("characters", ["aab"], min_count=2).encode("ab") == [
    4,
    1,
  ]


def test_every_text_survives_bytes_and_its_own_characters():
  for text in TEXTS:
    for name in ("bytes", "characters"):
      found = make_tokenizer(name, TEXTS)
      assert found.decode(found.encode(text)) == text
  assert make_tokenizer("bytes", ()).vocab_size == 260
  assert max(make_tokenizer("bytes", ()).encode("\xff" * 9)) < 260


def test_a_word_keeps_its_marks_and_scripts_without_spaces_are_split():
  split = word_tokenizer.WordTokenizer.split
  assert split("Don't stop, 3.5!") == [
    *("Don", "'", "t", "stop", ","),
    *("3", ".", "5", "!"),
  ]
  assert split(TEXTS[2]) == [
    *("नमस्ते", "दुनिया", "我", "爱", "你", "e\u0301te\u0301"),
  ]
  every = "".join(map(chr, range(0x20, 0x3000)))
  kept = "".join(c for c in every if not c.isspace())
  assert "".join(split(every)) == kept


def test_marks_of_all_scripts_are_in_the_ranges():
  found = {
    i for i in range(0x110000) if unicodedata.category(chr(i)).startswith("M")
  }
  assert found <= set(itertools.chain(*word_tokenizer.MARKS))


@pytest.mark.parametrize("name", FITTED)
def test_lower_case_is_part_of_the_tokenizer(name):
  found = make_tokenizer(name, ["a B"], lowercase=True)
  assert found.encode("A b") == found.encode("a B")
  assert tokenizer_from_json(found.to_json()).encode("A") == found.encode("a")


def test_special_ids_differ_and_no_text_contains_padding_or_the_end(every):
  for tokenizer in every.values():
    special = [
      tokenizer.pad_id,
      tokenizer.unknown_id,
      tokenizer.bos_id,
      tokenizer.eos_id,
    ]
    assert special == [0, 1, 2, 3]
    for text in (*TEXTS, "unknown \x00 ж"):
      ids = tokenizer.encode(text)
      assert not {0, 2, 3} & set(ids)
      assert max(ids) < tokenizer.vocab_size
      assert tokenizer.decode([2, *ids, 3, 0]) == tokenizer.decode(ids)


def test_a_tokenizer_survives_json(every):
  for tokenizer in every.values():
    content = json.loads(json.dumps(tokenizer.to_json()))
    restored = tokenizer_from_json(content)
    assert restored == tokenizer
    assert restored.pad_id == tokenizer.pad_id
    assert [*map(restored.encode, TEXTS)] == [*map(tokenizer.encode, TEXTS)]


@pytest.mark.parametrize(
  "changes",
  [
    {"kind": "pickle"},
    {"kind": None},
    {"symbols": "abc"},
    {"symbols": ["a", "a"]},
    {"symbols": ["a", ""]},
    {"symbols": ["a", "b" * 101]},
    {"symbols": [1]},
    {"symbols": None},
    {"lowercase": 1},
    {"kind": "characters", "symbols": ["ab"]},
    {"kind": "tokenizers"},
    {"kind": "tokenizers", "content": {"model": 3}, "padding": None},
    {"kind": "tokenizers", "content": None, "padding": None},
  ],
  ids=str,
)
def test_a_malformed_tokenizer_of_a_run_folder_is_named(changes):
  content = {"kind": "words", "symbols": ["a"], "lowercase": False, **changes}
  with pytest.raises(ValueError, match=r"^tokenizer="):
    json_fields.parse("tokenizer", tokenizer_from_json, content)


def test_symbols_of_a_run_folder_are_bounded(monkeypatch):
  monkeypatch.setattr(symbol_tokenizers, "MAX_SYMBOLS", 3)
  content = {"kind": "words", "symbols": list("abcd"), "lowercase": False}
  with pytest.raises(ValueError, match="4 symbols"):
    tokenizer_from_json(content)


def test_sequences_of_pairs_equal_those_of_the_library(files):
  tokenizer = library_tokenizer.read_tokenizer(files / "wordpiece.json")
  inner = tokenizer.inner
  first = ["the cat " * n for n in range(9)]
  second = ["dog " * (n % 5) for n in range(9)]
  for max_length in (8, 9, 12, 15, 64):
    inner.enable_truncation(max_length)
    expected = [inner.encode(*pair) for pair in zip(first, second, strict=True)]
    inner.no_truncation()
    found = encode_texts(first, second, tokenizer, max_length)
    batch = TokenRows(found, max_length, 0, {})(np.arange(9))
    for row, encoding in enumerate(expected):
      size = len(encoding.ids)
      assert batch["input_ids"][row, :size].tolist() == encoding.ids
      assert batch["token_type_ids"][row, :size].tolist() == encoding.type_ids
      assert batch["attention_mask"][row].sum() == size
      assert not batch["input_ids"][row, size:].any()


def test_a_framed_text_is_cut_at_its_end():
  frame = framing.Frame((7,), (8,), (9, 9))
  alone = framing.frame_ids([1, 2, 3], None, framing.Frame((7,), (), (9,)), 4)
  assert alone == framing.Framed([7, 1, 2, 9], 4, 5)
  pair = framing.frame_ids([1, 2], [3], frame)
  assert pair == framing.Framed([7, 1, 2, 8, 3, 9, 9], 4, 7)


def test_ragged_rows_equal_a_loop():
  rng = np.random.default_rng(0)
  rows = [rng.integers(1, 9, n).tolist() for n in (3, 0, 5, 1, 0)]
  ragged = Ragged.of(rows)
  assert ragged.lengths.tolist() == [3, 0, 5, 1, 0]
  index = np.array([2, 0, 1, 2, 4])
  expected = np.array([rows[i] + [0] * (6 - len(rows[i])) for i in index])
  for found in (ragged, join([ragged.take(np.arange(0)), ragged])):
    values, inside = found.padded(index, 6, 0)
    np.testing.assert_array_equal(values, expected)
    np.testing.assert_array_equal(inside, expected > 0)
  taken = ragged.take(index)
  np.testing.assert_array_equal(taken.padded(np.arange(5), 6, 0)[0], expected)
  both = join([ragged, taken])
  np.testing.assert_array_equal(
    both.padded(5 + index * 0, 6, 0)[0][0], expected[0]
  )


def test_white_space_and_lone_surrogates_are_cleaned():
  assert clean_text(" a\r\n b\t\u2028c\ud800 ") == "a b c?"
  assert clean_text("\ufeffa") == "\ufeffa"


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"name": "wrods"}, "did you mean 'words'"),
    ({"name": "words", "vocab_size": 4}, "vocab_size from 5"),
    ({"name": "words", "vocab_size": -1}, "vocab_size from 5"),
    ({"name": "words", "min_count": 0}, "min_count"),
  ],
)
def test_settings_of_tokenizers_are_checked(settings, match):
  with pytest.raises(UserError, match=match) as error:
    make_tokenizer(texts=TEXTS, **settings)
  assert len(error.value.lines) <= 3


def test_words_have_the_spaces_of_the_training_texts():
  table = frozen.load_table("number_words")
  for language in ("english", "french"):
    texts = table[language][::20]
    found = make_tokenizer("words", texts)
    for text in texts:
      assert found.decode(found.encode(text)) == text
  texts = ['Well, (so) it is: "a - b"...', "你好, 世界! a-b c-d"]
  found = make_tokenizer("words", texts)
  assert found.decode(found.encode(texts[1])) == texts[1]
  again = tokenizer_from_json(json.loads(json.dumps(found.to_json())))
  assert again.decode(again.encode("so, (it) is")) == "so, (it) is"
  # As an earlier version wrote it.
  content = {k: found.to_json()[k] for k in ("kind", "symbols", "lowercase")}
  assert tokenizer_from_json(content).decode(found.encode("a-b")) == "a - b"


@pytest.mark.parametrize(
  "content", [b"", b"{}", b"[]", b"\xff", b'{"model": 1}']
)
def test_a_file_that_is_no_tokenizer_is_refused(content, tmp_path):
  pytest.importorskip("tokenizers")
  (tmp_path / "tokenizer.json").write_bytes(content)
  with pytest.raises(UserError, match="expected a tokenizer in") as error:
    library_tokenizer.read_tokenizer(tmp_path)
  assert len(error.value.lines) == 3


def test_a_tokenizer_that_contradicts_its_settings_is_refused(files, tmp_path):
  content = (files / "bpe.json").read_bytes()
  (tmp_path / "tokenizer.json").write_bytes(content)
  settings = tmp_path / "tokenizer_config.json"
  settings.write_text('{"do_lower_case": true}')
  with pytest.raises(UserError, match="do_lower_case") as error:
    library_tokenizer.read_tokenizer(tmp_path)
  assert len(error.value.lines) == 3


def test_settings_beside_a_wordpiece_tokenizer_are_applied(files, tmp_path):
  content = (files / "wordpiece.json").read_bytes()
  (tmp_path / "tokenizer.json").write_bytes(content)
  (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
  found = library_tokenizer.read_tokenizer(tmp_path)
  assert found.encode("CAT SAT") == found.encode("cat sat")
  plain = library_tokenizer.read_tokenizer(files / "wordpiece.json")
  assert plain.encode("CAT") != plain.encode("cat")
  assert found != plain


def test_padding_of_a_file_is_never_its_end(files, tmp_path):
  content = json.loads((files / "bpe.json").read_text())
  content["padding"]["pad_id"] = 3
  content["added_tokens"] = [
    {**token, "content": token["content"].replace("pad", "nothing")}
    for token in content["added_tokens"]
  ]
  content["model"]["vocab"] = {
    name.replace("<pad>", "<nothing>"): i
    for name, i in content["model"]["vocab"].items()
  }
  path = tmp_path / "tokenizer.json"
  path.write_text(json.dumps(content))
  found = library_tokenizer.read_tokenizer(path)
  assert (found.pad_id, found.eos_id) == (0, 3)


def test_without_the_package_the_extra_is_named(monkeypatch):
  monkeypatch.setitem(sys.modules, "tokenizers", None)
  with pytest.raises(UserError, match="tokenizers") as error:
    tokenizer_training.train_tokenizer(TEXTS)
  assert "hub" in error.value.lines[2]


def test_training_of_byte_level_bpe_is_a_function_of_its_texts(files):
  again = tokenizer_training.train_tokenizer(TEXTS * 20, vocab_size=400)
  assert again == library_tokenizer.read_tokenizer(files / "bpe.json")
  assert again.vocab_size <= 400
  for text in (*TEXTS, "\x00ж\U0001f600"):
    assert again.decode(again.encode(text)) == text


@pytest.mark.parametrize(
  ("settings", "match"),
  [
    ({"kind": "bpx"}, "did you mean 'bpe'"),
    ({"vocab_size": 200}, "vocab_size above 261"),
    ({"kind": "unigram", "vocab_size": 3}, "vocab_size above"),
    ({"texts": ["", "  "]}, "expected texts"),
  ],
  ids=str,
)
def test_training_settings_are_checked(settings, match):
  pytest.importorskip("tokenizers")
  with pytest.raises(UserError, match=match) as error:
    tokenizer_training.train_tokenizer(**{"texts": TEXTS, **settings})
  assert len(error.value.lines) <= 3


def test_the_tokenizers_of_a_run_are_read_from_its_folder(tmp_path):
  source, target = (make_tokenizer("words", [text]) for text in ("a", "b"))
  content = {"schema": {"tokenizer": source.to_json()}}
  file = tmp_path / "run" / "assets" / "data.json"
  file.parent.mkdir(parents=True)
  file.write_text(json.dumps(content))
  run = str(tmp_path / "run")
  assert make_tokenizer(run, ()) == source
  assert make_tokenizer(run, (), setting="target_tokenizer") == source
  content["schema"]["target_tokenizer"] = target.to_json()
  file.write_text(json.dumps(content))
  assert make_tokenizer(run, ()) == source
  assert make_tokenizer(run, (), setting="target_tokenizer") == target


@pytest.mark.parametrize(
  "content",
  [
    "{}",
    "[]",
    '{"schema": {"kind": "images"}}',
    '{"schema": {"tokenizer": {"kind": "lost"}}}',
    '{"schema": {"tokenizer": 3}}',
    '{"schema": {"tokenizer": {"kind": "words", "symbols": ["a", "a"]}}}',
  ],
)
def test_a_run_without_a_tokenizer_is_refused(content, tmp_path):
  (tmp_path / "assets").mkdir()
  (tmp_path / "assets" / "data.json").write_text(content)
  with pytest.raises(UserError, match="expected a run of texts with a tokeni"):
    make_tokenizer(str(tmp_path), ())


def test_the_settings_name_the_tokens_of_unusual_names(tmp_path):
  tokens = ("a", "<|eos|>", "<PAD>", "<|bos|>", "<|hide|>")
  model = tokenizers.models.WordLevel({t: i for i, t in enumerate(tokens)})
  inner = tokenizers.Tokenizer(model)
  inner.add_special_tokens(list(tokens[1:]))
  inner.save(str(tmp_path / "tokenizer.json"))
  plain = make_tokenizer(str(tmp_path), ())
  assert (plain.eos_id, plain.bos_id, plain.mask_id) == (None, None, None)
  settings = {
    "eos_token": {"content": "<|eos|>"},
    "pad_token": "<PAD>",
    "bos_token": "<|bos|>",
    "mask_token": "<|hide|>",
    "unk_token": "<missing>",
  }
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  named = make_tokenizer(str(tmp_path), ())
  ids = (named.eos_id, named.pad_id, named.bos_id, named.mask_id)
  assert ids == (1, 2, 3, 4)
  assert named.unknown_id is None
  again = tokenizer_from_json(json.loads(json.dumps(named.to_json())))
  assert (again.eos_id, again.pad_id, again.bos_id) == (1, 2, 3)
  wrong = {**named.to_json(), "named": {"eos_token": 5}}
  with pytest.raises(ValueError, match="named="):
    tokenizer_from_json(wrong)


def test_one_token_for_all_roles_is_the_end_alone(tmp_path):
  vocabulary = {"a": 0, "b": 1, "<|endoftext|>": 2}
  inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary))
  inner.save(str(tmp_path / "tokenizer.json"))
  names = ("bos_token", "eos_token", "pad_token", "unk_token")
  settings = dict.fromkeys(names, "<|endoftext|>")
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  found = make_tokenizer(str(tmp_path), ())
  assert (found.eos_id, found.pad_id) == (2, 0)
  assert (found.bos_id, found.unknown_id) == (None, None)


def test_special_tokens_surround_texts_without_an_a(tmp_path):
  vocabulary = {"[CLS]": 0, "[SEP]": 1, "C": 2, "G": 3, "T": 4}
  inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
  inner.post_processor = tokenizers.processors.TemplateProcessing(
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B [SEP]",
    special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
  )
  inner.add_special_tokens(["[CLS]", "[SEP]"])
  inner.save(str(tmp_path / "tokenizer.json"))
  found = make_tokenizer(str(tmp_path), ())
  assert found.frame(pair=False) == framing.Frame((0,), (), (1,))
  assert found.frame(pair=True) == framing.Frame((0,), (1,), (1,))


def test_lone_surrogates_are_encoded_as_question_marks(files):
  found = make_tokenizer(str(files / "bpe.json"), ())
  assert found.encode("a\ud800") == found.encode("a?")


def test_the_file_of_a_run_decides_the_token_ids(tmp_path):
  (tmp_path / "assets").mkdir()
  (tmp_path / "assets" / "data.json").write_text("{}")
  [file] = TextSettings(str(tmp_path)).files()
  assert file == tmp_path / "assets" / "data.json"


def test_more_characters_than_the_vocabulary_has_are_an_error():
  texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 600)))]
  with pytest.raises(UserError, match="from which unigram learns 100 tokens"):
    tokenizer_training.train_tokenizer(texts, kind="unigram", vocab_size=100)
