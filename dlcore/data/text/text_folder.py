"""Loading of texts from a folder of files for every class."""

import collections
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples, cache
from dlcore.data.images.listing import (
  describe_left_out,
  entries,
  reason_to_ignore,
)
from dlcore.data.images.split_folders import folders_inside
from dlcore.data.source import Splits
from dlcore.data.split import split_paths
from dlcore.data.split_checks import compare_classes
from dlcore.data.split_settings import SplitSettings
from dlcore.data.text.building import TextPart, build_splits
from dlcore.data.text.text_files import (
  TEXT_SUFFIXES,
  is_text_file,
  read_text,
)
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.text_settings import TextSettings
from dlcore.errors import UserError

UNLABELLED = ("unsup",)
"""Names of folders of texts without a class, as in the archive of IMDB."""


class Listing(NamedTuple):
  """The text files of a split."""

  files: dict[str, list[Path]]
  """By class."""

  left_out: collections.Counter[str]
  """Number of entries that are left out by the reason, a plural noun phrase."""


def text_folder(
  *,
  path: str = "",
  train: str = "",
  valid: str = "",
  test: str = "",
  tokenizer: str = "words",
  vocab_size: int = 20_000,
  min_count: int = 2,
  lowercase: bool = False,
  max_length: int = 512,
  on_long: str = "truncate",
  on_bad: str = "error",
  valid_fraction: float = 0.1,
  test_fraction: float = 0.2,
  folds: int = 0,
  fold: int = 0,
  duplicates: str = "keep",
  stratify: bool = True,
  in_memory_limit: int = 2 << 30,
  cache_dir: str = "",
) -> Splits:
  """Loads text files whose folder is their class, such as the archive of IMDB.

  Files end in .txt or .md, and may be compressed (.gz). Hidden files, links to
  outside of the folder, other files and the folder `unsup` of IMDB, whose texts
  have no class, are left out; a note counts them.

  Args:
    path: a folder with `train/CLASS/*.txt` and optionally `valid/` and `test/`,
      or with `CLASS/*.txt`, which is split by a hash of the texts.
    train, valid, test: in place of `path`, a folder for each split; missing
      ones are held out of train.
    tokenizer, vocab_size, min_count, lowercase, max_length, on_long: see
      `text_csv`.
    on_bad: `"skip"` drops unreadable files, `"error"` lists them.
    valid_fraction: share of train to hold out if there is no such folder.
    test_fraction: likewise.
    folds, fold, duplicates, stratify: see `SplitSettings`.
    in_memory_limit: see `text_csv`.
    cache_dir: see `cache.splits`.

  Raises:
    UserError: a folder or a file is missing or malformed.
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
  bad_examples.check_on_bad(on_bad)
  folders = _folders(path, train, valid, test)
  listings = functools.partial(_list_all, folders)
  return cache.splits(
    lambda: _build(folders, listings(), settings, on_bad),
    name="text_folder",
    key={
      "folders": {name: os.path.abspath(at) for name, at in folders.items()},
      "on_bad": on_bad,
      **settings._asdict(),
    },
    files=lambda: [
      *settings.files(),
      *(
        file
        for part in listings().values()
        for files in part.files.values()
        for file in files
      ),
    ],
    folder=cache_dir,
    max_bytes=4 * in_memory_limit,
  )


def _folders(path: str, train: str, valid: str, test: str) -> dict[str, Path]:
  """Returns the folder of every split."""
  folders = split_paths(path, train, valid, test)
  for at in folders.values():
    if not os.path.isdir(at):
      noun = "a file" if os.path.exists(at) else "no folder"
      raise UserError(
        "expected a folder with a folder of text files for every class",
        f"got {noun} at {at}",
        "set data.name=text_csv for a table" if noun == "a file" else "",
      )
  return (folders_inside(folders["train"]) if path else {}) or folders


def _list_all(folders: Mapping[str, Path]) -> dict[str, Listing]:
  return {name: _list_texts(folder) for name, folder in folders.items()}


def _list_texts(folder: Path) -> Listing:
  """Lists the text files of a split by class.

  Raises:
    UserError: there are no class folders, or one has no text files.
  """
  root = folder.resolve()
  left_out: collections.Counter[str] = collections.Counter()
  files: dict[str, list[Path]] = {}
  for at in entries(folder):
    if reason := reason_to_ignore(at, root):
      left_out[reason] += 1
    elif at.name in UNLABELLED and os.path.isdir(at):
      found = list(_find_texts(at, root, left_out))
      left_out[f"texts without a class in {at.name!r}"] += len(found)
    elif os.path.isdir(at):
      files[at.name] = sorted(_find_texts(at, root, left_out))
    else:
      left_out["entries that are not in a class folder"] += 1
  empty = [name for name, texts in files.items() if not texts]
  if empty or not files:
    suffixes = " or ".join(TEXT_SUFFIXES)
    raise UserError(
      f"expected a folder of {suffixes} files for every class in {folder}",
      f"got none of them in {bad_examples.shorten(map(repr, empty))}"
      if empty
      else "got no folders",
      "set data.name=text_csv for a table",
    )
  return Listing(files, left_out)


def _find_texts(
  folder: Path, root: Path, left_out: collections.Counter[str]
) -> Iterator[Path]:
  """Yields the text files in a folder and its folders; counts the others."""
  pending = [folder]
  while pending:
    for at in entries(pending.pop()):
      if reason := reason_to_ignore(at, root):
        left_out[reason] += 1
      elif os.path.isdir(at):
        if at.is_symlink():
          left_out["links to folders"] += 1
        else:
          pending.append(at)
      elif not is_text_file(at):
        left_out[f"files with the suffix {at.suffix.lower()!r}"] += 1
      else:
        yield at


def _build(
  folders: Mapping[str, Path],
  listings: Mapping[str, Listing],
  settings: TextSettings,
  on_bad: str,
) -> Splits:
  """Reads and splits the files; see `text_folder`."""
  classes = _classes(listings)
  errors: list[tuple[str, str]] = []
  parts = {
    part: _read_part(folders[part], listing.files, classes, errors)
    for part, listing in listings.items()
  }
  notes = bad_examples.report(
    errors,
    on_bad,
    noun="unreadable files",
    expected="expected readable text files",
    remedy='fix them, or skip them with on_bad="skip"',
    empty=not all(len(part.texts) for part in parts.values()),
  )
  left_out = sum(
    (listing.left_out for listing in listings.values()), collections.Counter()
  )
  notes += describe_left_out(left_out)
  schema = TextSchema(classes=tuple(classes))
  return build_splits(parts, settings, "text_folder", schema, notes)


def _classes(listings: Mapping[str, Listing]) -> list[str]:
  """Returns the classes of train, among which those of all splits must be."""
  compare_classes({part: files for part, (files, _) in listings.items()})
  return sorted(listings["train"].files)


def _read_part(
  folder: Path,
  files: Mapping[str, Sequence[Path]],
  classes: Sequence[str],
  errors: list[tuple[str, str]],
) -> TextPart:
  """Reads the files of a split, and appends unreadable ones to `errors`."""
  texts, labels, names = [], [], []
  for name, paths in files.items():
    for at in paths:
      try:
        texts.append(read_text(at))
      except UserError as error:
        errors.append((str(at), error.lines[1]))
        continue
      labels.append(classes.index(name))
      names.append(at.relative_to(folder).as_posix())
  targets = {"label": np.asarray(labels, np.int32)}
  return TextPart(texts, None, targets, names)
