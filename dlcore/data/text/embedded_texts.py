"""The data sets of texts in this package."""

import numpy as np

from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text import frozen
from dlcore.data.text.building import TextPart, build_splits
from dlcore.data.text.text_encoding import clean_text
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.text_settings import TextSettings


def language_id(
  *,
  tokenizer: str = "characters",
  vocab_size: int = 0,
  min_count: int = 2,
  max_length: int = 64,
  on_long: str = "truncate",
  valid_fraction: float = 0.1,
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads 19,049 names, each in one of 24 languages, its class.

  They name languages, countries, scripts and currencies, in lower case, and are
  in no other language. A hash has chosen the 4,000 of the test split. The
  classes are ISO 639-1 codes. For the settings of tokens see `TextSettings`,
  for the folds of train `make_splits`.
  """
  settings = TextSettings(
    tokenizer,
    vocab_size,
    min_count,
    max_length=max_length,
    on_long=on_long,
    splits=SplitSettings(valid_fraction, folds=folds, fold=fold),
  )
  return _load("language_id", "language", settings)


def reviews(
  *,
  tokenizer: str = "words",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = True,
  max_length: int = 256,
  on_long: str = "truncate",
  valid_fraction: float = 0.1,
  folds: int = 0,
  fold: int = 0,
) -> Splits:
  """Loads 5,000 reviews of food, with five stars ("great") or fewer ("other").

  The 1,000 of the test split are those of the original division. Texts of train
  that occur in it, or twice in train, are left out, and a note counts them. For
  the settings of tokens see `TextSettings`, for the folds of train
  `make_splits`.
  """
  settings = TextSettings(
    tokenizer,
    vocab_size,
    min_count,
    lowercase,
    max_length,
    on_long,
    splits=SplitSettings(valid_fraction, folds=folds, fold=fold),
  )
  return _load("reviews", "label", settings)


def _load(name: str, target: str, settings: TextSettings) -> Splits:
  """Returns the splits of a frozen table with the columns text and split.

  Args:
    name: of the frozen set and the data set.
    target: the column of the classes.
    settings: of tokens and splits.
  """
  settings.check()
  table = frozen.load_table(name)
  texts = list(map(clean_text, table["text"]))
  classes, labels = np.unique(table[target], return_inverse=True)
  is_test = np.array(table["split"]) == "test"
  test, train = np.flatnonzero(is_test), np.flatnonzero(~is_test)
  first = {texts[i]: i for i in reversed(train)}
  for i in test:
    first.pop(texts[i], None)
  kept = np.array(sorted(first.values()))

  def part(rows: np.ndarray) -> TextPart:
    return TextPart(
      [texts[i] for i in rows],
      None,
      {"label": labels[rows].astype(np.int32)},
      [f"{name}:{i}" for i in rows],
    )

  left_out = len(train) - len(kept)
  notes = [frozen.origin(name)]
  notes += [
    f"{left_out} of {len(train):,} texts of train occur in test or twice and "
    "were left out"
  ] * bool(left_out)
  return build_splits(
    {"train": part(kept), "test": part(test)},
    settings,
    name,
    TextSchema(classes=tuple(classes.tolist())),
    notes,
  )
