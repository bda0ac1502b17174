"""Loading of pairs of source and target, such as sentences to translate."""

import os

from dlcore.data import bad_examples, cache
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.pair_building import PairSettings, build_pairs
from dlcore.data.text.pair_files import Columns, pair_files, read_pairs
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError


def text_pairs(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  source: str = "source",
  target: str = "target",
  tokenizer: str = "words",
  target_tokenizer: str = "",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 128,
  on_long: str = "truncate",
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  group: str = "",
  time: str = "",
  split: str = "",
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  cache_dir: str = "",
) -> Splits:
  """Loads pairs of a source and a target, such as a sentence and a translation.

  They are two columns of a table, CSV, TSV, JSON lines (each also .gz), Parquet
  or Arrow, or the lines of two parallel files, as those of Moses: with
  source="en" and target="fr", `train="corpus"` stands for corpus.en and
  corpus.fr (also .gz). White space in a text becomes single spaces. Pairs with
  an empty side are left out; a note counts them. Pairs of one source are in the
  same split, but for files of their own.

  Args:
    path: one table, or the beginning of the names of parallel files, which is
      split by a hash of the sources.
    train, valid, test: in place of `path`, one for each split; missing ones are
      held out of train.
    source: the column of the sources, or the suffix of their file.
    target: the column of the targets, or the suffix of their file.
    tokenizer: `"words"`, `"characters"`, `"bytes"` or `"spaces"`, or the path
      of a tokenizer.json, see `make_tokenizer`.
    target_tokenizer: that of the targets; empty for one vocabulary of both
      sides.
    vocab_size: number of ids of words or characters of a vocabulary, at most; 0
      for any.
    min_count: occurrences of a word or character in the training texts, at
      least; rarer ones are unknown.
    lowercase: whether both sides are converted to lower case, for the same
      kinds.
    max_length: number of tokens of a side, at most.
    on_long: `"truncate"` cuts the end of longer ones, `"error"` lists them.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group, time, split, folds, fold, duplicates: see `SplitSettings`; the first
      three are columns of a table.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed, or parallel
      files differ in their number of lines.
  """
  rule = SplitSettings.of({**locals(), "stratify": False})
  text = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    splits=rule,
  )
  settings = PairSettings(text, target_tokenizer)
  settings.check()
  bad_examples.check_on_bad(on_bad)
  columns = Columns(source, target)
  if not source or not target or source == target:
    raise UserError(
      "expected source and target to name two columns, or the suffixes of two "
      "files",
      f"got {source=}, {target=}",
    )
  paths = split_paths(path, train, valid, test)

  def build() -> Splits:
    read = {
      part: read_pairs(
        file,
        columns,
        rule if part == "train" else SplitSettings(),
        on_bad,
      )
      for part, file in paths.items()
    }
    return build_pairs(
      {part: content for part, (content, _) in read.items()},
      settings,
      "text_pairs",
      column=source,
      notes=[note for _, notes in read.values() for note in notes],
    )

  return cache.splits(
    build,
    name="text_pairs",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      "on_bad": on_bad,
      **columns._asdict(),
      **settings._asdict(),
    },
    files=lambda: [
      *(file for part in paths.values() for file in pair_files(part, columns)),
      *(file for side in settings.by_side() for file in side.files()),
    ],
    folder=cache_dir,
  )
