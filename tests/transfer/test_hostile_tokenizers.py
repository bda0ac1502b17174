"""Damaged and hostile tokenizer.json: three lines, whatever the library does.

The library is compiled from Rust, and its panics derive from `BaseException`.
"""

import base64
import json

import pytest

from dlcore import transfer
from dlcore.data.text import tokenizer_checks
from dlcore.errors import UserError

WORDLEVEL = {
  "type": "WordLevel",
  "vocab": {"a": 0, "b": 1, "[UNK]": 2},
  "unk_token": "[UNK]",
}


def component(**changes):
  return {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": WORDLEVEL,
    **changes,
  }


def model(**changes):
  return component(model={**WORDLEVEL, **changes})


def wordpiece(**changes):
  return component(
    model={
      "type": "WordPiece",
      "unk_token": "[UNK]",
      "continuing_subword_prefix": "##",
      "max_input_chars_per_word": 100,
      "vocab": {"a": 0, "[UNK]": 1},
      **changes,
    }
  )


def charsmap(content):
  text = base64.b64encode(content).decode()
  return component(
    normalizer={"type": "Precompiled", "precompiled_charsmap": text}
  )


A, B, CLS = (
  {"Sequence": {"id": "A", "type_id": 0}},
  {"Sequence": {"id": "B", "type_id": 1}},
  {"SpecialToken": {"id": "[CLS]", "type_id": 0}},
)


def template(single, special_tokens):
  return component(
    post_processor={
      "type": "TemplateProcessing",
      "single": single,
      "pair": [A, B],
      "special_tokens": special_tokens,
    }
  )


def cls(ids):
  return {"[CLS]": {"id": "[CLS]", "ids": ids, "tokens": ["[CLS]"] * len(ids)}}


def replace(content, **pattern):
  return {"type": "Replace", "pattern": pattern, "content": content}


def sequence(*parts):
  return component(normalizer={"type": "Sequence", "normalizers": list(parts)})


DOUBLE = replace("aa", String="a")
CASES = {
  "no unknown token of words": model(unk_token="[NONE]"),
  "no unknown token of pieces": wordpiece(unk_token="[NONE]"),
  "an unknown id outside the vocabulary": component(
    model={"type": "Unigram", "unk_id": 7, "vocab": [["a", -1.0]]}
  ),
  "no unknown id": component(
    model={"type": "Unigram", "unk_id": None, "vocab": [["a", -1.0]]}
  ),
  "an id beyond int32": model(vocab={"a": 2**31, "[UNK]": 2}),
  "an id beyond all vocabularies": model(vocab={"a": 2**24, "[UNK]": 2}),
  "an id beyond uint32": model(vocab={"a": 2**32, "[UNK]": 2}),
  "a negative id": model(vocab={"a": -1, "[UNK]": 2}),
  "an added id beyond int32": component(
    added_tokens=[
      {
        **{"id": 2**31, "content": "x", "single_word": False, "lstrip": False},
        **{"rstrip": False, "normalized": False, "special": True},
      }
    ]
  ),
  "padding beyond int32": component(
    padding={
      "strategy": "BatchLongest",
      "direction": "Right",
      "pad_to_multiple_of": None,
      "pad_id": 2**31,
      "pad_type_id": 0,
      "pad_token": "x",
    }
  ),
  "a regular expression of exponential time": component(
    pre_tokenizer={
      "type": "Split",
      "pattern": {"Regex": "(a+)+$"},
      "behavior": "Isolated",
      "invert": False,
    }
  ),
  "an invalid regular expression": component(
    pre_tokenizer={
      "type": "Split",
      "pattern": {"Regex": "(a+"},
      "behavior": "Isolated",
      "invert": False,
    }
  ),
  "a truncated character map": charsmap(b"\xff" * 20),
  "a damaged character map": charsmap(b"\x10\0\0\0" + bytes(range(40))),
  "a template with an unknown token": template([CLS, A], {}),
  "a template with an unknown id": template([CLS, A], cls([999])),
  "a template with an id beyond int32": template([CLS, A], cls([2**32 - 1])),
  "a template with a token type beyond int32": template(
    [{"Sequence": {"id": "A", "type_id": 2**31}}], {}
  ),
  "BERT's template with an unknown id": component(
    post_processor={
      "type": "BertProcessing",
      "sep": ["[SEP]", 99],
      "cls": ["[CLS]", 98],
    }
  ),
  "BERT's template with a list as an id": component(
    post_processor={
      "type": "BertProcessing",
      "sep": ["[SEP]", []],
      "cls": ["[CLS]", {}],
    }
  ),
  "pieces that are lists": component(
    model={"type": "Unigram", "unk_id": 0, "vocab": [[["a"], -1.0]]}
  ),
  "a number as the text to replace": sequence(replace("aa", String=3)),
  "a list as a replacement": sequence(replace(["a"], String="a")),
  "a long template": template([CLS] * 40 + [A], cls([0] * 100)),
  "a template of many copies": template([A] * 5000, {}),
  "replacements that double": sequence(*[DOUBLE] * 60),
  "a replacement between all characters": sequence(
    *[replace("a", Regex="x*")] * 30
  ),
  "a long replacement": sequence(replace("a" * 1000, String="b")),
  "nested replacements": sequence(
    {"type": "Sequence", "normalizers": [DOUBLE] * 30}, *[DOUBLE] * 30
  ),
  "replacements while decoding": component(
    decoder={"type": "Sequence", "decoders": [DOUBLE] * 60}
  ),
  "a long prefix of pieces": wordpiece(continuing_subword_prefix="#" * 10**6),
  "words without a limit": wordpiece(max_input_chars_per_word=10**12),
}


@pytest.mark.parametrize("case", CASES)
def test_a_hostile_tokenizer_is_refused_in_three_lines(case, tmp_path):
  (tmp_path / "tokenizer.json").write_text(json.dumps(CASES[case]))

  def load_and_encode():
    text = "a b zz " + "a" * 40 + "!"
    return transfer.load_tokenizer(tmp_path).encode([text])

  with pytest.raises(UserError) as error:
    load_and_encode()
  assert len(error.value.lines) == 3
  assert all(line.isprintable() for line in error.value.lines)


def test_a_pair_of_which_truncation_cuts_off_too_much_is_refused(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(tokenizer_checks, "MAX_CUT", 100)
  (tmp_path / "tokenizer.json").write_text(json.dumps(component()))
  tokenizer = transfer.load_tokenizer(tmp_path)
  short, long = "a " * 20, "a " * 40
  batch = tokenizer.encode([short], [short], max_length=4)
  assert batch["input_ids"].shape == (1, 4)
  assert tokenizer.encode([long], [long])["input_ids"].shape == (1, 80)
  with pytest.raises(UserError, match="40 and 40 tokens and max_length=4"):
    tokenizer.encode([short, long], [short, long], max_length=4)


@pytest.mark.parametrize("key", ["bos_token", "eos_token", "pad_token"])
def test_a_token_that_is_not_unicode_is_in_no_vocabulary(key, tmp_path):
  (tmp_path / "tokenizer.json").write_text(json.dumps(component()))
  settings = {key: "\ud800", "add_bos_token": True, "add_eos_token": True}
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
  tokenizer = transfer.load_tokenizer(tmp_path)
  assert (tokenizer.pad_id, tokenizer.eos_ids) == (0, ())


ACCEPTED = {
  "padding of a billion": component(
    padding={
      "strategy": {"Fixed": 10**9},
      "direction": "Left",
      "pad_to_multiple_of": None,
      "pad_id": 1,
      "pad_type_id": 0,
      "pad_token": "b",
    }
  ),
  "a stride above the length": component(
    truncation={
      "direction": "Right",
      "max_length": 2,
      "strategy": "LongestFirst",
      "stride": 5,
    }
  ),
  "many replacements of one character": sequence(
    *[replace(" ", Regex=f"[{c}]") for c in "bcdefghijklm"] * 20
  ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_settings_that_loading_resets_are_harmless(case, tmp_path):
  (tmp_path / "tokenizer.json").write_text(json.dumps(ACCEPTED[case]))
  tokens = {"bos_token": "a", "add_bos_token": False}
  (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
  tokenizer = transfer.load_tokenizer(tmp_path)
  assert tokenizer.encode(["a a"])["input_ids"].tolist() == [[0, 0]]
