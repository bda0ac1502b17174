"""The data sets of pairs in this package."""

import re

import numpy as np

from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text import frozen
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import check_choice

TESTS = ("test", "longer")


def number_words(
  *,
  source: str = "english",
  target: str = "french",
  test: str = "test",
  tokenizer: str = "words",
  target_tokenizer: str = "words",
  max_length: int = 64,
  on_long: str = "error",
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads numbers in words of two languages, as sources and targets.

  A hash of the number decides its split, so that no number occurs in two. Train
  has 3% of the numbers below a million and some round millions.

  Args:
    source: "english" or "french".
    target: the other one.
    test: "test", numbers below a million, or "longer", numbers of more words
      than any in train.
    tokenizer: see `text_pairs`, as for the next ones.
    target_tokenizer: likewise.
    max_length: number of tokens of a side, at most.
    on_long: see `text_pairs`.
    folds: see `make_splits`.
    fold: likewise.

  Raises:
    UserError: a setting is out of range, or the file is damaged.
  """
  check_choice("test", test, TESTS)
  for side, name in (("source", source), ("target", target)):
    check_choice(side, name, ("english", "french"))
  settings = _settings(
    tokenizer, target_tokenizer, max_length, on_long, folds, fold
  )
  table = frozen.load_table("number_words")
  part_of = np.array(table["split"])

  def part(split: str) -> TextPart:
    rows = np.flatnonzero(part_of == split)
    sources, targets, numbers = (
      [table[column][i] for i in rows] for column in (source, target, "number")
    )
    return TextPart(sources, targets, {}, numbers)

  return build_pairs(
    {"train": part("train"), "valid": part("valid"), "test": part(test)},
    settings,
    "number_words",
    column=source,
    notes=[frozen.origin("number_words")],
  )


def cmudict(
  *,
  stress: bool = False,
  tokenizer: str = "characters",
  target_tokenizer: str = "spaces",
  max_length: int = 40,
  on_long: str = "truncate",
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads English words and their pronunciations, phonemes of ARPAbet.

  All pronunciations of a word are in one split, by a hash of the word, and are
  references of one example: the least error counts. So scores are not those of
  the published split, which has other words.

  Args:
    stress: whether vowels have their stress, 0, 1 or 2.
    tokenizer: of the words, see `text_pairs`.
    target_tokenizer: of the pronunciations.
    max_length: number of tokens of a side, at most.
    on_long: see `text_pairs`.
    folds: see `make_splits`.
    fold: likewise.

  Raises:
    UserError: a setting is out of range, or the file is damaged.
  """
  settings = _settings(
    tokenizer, target_tokenizer, max_length, on_long, folds, fold
  )
  table = frozen.load_table("cmudict")
  spoken = table["pronunciation"]
  if not stress:
    spoken = [re.sub(r"\d", "", phonemes) for phonemes in spoken]
  # Without stress some pronunciations of a word are equal.
  rows = dict.fromkeys(zip(table["split"], table["word"], spoken, strict=True))

  def part(split: str) -> TextPart:
    pairs = [(word, phonemes) for at, word, phonemes in rows if at == split]
    words, targets = zip(*pairs, strict=True)
    return TextPart(words, targets, {}, words)

  return build_pairs(
    {split: part(split) for split in ("train", "valid", "test")},
    settings,
    "cmudict",
    column="word",
    notes=[frozen.origin("cmudict")],
    references=True,
  )


def _settings(
  tokenizer: str,
  target_tokenizer: str,
  max_length: int,
  on_long: str,
  folds: int,
  fold: int,
) -> PairSettings:
  """Returns the settings of a set whose splits are frozen.

  Raises:
    UserError: one is out of range.
  """
  text = TextSettings(
    tokenizer,
    vocab_size=0,
    min_count=1,
    max_length=max_length,
    on_long=on_long,
    splits=SplitSettings(folds=folds, fold=fold, stratify=False),
  )
  settings = PairSettings(text, target_tokenizer)
  settings.check()
  return settings
