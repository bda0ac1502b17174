"""Tokenizers of published folders: made here by the library itself."""

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
  """Returns a tokenizer as BERT has it."""
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


def test_texts_become_what_a_model_is_called_with(folder):
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


def test_second_texts_have_a_type_of_their_own(folder):
  batch = transfer.load_tokenizer(folder).encode(["is"], ["very fun"])
  assert batch["input_ids"].tolist() == [[2, 7, 3, 9, 8, 3]]
  assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_rows_are_cut_and_keep_their_special_tokens(folder):
  tokenizer = transfer.load_tokenizer(folder)
  long = ["very " * 20]
  assert tokenizer.encode(long, length=5)["input_ids"].tolist() == [
    [2, 9, 9, 9, 3]
  ]
  # The length of one call is not that of the next one.
  assert tokenizer.encode(long)["input_ids"].shape == (1, 22)
  bare = tokenizer.encode(long, length=4, special=False)
  assert bare["input_ids"].tolist() == [[9] * 4]


def test_decoding_takes_encoding_back(folder):
  tokenizer = transfer.load_tokenizer(folder)
  texts = ["deep learning is very fun.", "fun"]
  assert tokenizer.decode(tokenizer.encode(texts)["input_ids"]) == texts
  assert tokenizer.vocabulary == len(WORDS)


def test_no_texts_make_an_empty_batch(folder):
  batch = transfer.load_tokenizer(folder).encode([])
  assert batch["input_ids"].shape == (0, 0)


@pytest.mark.parametrize("token", ["[SEP]", {"content": "[SEP]"}])
def test_the_token_for_padding_is_the_one_that_is_published(folder, token):
  settings = json.dumps({"pad_token": token})
  (folder / "tokenizer_config.json").write_text(settings)
  batch = transfer.load_tokenizer(folder).encode(["fun", "very fun"])
  assert batch["input_ids"][0, -1] == WORDS.index("[SEP]")


@pytest.mark.parametrize("token", ["[SEP]", {"content": "[SEP]"}])
def test_the_token_for_padding_may_have_a_file_of_its_own(folder, token):
  (folder / "special_tokens_map.json").write_text(
    json.dumps({"pad_token": token})
  )
  assert transfer.load_tokenizer(folder).pad == WORDS.index("[SEP]")
  settings = {"pad_token": "[CLS]", "added_tokens_decoder": {}}
  (folder / "tokenizer_config.json").write_text(json.dumps(settings))
  assert transfer.load_tokenizer(folder).pad == WORDS.index("[CLS]")


def test_rows_are_filled_at_the_side_that_is_published(folder):
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
  assert transfer.load_tokenizer(folder).side == "left"
  settings.write_text('{"padding_side": "right"}')
  assert transfer.load_tokenizer(folder).side == "right"
  settings.write_text('{"padding_side": ["top"]}')
  with pytest.raises(UserError, match="'top'") as error:
    transfer.load_tokenizer(folder)
  assert len(error.value.lines) == 3


@pytest.mark.parametrize(
  ("tidy", "text"), [(True, "fun'is fun."), (False, "fun ' is fun.")]
)
def test_spaces_are_taken_out_where_the_settings_say_so(folder, tidy, text):
  inner = wordpiece()
  inner.add_tokens(["'"])
  inner.save(str(folder / "tokenizer.json"))
  settings = json.dumps({"clean_up_tokenization_spaces": tidy})
  (folder / "tokenizer_config.json").write_text(settings)
  tokenizer = transfer.load_tokenizer(folder)
  assert tokenizer.decode(tokenizer.encode(["fun'is fun."])["input_ids"]) == [
    text
  ]


def test_spaces_of_byte_pairs_stay(tmp_path):
  inner = tokenizers.Tokenizer(models.BPE({"a": 0, "Ġ": 1, ".": 2}, []))
  inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
  inner.decoder = decoders.ByteLevel()
  inner.save(str(tmp_path / "tokenizer.json"))
  settings = '{"clean_up_tokenization_spaces": true}'
  (tmp_path / "tokenizer_config.json").write_text(settings)
  tokenizer = transfer.load_tokenizer(tmp_path)
  assert tokenizer.decode(tokenizer.encode(["a ."])["input_ids"]) == ["a ."]


def test_padding_and_cutting_that_were_saved_do_not_count(folder):
  inner = wordpiece()
  inner.enable_padding(length=30, pad_id=1)
  inner.enable_truncation(2)
  inner.save(str(folder / "tokenizer.json"))
  tokenizer = transfer.load_tokenizer(folder / "tokenizer.json")
  assert tokenizer.pad == 1
  assert tokenizer.encode(["very fun"])["input_ids"].shape == (1, 4)


@pytest.mark.parametrize(
  ("content", "told"),
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
def test_what_is_no_tokenizer_is_refused(tmp_path, content, told):
  (tmp_path / "tokenizer.json").write_bytes(content)
  with pytest.raises(UserError, match=told):
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
def test_what_marian_has_is_no_tokenizer_that_anything_writes(
  tmp_path, name, text
):
  (tmp_path / name).write_text(text)
  with pytest.raises(UserError) as error:
    transfer.load_tokenizer(tmp_path)
  assert "MarianTokenizer.from_pretrained" in error.value.lines[2]
  assert "save_pretrained" not in str(error.value)


def test_mistakes_in_a_call_are_told(folder):
  tokenizer = transfer.load_tokenizer(folder)
  with pytest.raises(UserError, match="list of texts"):
    tokenizer.encode("fun")
  with pytest.raises(UserError, match="2 texts and 1 pairs"):
    tokenizer.encode(["fun", "is"], ["very"])
  with pytest.raises(UserError, match="room for special tokens"):
    tokenizer.encode(["fun"], length=-1)
  with pytest.raises(UserError, match="room for special tokens") as error:
    tokenizer.encode(["fun"], length=1)
  assert len(error.value.lines) == 3


def test_without_the_library_the_message_says_how_to_get_it(
  folder, monkeypatch
):
  monkeypatch.setitem(sys.modules, "tokenizers", None)
  with pytest.raises(UserError, match=r"dlcore\[hub\]"):
    transfer.load_tokenizer(folder)
