"""Loading of pairs of source and target from TensorFlow Datasets."""

import functools
from collections.abc import Mapping

from dlcore.data import cache
from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.text_parts import TextPart
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.tfds.location import Location
from dlcore.data.tfds.published_splits import SplitNames, open_splits
from dlcore.data.tfds.text_features import find_sides


def tfds_pairs(
  builder: str = "",
  /,
  *,
  source: str = "",
  target: str = "",
  train: str = "train",
  valid: str = "",
  test: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  tokenizer: str = "words",
  target_tokenizer: str = "",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 128,
  on_long: str = "truncate",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  cache_dir: str = "",
) -> Splits:
  """Loads sources and targets of tensorflow-datasets, such as translations.

  For example "ted_hrlr_translate/pt_to_en" and "wmt14_translate/de-en".
  TensorFlow is not used, and the tokens, the notes and the cache are those of
  `text_pairs`. The splits are those of the publication. Where there is no test
  split, the validation split is test and valid is held out of train.

  Args:
    builder: name in the notation of TFDS: `"wmt14_translate/de-en:1.0.0"`.
    source: the feature of the sources, such as a language; by default the first
      of the builder's `supervised_keys`.
    target: the feature of the targets; by default the other one.
    train: the split to train on, in the notation of TFDS: `"train[:10%]"`.
    valid, test: likewise; by default see above.
    data_dir, manual_dir, download, verify: see `tfds_source`.
    tokenizer, target_tokenizer, vocab_size, min_count, lowercase, max_length,
      on_long: see `text_pairs`.
    valid_fraction: share of train to hold out if there is no other valid.
    test_fraction: likewise.
    folds, fold, duplicates: see `SplitSettings`.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: the data is not available or malformed, or a feature or a split
      is unknown.
  """
  columns = dict.fromkeys(("group", "time", "split"), "")
  text = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    splits=SplitSettings.of({**locals(), **columns, "stratify": False}),
  )
  settings = PairSettings(text, target_tokenizer)
  settings.check()
  location = Location(builder, data_dir, manual_dir, download, verify)
  location.check()
  sides = {"source": source, "target": target}
  names = SplitNames(train, valid, test)
  return cache.splits(
    functools.partial(_build, location, sides, names, settings),
    name=location.cache_name,
    key={
      "loader": "tfds_pairs",
      **location.key(),
      **sides,
      "published": names,
      **settings._asdict(),
    },
    files=lambda: [
      *location.files(),
      *(file for side in settings.by_side() for file in side.files()),
    ],
    folder=cache_dir,
  )


def _build(
  location: Location,
  sides: Mapping[str, str],
  names: SplitNames,
  settings: PairSettings,
) -> Splits:
  """Prepares, reads and splits the pairs; see `tfds_pairs`."""
  builder = location.prepare()
  source, target = find_sides(builder.info, **sides)
  records, notes = open_splits(location, builder, names)
  parts = {}
  for split, of_split in records.items():
    read = of_split.columns([source, target])
    parts[split] = TextPart(read[source], read[target], {}, of_split.names())
  return build_pairs(
    parts,
    settings,
    location.name,
    column=source,
    notes=[f"features: source {source!r}, target {target!r}", *notes],
  )
