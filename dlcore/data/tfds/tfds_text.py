"""Loading of texts, or pairs of texts, from TensorFlow Datasets."""

import functools
from collections.abc import Mapping

import numpy as np

from dlcore.data import bad_examples, cache
from dlcore.data.source import Splits
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.building import TextPart, build_splits
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.tfds.location import Location
from dlcore.data.tfds.published_splits import SplitNames, open_splits
from dlcore.data.tfds.records import Records
from dlcore.data.tfds.text_features import Columns, find_columns


def tfds_text(
  builder: str = "",
  /,
  *,
  text: str = "",
  pair: str = "",
  target: str = "",
  train: str = "train",
  valid: str = "",
  test: str = "",
  data_dir: str = "",
  manual_dir: str = "",
  download: bool = True,
  verify: bool = True,
  tokenizer: str = "words",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 512,
  on_long: str = "truncate",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads texts of tensorflow-datasets, with a class or a number to predict.

  For example "imdb_reviews", "ag_news_subset", "glue/sst2", and the pairs of
  "glue/mnli" and "glue/stsb". TensorFlow is not used, and the tokens, the notes
  and the cache are those of `text_csv`. Examples with an empty text or without
  a target are left out; a note counts them.

  The splits are those of the publication. Where test has no targets, as in
  GLUE, or does not exist, the validation split is test and valid is held out of
  train. Of MNLI that is the matched one; `test="validation_mismatched"` takes
  the other, for a model of the same train and valid.

  Args:
    builder: name in the notation of TFDS: `"glue/sst2:2.0.0"`.
    text: the feature of the texts; by default the first of the builder's
      `supervised_keys`, such as the "description" of AG News without its
      "title", or else all features of text, one or two.
    pair: the feature of the second text of each example.
    target: the feature to predict; by default the second of these keys, or else
      `label`.
    train: the split to train on, in the notation of TFDS: `"train[:10%]"`.
    valid, test: likewise; by default see above.
    data_dir, manual_dir, download, verify: see `tfds_source`.
    tokenizer, vocab_size, min_count, lowercase, max_length, on_long: see
      `text_csv`.
    valid_fraction: share of train to hold out if there is no other valid.
    test_fraction: likewise.
    folds, fold, duplicates, stratify: see `SplitSettings`.
    in_memory_limit: see `text_csv`.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: the data is not available or malformed, or a feature or a split
      is unknown.
  """
  no_columns = dict.fromkeys(("group", "time", "split"), "")
  settings = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    in_memory_limit=in_memory_limit,
    splits=SplitSettings.of({**locals(), **no_columns}),
  )
  settings.check()
  location = Location(builder, data_dir, manual_dir, download, verify)
  location.check()
  features = {"text": text, "pair": pair, "target": target}
  names = SplitNames(train, valid, test)
  return cache.splits(
    functools.partial(_build, location, features, names, settings),
    name=location.cache_name,
    key={
      "loader": "tfds_text",
      **location.key(),
      **features,
      "published": names,
      **settings._asdict(),
    },
    files=lambda: [*location.files(), *settings.files()],
    folder=cache_dir,
    max_bytes=4 * in_memory_limit,
  )


def _build(
  location: Location,
  features: Mapping[str, str],
  names: SplitNames,
  settings: TextSettings,
) -> Splits:
  """Prepares, reads and splits the texts; see `tfds_text`."""
  builder = location.prepare()
  columns = find_columns(builder.info, **features)
  records, notes = open_splits(
    location,
    builder,
    names,
    lambda records: records.has_targets(columns.target),
  )
  notes = [_describe(columns), *notes]
  parts, missing = {}, []
  for split, of_split in records.items():
    part, is_known = _read(of_split, columns)
    without = np.flatnonzero(~is_known).tolist()
    missing += [(part.names[i], "no target") for i in without]
    parts[split] = part.take(np.flatnonzero(is_known))
  notes += bad_examples.report(
    missing,
    "skip",
    noun="examples without a target",
    expected=f"expected targets in every split of {location.name}",
    remedy="choose other splits with train, valid and test",
    empty=not all(len(part.texts) for part in parts.values()),
  )
  schema = TextSchema(classes=columns.classes, columns=columns.texts)
  return build_splits(parts, settings, location.name, schema, notes)


def _read(records: Records, columns: Columns) -> tuple[TextPart, np.ndarray]:
  """Returns the examples of a split, and which have a target, bool `[N]`.

  Raises:
    UserError: a record is damaged, or a class is none of those of the metadata.
  """
  read = records.columns([*columns.texts, columns.target])
  try:
    values = np.asarray(read[columns.target], np.float64)
  except (TypeError, ValueError) as error:
    raise records.damaged(error) from error
  if columns.classes:
    is_known, last = values >= 0, len(columns.classes) - 1
    if values.max() > last:
      reason = f"class {values.max():.0f} of {len(columns.classes)}"
      raise records.damaged(ValueError(reason))
    targets = {"label": values.astype(np.int32)}
  else:
    is_known = np.isfinite(values)
    targets = {"target": values.astype(np.float32)}
  first, *second = (read[name] for name in columns.texts)
  pairs = second[0] if second else None
  return TextPart(first, pairs, targets, records.names()), is_known


def _describe(columns: Columns) -> str:
  """Returns a note on the features that are read."""
  texts = " and ".join(map(repr, columns.texts))
  count = len(columns.classes)
  kind = f"one of {count} classes" if count else "a number"
  return f"features: text {texts}, target {columns.target!r}, {kind}"
