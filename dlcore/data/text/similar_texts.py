"""Loading of pairs of similar texts, such as questions and their answers."""

import os

from dlcore.data import bad_examples, cache
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.pair_files import Columns, pair_files
from dlcore.data.text.similar_building import build_similar, read_similar
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError


def similar_texts(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  first: str = "first",
  second: str = "second",
  score: str = "",
  largest_score: float = 1.0,
  tokenizer: str = "words",
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
  """Loads pairs of texts that belong together, or whose similarity is known.

  They are two columns of a table, or the lines of two parallel files, as in
  `text_pairs`. Each text of a pair is encoded alone. White space in a text
  becomes single spaces. Pairs with an empty text, or without a score, are left
  out; a note counts them. Pairs of one first text are in the same split, but
  for files of their own.

  Args:
    path: one table, or the beginning of the names of parallel files, which is
      split by a hash of the first texts.
    train, valid, test: in place of `path`, one for each split; missing ones are
      held out of train.
    first: the column of the first texts, or the suffix of their file.
    second: the column of the second texts, or the suffix of their file.
    score: the column of the similarity of both texts of a pair, such as 1 for
      similar and 0 for other ones; empty if all pairs are similar.
    largest_score: divides the scores, which are then from -1 to 1: 5 for those
      of the STS benchmark.
    tokenizer: `"words"`, `"characters"` or `"bytes"`, or the path of a
      tokenizer.json, see `make_tokenizer`.
    vocab_size: number of ids of words or characters of a vocabulary, at most; 0
      for any.
    min_count: occurrences of a word or character in the training texts, at
      least; rarer ones are unknown.
    lowercase: whether texts are converted to lower case, for the same kinds.
    max_length: number of tokens of a text, at most.
    on_long: `"truncate"` cuts the end of longer ones, `"error"` lists them.
    on_bad: `"skip"` drops malformed rows, `"error"` lists them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group, time, split, folds, fold, duplicates: see `SplitSettings`; the first
      three are columns of a table.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file, a column or a row is missing or malformed, a score is out
      of range, or parallel files differ in their number of lines.
  """
  rule = SplitSettings.of({**locals(), "stratify": False})
  settings = TextSettings(
    tokenizer=tokenizer,
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    splits=rule,
  )
  settings.check()
  bad_examples.check_on_bad(on_bad)
  columns = Columns(first, second)
  names = [first, second, *([score] if score else [])]
  if not first or not second or len(set(names)) < len(names):
    raise UserError(
      "expected first, second and score to name different columns, or the "
      "first two the suffixes of two files",
      f"got {first=}, {second=}, {score=}",
    )
  if not largest_score > 0:
    raise UserError("expected largest_score above 0", f"got {largest_score=}")
  paths = split_paths(path, train, valid, test)

  def build() -> Splits:
    read = {
      part: read_similar(
        file,
        columns,
        rule if part == "train" else SplitSettings(),
        on_bad,
        score=score,
        largest_score=largest_score,
      )
      for part, file in paths.items()
    }
    return build_similar(
      {part: content for part, (content, _) in read.items()},
      settings,
      "similar_texts",
      column=first,
      notes=[note for _, notes in read.values() for note in notes],
    )

  return cache.splits(
    build,
    name="similar_texts",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      "columns": names,
      "largest_score": largest_score,
      "on_bad": on_bad,
      **settings._asdict(),
    },
    files=lambda: [
      *(file for part in paths.values() for file in pair_files(part, columns)),
      *settings.files(),
    ],
    folder=cache_dir,
  )
