"""The data sets of tagged tokens in this package."""

from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text import frozen
from dlcore.data.text.tagged_building import build_sentences
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.token_files import Sentence

STRESSES = "012"


def cmudict_stress(
  *,
  max_length: int = 40,
  on_long: str = "truncate",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "move",
) -> Splits:
  """Loads pronunciations of English words, with the stress of each vowel.

  The tokens are phonemes of ARPAbet. The tag of a vowel is "0" without stress,
  "1" with the primary and "2" with the secondary one; consonants are not
  scored. The split is that of `cmudict`, by words. Pronunciations that words of
  several splits have in common are moved to train.

  Args:
    max_length: number of phonemes, at most.
    on_long: see `tagged_text`.
    folds: see `SplitSettings`, as for the next ones.
    fold: likewise.
    duplicates: likewise.

  Raises:
    UserError: a setting is out of range, or the file is damaged.
  """
  splits = SplitSettings(
    folds=folds, fold=fold, duplicates=duplicates, stratify=False
  )
  settings = TextSettings(
    "spaces",
    vocab_size=0,
    min_count=1,
    max_length=max_length,
    on_long=on_long,
    splits=splits,
  )
  settings.check()
  table = frozen.load_table("cmudict")
  rows = zip(table["split"], table["pronunciation"], strict=True)
  spoken: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
  for split, phonemes in dict.fromkeys(rows):
    spoken[split].append(phonemes)
  return build_sentences(
    {split: list(map(_sentence, part)) for split, part in spoken.items()},
    spoken,
    settings,
    "cmudict_stress",
    [frozen.origin("cmudict")],
  )


def _sentence(phonemes: str) -> Sentence:
  """Returns the tokens and tags of a pronunciation such as "HH AH0 L OW1"."""
  symbols = phonemes.split()
  tokens = tuple(symbol.rstrip(STRESSES) for symbol in symbols)
  tags = (s[-1] if s[-1] in STRESSES else None for s in symbols)
  return Sentence(0, tokens, tuple(tags), "")
