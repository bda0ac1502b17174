"""Texts of token ids, and where each token ends in them."""

import itertools

import numpy as np
import pytest

from dlcore.data.text import tokenizer_training
from dlcore.data.text.library_tokenizer import LibraryTokenizer
from dlcore.data.text.text_encoding import TokenRows, encode_texts
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.token_texts import (
  SEPARATOR,
  decode_tokens,
  token_labels,
)
from dlcore.data.text.tokenizer import FITTED, make_tokenizer

TEXTS = ("the cat sat.", "a cat\u0301 of 🙂 and 我爱你", "the end")


def pieces(text, ends):
  return [text[start:stop] for start, stop in itertools.pairwise([0, *ends])]


def encoded(tokenizer, pairs=None, max_length=60):
  rows = encode_texts(TEXTS, pairs, tokenizer, max_length)
  return TokenRows(rows, max_length, tokenizer.pad_id, {})(np.arange(3))


@pytest.mark.parametrize("name", FITTED)
def test_the_pieces_of_the_tokens_are_the_text(name):
  tokenizer = make_tokenizer(name, TEXTS[:2])
  for text in TEXTS:
    ids = tokenizer.encode(text)
    decoded, ends = decode_tokens(tokenizer, ids)
    assert decoded == tokenizer.decode(ids)
    assert "".join(pieces(decoded, ends)) == decoded
    assert len(ends) == len(ids)
    if name in ("words", "spaces"):
      words = [piece.strip() for piece in pieces(decoded, ends)]
      assert words == [tokenizer.decode([i]) for i in ids]


def test_a_character_of_several_bytes_belongs_to_the_last_of_them():
  tokenizer = make_tokenizer("bytes", ())
  _, ends = decode_tokens(tokenizer, tokenizer.encode("a🙂b"))
  assert ends == [1, 1, 1, 1, 2, 3]


def test_special_tokens_and_padding_have_no_text():
  tokenizer = make_tokenizer("words", TEXTS)
  schema = TextSchema(tokenizer=tokenizer, max_length=60)
  batch = encoded(tokenizer)
  texts, ends = schema.display(batch), schema.token_ends(batch)
  assert texts[0] == "the cat sat."
  assert pieces(texts[0], ends[0])[:7] == [
    "",
    "the",
    " cat",
    " sat",
    ".",
    "",
    "",
  ]
  assert ends[0, -1] == len(texts[0])


def test_both_texts_of_a_pair_are_separated():
  tokenizer = make_tokenizer("words", TEXTS)
  schema = TextSchema(tokenizer=tokenizer, max_length=60, columns=("a", "b"))
  batch = encoded(tokenizer, TEXTS[::-1])
  texts, ends = schema.display(batch), schema.token_ends(batch)
  assert texts[0] == f"the cat sat.{SEPARATOR}the end"
  shown = [piece for piece in pieces(texts[0], ends[0]) if piece]
  assert shown[-2:] == [f"{SEPARATOR}the", " end"]


def test_a_mask_token_and_special_ids_are_those_of_the_file():
  tokenizers = pytest.importorskip("tokenizers")
  words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5}
  model = tokenizers.models.WordPiece(words, unk_token="[UNK]")
  inner = tokenizers.Tokenizer(model)
  tokenizer = LibraryTokenizer.of(inner)
  assert tokenizer.mask_id == 4
  assert tokenizer.special_ids == (0, 1, 2, 3, 4)
  trained = tokenizer_training.train_tokenizer(
    TEXTS * 20, kind="bpe", vocab_size=400
  )
  assert trained.mask_id in trained.special_ids
  assert set(trained.special_ids) >= {trained.pad_id, trained.eos_id}
  for kind in FITTED:
    own = make_tokenizer(kind, TEXTS)
    assert own.mask_id is None
    special = (own.pad_id, own.unknown_id, own.bos_id, own.eos_id)
    assert own.special_ids == special


@pytest.mark.parametrize("name", FITTED)
def test_every_token_has_a_label(name):
  tokenizer = make_tokenizer(name, TEXTS[:2])
  for text in TEXTS:
    ids = [tokenizer.bos_id, *tokenizer.encode(text), tokenizer.eos_id]
    labels = token_labels(tokenizer, ids)
    assert len(labels) == len(ids)
    assert all(labels)
    assert (labels[0], labels[-1]) == ("[bos]", "[eos]")
    assert ("[unk]" in labels) == (tokenizer.unknown_id in ids)


def test_blanks_and_parts_of_a_character_have_a_symbol():
  tokenizer = make_tokenizer("bytes", ())
  labels = token_labels(tokenizer, tokenizer.encode("a \n\t\u00e9"))
  assert labels == ["a", "\u2423", "\u23ce", "\u21e5", "\u00b7", "\u00e9"]
