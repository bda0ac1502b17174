"""Tokenizers of published folders, written here by the library itself."""

import json
import sys

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from dlcore import transfer
from dlcore.errors import UserError

WORDS = (
  *("[PAD]", "[UNK]", "[CLS]", "[SEP]"),
  *("deep", "learn", "##ing", "is", "fun", "very", "."),
)


def wordpiece():
  """Returns a tokenizer like BERT's."""
  ids = {word: i for i, word in enumerate(WORDS)}
  inner = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
  inner.normalizer = normalizers.BertNormalizer()
  inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
  inner.decoder = decoders.WordPiece()
  inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
  inner.add_special_tokens(list(WORDS[:4]))
  return inner


@pytest.fixture
def folder(tmp_path):
  wordpiece().save(str(tmp_path / "tokenizer.json"))
  return tmp_path


def test_texts_become_the_arguments_of_a_model(folder):
  batch = transfer.load_tokenizer(folder).encode(
    ["Deep learning is fun.", "Fun"]
  )
  assert batch["input_ids"].tolist() == [
    [2, 4, 5, 6, 7, 8, 10, 3],
    [2, 8, 3, 0, 0, 0, 0, 0],
  ]
  assert batch["attention_mask"].tolist() == [[1] * 8, [1] * 3 + [0] * 5]
  assert not batch["token_type_ids"].any()
  assert all(array.dtype == np.int32 for array in batch.values())


def test_second_texts_have_another_token_type(folder):
  batch = transfer.load_tokenizer(folder).encode(["is"], ["very fun"])
  assert batch["input_ids"].tolist() == [[2, 7, 3, 9, 8, 3]]
  assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_truncated_sequences_keep_their_special_tokens(folder):
  tokenizer = transfer.load_tokenizer(folder)
  long = ["very " * 20]
  assert tokenizer.encode(long, max_length=5)["input_ids"].tolist() == [
    [2, 9, 9, 9, 3]
  ]
  # Truncation of one call does not affect the next one.
  assert tokenizer.encode(long)["input_ids"].shape == (1, 22)
  bare = tokenizer.encode(long, max_length=4, add_special_tokens=False)
  assert bare["input_ids"].tolist() == [[9] * 4]


def test_decoding_inverts_encoding(folder):
  tokenizer = transfer.load_tokenizer(folder)
  texts = ["deep learning is very fun.", "fun"]
  assert tokenizer.decode(tokenizer.encode(texts)["input_ids"]) == texts
  assert tokenizer.vocab_size == len(WORDS)


def test_an_empty_list_gives_an_empty_batch(folder):
  batch = transfer.load_tokenizer(folder).encode([])
  assert batch["input_ids"].shape == (0, 0)


@pytest.mark.parametrize("token", ["[SEP]", {"content": "[SEP]"}])
def test_the_padding_token_is_the_published_one(folder, token):
  settings = json.dumps({"pad_token": token})
  (folder / "tokenizer_config.json").write_text(settings)
  batch = transfer.load_tokenizer(folder).encode(["fun", "very fun"])
  assert batch["input_ids"][0, -1] == WORDS.index("[SEP]")


@pytest.mark.parametrize("token", ["[SEP]", {"content": "[SEP]"}])
def test_the_padding_token_may_be_in_a_separate_file(folder, token):
  (folder / "special_tokens_map.json").write_text(
    json.dumps({"pad_token": token})
  )
  assert transfer.load_tokenizer(folder).pad_id == WORDS.index("[SEP]")
  settings = {"pad_token": "[CLS]", "added_tokens_decoder": {}}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  assert transfer.load_tokenizer(folder).pad_id == WORDS.index("[CLS]")


def test_the_padding_side_is_the_published_one(folder):
  settings = folder / "tokenizer_config.json"
  settings.write_text('{"padding_side": "left"}')
  batch = transfer.load_tokenizer(folder).encode(["fun", "fun"], ["is fun", ""])
  assert batch["input_ids"][1].tolist() == [0, 0, 2, 8, 3, 3]
  assert batch["attention_mask"][1].tolist() == [0, 0, 1, 1, 1, 1]
  assert batch["token_type_ids"][1].tolist() == [0, 0, 0, 0, 0, 1]
  inner = wordpiece()
  inner.enable_padding(direction="left")
  inner.save(str(folder / "tokenizer.json"))
  settings.unlink()
  assert transfer.load_tokenizer(folder).padding_side == "left"
  settings.write_text('{"padding_side": "right"}')
  assert transfer.load_tokenizer(folder).padding_side == "right"
  settings.write_text('{"padding_side": ["top"]}')
  with pytest.raises(UserError, match="'top'") as error:
    transfer.load_tokenizer(folder)
  assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  ("clean_up", "text"), [(True, "fun'is fun."), (False, "fun ' is fun.")]
)
def test_spaces_are_cleaned_up_if_the_settings_request_it(
  folder, clean_up, text
):
  inner = wordpiece()
  inner.add_tokens(["'"])
  inner.save(str(folder / "tokenizer.json"))
  settings = json.dumps({"clean_up_tokenization_spaces": clean_up})
  (folder / "tokenizer_config.json").write_text(settings)
  tokenizer = transfer.load_tokenizer(folder)
  assert tokenizer.decode(tokenizer.encode(["fun'is fun."])["input_ids"]) == [
    text
  ]


def test_spaces_of_byte_pairs_are_kept(tmp_path):
  inner = tokenizers.Tokenizer(models.BPE({"a": 0, "Ġ": 1, ".": 2}, []))
  inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  inner.decoder = decoders.ByteLevel()
  inner.save(str(tmp_path / "tokenizer.json"))
  settings = '{"clean_up_tokenization_spaces": true}'
  (tmp_path / "tokenizer_config.json").write_text(settings)
  tokenizer = transfer.load_tokenizer(tmp_path)
  assert tokenizer.decode(tokenizer.encode(["a ."])["input_ids"]) == ["a ."]


def test_saved_padding_and_truncation_have_no_effect(folder):
  inner = wordpiece()
  inner.enable_padding(length=30, pad_id=1)
  inner.enable_truncation(2)
  inner.save(str(folder / "tokenizer.json"))
  tokenizer = transfer.load_tokenizer(folder / "tokenizer.json")
  assert tokenizer.pad_id == 1
  assert tokenizer.encode(["very fun"])["input_ids"].shape == (1, 4)


@pytest.mark.parametrize(
  ("content", "expected"),
  [
    (b"", "expected a tokenizer"),
    (b"{}", "expected a tokenizer"),
    (b"[1]", "expected a tokenizer"),
    (b'{"model": {"type": "WordPiece"}}', "expected a tokenizer"),
    (b'{"a": 1, "a": 2}', "twice"),
    (b"[" * 10**6, "nested"),
    (b"\xff\xfe", "expected a tokenizer"),
  ],
)
def test_an_invalid_tokenizer_is_refused(tmp_path, content, expected):
  (tmp_path / "tokenizer.json").write_bytes(content)
  with pytest.raises(UserError, match=expected):
    transfer.load_tokenizer(tmp_path)


def test_links_and_missing_files_are_refused(folder, tmp_path_factory):
  other = tmp_path_factory.mktemp("other")
  with pytest.raises(UserError, match="no such file"):
    transfer.load_tokenizer(other)
  (other / "tokenizer.json").symlink_to(folder / "tokenizer.json")
  with pytest.raises(UserError, match="a link"):
    transfer.load_tokenizer(other)


@pytest.mark.parametrize(
  ("name", "text"),
  [("source.spm", ""), ("config.json", '{"model_type": "marian"}')],
)
def test_a_folder_of_marian_has_its_own_suggestion(tmp_path, name, text):
  (tmp_path / name).write_text(text)
  with pytest.raises(UserError) as error:
    transfer.load_tokenizer(tmp_path)
  assert "MarianTokenizer.from_pretrained" in error.value.lines[2]
  assert "save_pretrained" not in str(error.value)


def test_invalid_arguments_of_encode_are_refused(folder):
  tokenizer = transfer.load_tokenizer(folder)
  with pytest.raises(UserError, match="list of texts"):
    tokenizer.encode("fun")
  with pytest.raises(UserError, match="2 texts and 1 pairs"):
    tokenizer.encode(["fun", "is"], ["very"])
  with pytest.raises(UserError, match="room for special tokens"):
    tokenizer.encode(["fun"], max_length=-1)
  with pytest.raises(UserError, match="room for special tokens") as error:
    tokenizer.encode(["fun"], max_length=1)
  assert len(error.value.lines) == 3


def test_without_the_library_the_message_has_the_command(folder, monkeypatch):
  monkeypatch.setitem(sys.modules, "tokenizers", None)
  with pytest.raises(UserError, match="uv sync --extra hub"):
    transfer.load_tokenizer(folder)


def test_decoding_refuses_what_is_no_id(folder):
  tokenizer = transfer.load_tokenizer(folder)
  for ids in ([[4, -100]], [[2**31]], [[2**40]], [[1.5]], [4, 5], [["a"]], 3):
    with pytest.raises(UserError) as error:
      tokenizer.decode(ids)
    assert len(error.value.lines) == 3
  assert tokenizer.decode(np.array([[4]])) == ["deep"]


@pytest.mark.parametrize("texts", [[3], [None], [["fun"]], ["\ud800"], [b"x"]])
def test_encoding_refuses_what_is_no_string(folder, texts):
  tokenizer = transfer.load_tokenizer(folder)
  for arguments in ((texts,), (["fun"], texts)):
    with pytest.raises(UserError, match="valid Unicode") as error:
      tokenizer.encode(*arguments)
    assert len(error.value.lines) == 3


def options(folder, **settings):
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  return transfer.load_tokenizer(folder)


def test_the_truncation_side_is_the_published_one(folder):
  text = ["deep learn is fun"]
  tokenizer = options(folder, truncation_side="left")
  kept = tokenizer.encode(text, max_length=4)["input_ids"]
  assert kept.tolist() == [[2, 7, 8, 3]]
  kept = tokenizer.encode(text, max_length=10**30)["input_ids"]
  assert kept.tolist() == [[2, 4, 5, 7, 8, 3]]
  with pytest.raises(UserError, match="truncation_side to be 'left'"):
    options(folder, truncation_side="top")
  inner = wordpiece()
  inner.enable_truncation(9, direction="left")
  inner.save(str(folder / "tokenizer.json"))
  assert options(folder).truncation_side == "left"
  assert options(folder, truncation_side="right").truncation_side == "right"


def test_the_options_of_a_bert_normalizer_are_applied(folder):
  unknown, deep = WORDS.index("[UNK]"), WORDS.index("deep")

  def ids(text, **settings):
    tokenizer = options(folder, **settings)
    (row,) = tokenizer.encode([text], add_special_tokens=False)["input_ids"]
    return row.tolist()

  assert ids("Deep") == ids("Deep", do_lower_case=True) == [deep]
  assert ids("Deep", do_lower_case=False) == [unknown]
  assert ids("d\u00e9ep") == [deep]
  assert ids("d\u00e9ep", strip_accents=False) == [unknown]
  chinese = "\u4e2d\u4e2d"
  assert ids(chinese) == [unknown] * 2
  assert ids(chinese, tokenize_chinese_chars=False) == [unknown]


def test_options_that_the_tokenizer_contradicts_are_refused(folder):
  inner = wordpiece()
  inner.normalizer = normalizers.Lowercase()
  inner.save(str(folder / "tokenizer.json"))
  options(folder, do_lower_case=True)
  tokens = {"bos_token": "[CLS]", "eos_token": "[SEP]"}
  options(folder, add_bos_token=True, add_eos_token=True, **tokens)
  for settings in (
    {"do_lower_case": False},
    {"add_bos_token": False, **tokens},
    {"add_eos_token": False, **tokens},
  ):
    with pytest.raises(UserError, match="agrees with") as error:
      options(folder, **settings)
    assert len(error.value.lines) == 3
  inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
  inner.save(str(folder / "tokenizer.json"))
  options(folder, add_prefix_space=True)
  with pytest.raises(UserError, match="add_prefix_space=False"):
    options(folder, add_prefix_space=False)
