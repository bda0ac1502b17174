"""Loading of sequences of tokens with a tag for each token."""

import functools
import os

from dlcore.data import bad_examples, cache
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.tagged_building import build_tagged
from dlcore.data.text.text_settings import TextSettings
from dlcore.data.text.token_files import TokenFormat


def tagged_text(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  token_column: int = 0,
  tag_column: int = -1,
  tokens: str = "tokens",
  tags: str = "tags",
  ignored: str = "_",
  comment: str = "",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 512,
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
  """Loads sequences of tokens with a tag for each token.

  A file has a token and its tag in each line, in columns that are separated by
  tabs or other white space, and an empty line after each sequence, as those of
  CoNLL. Or it has a JSON object in each line with a list of tokens and one of
  tags, or it is a table (.csv) with a column of tokens and one of tags that are
  separated by spaces. All may be compressed (.gz). A token is a word with an id
  of its own.

  Args:
    path: one file, which is split by a hash of the tokens.
    train, valid, test: in place of `path`, a file per split; missing ones are
      held out of train.
    token_column: column of the token, from 0, or from -1 for the last.
    tag_column: column of the tag.
    tokens: name of the list of tokens in a JSON object, or of the column of a
      table.
    tags: name of the list, or of the column, of tags.
    ignored: tag of tokens that are neither learned nor scored; so are -100 and
      in JSON null.
    comment: begin of lines to leave out, such as "#", which is the default for
      files ending in .conllu.
    vocab_size: number of ids of tokens, at most; 0 for any.
    min_count: occurrences of a token in the training data, at least; rarer ones
      are unknown.
    lowercase: whether tokens are converted to lower case.
    max_length: number of tokens of a sequence, at most.
    on_long: `"truncate"` cuts the end of longer ones, `"error"` lists them.
    on_bad: `"skip"` drops malformed sequences, `"error"` lists them.
    valid_fraction: share of train to hold out if there is no file for it.
    test_fraction: likewise.
    group, time, split: names of fields of the JSON objects, of columns of the
      table, or of comments "# NAME = VALUE", which count for the sequences
      after them too; see `SplitSettings`. "-DOCSTART-" groups by the documents
      of CoNLL-2003.
    folds, fold, duplicates: see `SplitSettings`.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a file or a sequence is missing or malformed, tokens and tags
      differ in number, or all tags are the same.
  """
  rule = SplitSettings.of({**locals(), "stratify": False})
  settings = TextSettings(
    tokenizer="spaces",
    vocab_size=vocab_size,
    min_count=min_count,
    lowercase=lowercase,
    max_length=max_length,
    on_long=on_long,
    splits=rule,
  )
  settings.check()
  bad_examples.check_on_bad(on_bad)
  form = TokenFormat(token_column, tag_column, tokens, tags, ignored, comment)
  paths = split_paths(path, train, valid, test)
  return cache.splits(
    functools.partial(build_tagged, paths, form, settings, on_bad),
    name="tagged_text",
    key={
      "paths": {name: os.path.abspath(file) for name, file in paths.items()},
      "on_bad": on_bad,
      **form._asdict(),
      **settings._asdict(),
    },
    files=paths.values,
    folder=cache_dir,
  )
