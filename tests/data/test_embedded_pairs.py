"""The pairs in the package: splits, references and tags."""

import collections
import re

import numpy as np
import pytest

from dlcore import data
from dlcore.data.text import frozen
from dlcore.errors import UserError


@pytest.fixture(scope="module")
def numbers():
  return data.load("number_words")


@pytest.fixture(scope="module")
def words():
  return data.load("cmudict")


def decoded(part, name="input_ids"):
  schema, ids = part.info.schema, part.arrays[name]
  tokenizer = schema.output_tokenizer if name == "labels" else schema.tokenizer
  ids = np.where(ids < 0, 0, ids)
  return [tokenizer.decode(row) for row in ids.tolist()]


def test_no_number_is_in_two_splits_and_train_has_few_of_all(numbers):
  parts = [{*decoded(part)} for part in numbers]
  assert not parts[0] & parts[1]
  assert not (parts[0] | parts[1]) & parts[2]
  assert numbers.train.size < 0.05 * 1_000_000
  assert numbers.test.size >= 2_000
  targets = [{*decoded(part, "labels")} for part in numbers]
  assert not (targets[0] | targets[1]) & targets[2]
  assert any("num2words" in note for note in numbers.train.info.notes)


@pytest.mark.slow
def test_longer_numbers_have_more_words_than_any_in_train(numbers):
  longer = data.load("number_words", test="longer").test
  schema = longer.info.schema
  assert schema.tokenizer == numbers.train.info.schema.tokenizer
  for name in ("input_ids", "labels"):
    most = max(
      len(re.findall(r"\w+", text)) for text in decoded(numbers.train, name)
    )
    assert (
      min(len(re.findall(r"\w+", text)) for text in decoded(longer, name))
      > most
    )
    assert "\ufffd" not in "".join(decoded(longer, name))


@pytest.mark.slow
def test_directions_and_wrong_settings(numbers):
  turned = data.load("number_words", source="french", target="english")
  assert decoded(turned.test) == decoded(numbers.test, "labels")
  with pytest.raises(UserError, match="test to be 'test' or 'longer'"):
    data.load("number_words", test="long")
  with pytest.raises(UserError, match="source to be"):
    data.load("number_words", source="german")


@pytest.mark.slow
def test_all_pronunciations_of_a_word_are_its_references(words):
  table = frozen.load_table("cmudict")
  expected = collections.defaultdict(set)
  for word, phonemes in zip(table["word"], table["pronunciation"], strict=True):
    expected[word].add(re.sub(r"\d", "", phonemes))
  seen = set()
  for part in words:
    found = collections.defaultdict(set)
    sources, ids = decoded(part), part.arrays["source_id"]
    for id_, phonemes in zip(ids, decoded(part, "labels"), strict=True):
      assert phonemes not in found[id_]
      found[id_].add(phonemes)
    for word, id_ in dict(zip(sources, ids, strict=True)).items():
      if len(word) < 38:  # Longer ones are truncated.
        assert found[id_] == expected[word]
      assert word not in seen
      seen.add(word)
  assert len(seen) > 100_000
  assert words.train.info.schema.target_vocab_size == 4 + 39


@pytest.mark.slow
def test_stress_is_that_of_vowels_without_a_word_in_two_splits():
  splits = data.load("cmudict_stress")
  assert splits.train.info.schema.classes == ("0", "1", "2")
  parts = [{*map(bytes, part.arrays["input_ids"])} for part in splits]
  assert not parts[0] & parts[1]
  assert not (parts[0] | parts[1]) & parts[2]
  for part in splits:
    labels, schema = part.arrays["labels"], part.info.schema
    vowels = schema.tokenizer.encode(
      "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
    )
    expected = np.isin(part.arrays["input_ids"], vowels)
    np.testing.assert_array_equal(labels >= 0, expected)
