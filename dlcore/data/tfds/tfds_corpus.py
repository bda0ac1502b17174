"""Loading of running text from TensorFlow Datasets, for language models."""

import functools

from dlcore.data import cache
from dlcore.data.source import Splits
from dlcore.data.text.corpus import CorpusSettings, build_corpus
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.tfds.location import Location
from dlcore.data.tfds.published_splits import SplitNames, open_splits
from dlcore.data.tfds.text_features import find_text

MEMORY_PER_BYTE = 30
"""See `published_splits`; measured with characters as tokens."""


def tfds_corpus(
  builder: str = "",
  /,
  *,
  text: str = "",
  train: str = "train",
  valid: str = "",
  test: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  tokenizer: str = "characters",
  vocab_size: int = 0,
  min_count: int = 1,
  lowercase: bool = False,
  packing: str = "contiguous",
  max_length: int = 128,
  duplicates: str = "keep",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.1,
  cache_dir: str = "",
) -> Splits:
  """Loads running text of tensorflow-datasets, each example a document.

  For example "lm1b", or the texts of any other data set, such as those of
  "imdb_reviews" without a class, `train="unsupervised"`. TensorFlow is not
  used. The splits are those of the publication; the end of train is held out in
  place of missing ones. Where there is no test split, the validation split is
  test.

  Args:
    builder: name in the notation of TFDS: `"lm1b"`, `"name/config:1.0.0"`.
    text: the feature of the texts; by default the first of the builder's
      `supervised_keys`, or else the only feature of text.
    train: the split to train on, in the notation of TFDS: `"train[:1%]"`.
    valid, test: likewise; by default see above.
    data_dir, manual_dir, download, verify: see `tfds_source`.
    tokenizer, vocab_size, min_count, lowercase, packing, max_length,
      duplicates: see `text_file`.
    valid_fraction: share of the characters of train to hold out if there is no
      other valid.
    test_fraction: likewise.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: the data is not available or malformed, or a feature or a split
      is unknown.
  """
  settings = CorpusSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    packing=packing,
    max_length=max_length,
    duplicates=duplicates,
    valid_fraction=valid_fraction,
    test_fraction=test_fraction,
  )
  settings.check()
  location = Location(builder, data_dir, manual_dir, download, verify)
  location.check()
  names = SplitNames(train, valid, test)
  return cache.splits(
    functools.partial(_build, location, text, names, settings),
    name=location.cache_name,
    key={
      "loader": "tfds_corpus",
      **location.key(),
      "text": text,
      "published": names,
      **settings._asdict(),
    },
    files=lambda: [*location.files(), *TextSettings(tokenizer).files()],
    folder=cache_dir,
  )


def _build(
  location: Location, text: str, names: SplitNames, settings: CorpusSettings
) -> Splits:
  """Prepares, reads and splits the documents; see `tfds_corpus`."""
  builder = location.prepare()
  column = find_text(builder.info, text)
  records, notes = open_splits(
    location, builder, names, memory_per_byte=MEMORY_PER_BYTE
  )
  parts = {
    split: of_split.columns([column])[column]
    for split, of_split in records.items()
  }
  return build_corpus(
    parts,
    settings,
    name=location.name,
    column=column,
    notes=[f"features: text {column!r}", *notes],
  )
