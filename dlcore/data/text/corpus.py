"""From running text to rows of tokens: division, vocabulary, packing."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.array_source import from_arrays
from dlcore.data.holdout import check_fraction
from dlcore.data.source import Source, Splits
from dlcore.data.text.corpus_files import find_copies, split_paragraphs
from dlcore.data.text.corpus_schema import CorpusSchema, row_sizes
from dlcore.data.text.packing import PACKINGS
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.text_settings import MOST_LENGTH
from dlcore.data.text.tokenizer import (
  Tokenizer,
  check_tokenizer,
  make_tokenizer,
)
from dlcore.errors import UserError, check_choice

DOCUMENTS = ("file", "paragraph")
DUPLICATES = ("keep", "remove")

LARGEST_UNIT = 0.02
"""Share of a text above which a paragraph, or a line, is divided."""


class CorpusSettings(NamedTuple):
  """How running text becomes rows of tokens."""

  tokenizer: str = "characters"
  """A kind, or the path of a tokenizer.json; see `make_tokenizer`."""

  vocab_size: int = 0
  min_count: int = 1
  lowercase: bool = False

  documents: str = "file"
  """Whether a "file" (in JSON lines a line) or a "paragraph" is a document."""

  packing: str = "contiguous"
  """A key of `PACKINGS`."""

  max_length: int = 128
  """Tokens of a row."""

  duplicates: str = "keep"
  """Whether to "remove" the paragraphs that occur before, or to "keep" them."""

  valid_fraction: float = 0.1
  """Share of the characters of train to hold out if there is no other valid."""

  test_fraction: float = 0.1
  """Likewise; it is the end of the text."""

  def check(self) -> None:
    """Checks the settings, which need no data.

    Raises:
      UserError: one is out of range.
    """
    check_tokenizer(self.tokenizer, self.vocab_size, self.min_count)
    check_choice("documents", self.documents, DOCUMENTS)
    check_choice("packing", self.packing, PACKINGS)
    check_choice("duplicates", self.duplicates, DUPLICATES)
    check_fraction("valid", self.valid_fraction)
    check_fraction("test", self.test_fraction)
    if not 2 <= self.max_length <= MOST_LENGTH:
      raise UserError(
        f"expected max_length from 2 to {MOST_LENGTH:,}",
        f"got {self.max_length}",
      )


class _Unit(NamedTuple):
  """A paragraph, or a line where paragraphs are long."""

  part: str
  file: int
  """Number of the file in its part."""

  text: str


def build_corpus(
  parts: Mapping[str, Sequence[str]],
  settings: CorpusSettings,
  *,
  name: str,
  column: str = "text",
  notes: Sequence[str] = (),
) -> Splits:
  """Returns the splits of running text.

  The last parts of train are held out in place of missing splits, cut between
  paragraphs, so that no text of theirs comes before one of train.

  Args:
    parts: the texts of the files of `"train"` and, if the data set has them, of
      `"valid"` and `"test"`.
    settings: of tokens, rows and splits.
    name: of the data set.
    column: the key of the texts in JSON lines.
    notes: sentences for the user.

  Raises:
    UserError: a setting is out of range, or a split has no text.
  """
  settings.check()
  paragraphs = [
    _Unit(part, file, paragraph)
    for part, texts in parts.items()
    for file, text in enumerate(texts)
    for paragraph in split_paragraphs(text)
  ]
  units, of_copies = _without_copies(paragraphs, settings.duplicates)
  if settings.documents == "file":
    units = _divided(units)
  documents = {
    split: _documents(chosen, settings.documents)
    for split, chosen in _divide(units, settings).items()
  }
  tokenizer = make_tokenizer(
    settings.tokenizer,
    documents["train"],
    vocab_size=settings.vocab_size,
    min_count=settings.min_count,
    lowercase=settings.lowercase,
  )
  several = any(len(texts) > 1 for texts in documents.values())
  schema = CorpusSchema(
    tokenizer=tokenizer,
    vocab_size=tokenizer.vocab_size,
    packing=settings.packing,
    ends=several and tokenizer.eos_id is not None,
    max_length=settings.max_length,
    column=column,
  )
  rows = {split: _Rows.of(texts, schema) for split, texts in documents.items()}
  notes = [*notes, *of_copies, *_describe(rows, tokenizer)]
  return Splits(
    **{split: part.source(name, schema, notes) for split, part in rows.items()}
  )


class _Rows(NamedTuple):
  """The rows of a split."""

  arrays: dict[str, np.ndarray]
  padding: float
  num_tokens: int
  num_unknown: int

  @classmethod
  def of(cls, texts: Sequence[str], schema: CorpusSchema) -> "_Rows":
    """Returns the rows of some documents."""
    tokenizer = schema.tokenizer
    assert tokenizer is not None
    encoded = Ragged.of(map(tokenizer.encode, texts))
    packing = schema.pack(encoded)
    counts = encoded.lengths.astype(np.float64)
    has_tokens = counts > 0
    sizes = {
      "num_bytes": [len(text.encode("utf-8", "replace")) for text in texts],
      "num_characters": [len(text) for text in texts],
    }
    end_id = tokenizer.eos_id if schema.ends else None
    rows = {
      key: row_sizes(
        packing, np.array(size)[has_tokens], counts[has_tokens], end_id
      )
      for key, size in sizes.items()
    }
    unknown = np.sum(encoded.values == tokenizer.unknown_id)
    return cls(
      packing.arrays | rows,
      packing.padding,
      len(encoded.values),
      int(unknown),
    )

  def source(
    self, name: str, schema: CorpusSchema, notes: Sequence[str]
  ) -> Source:
    """Returns the source of the rows."""
    return from_arrays(self.arrays, name=name, schema=schema, notes=notes)


def _divided(units: Sequence[_Unit]) -> list[_Unit]:
  """Returns units with lines in place of long paragraphs, and pieces of lines.

  They are where splits may begin.
  """
  longest = max(1, int(LARGEST_UNIT * sum(len(unit.text) for unit in units)))
  return [
    unit._replace(text=line[start : start + longest])
    for unit in units
    for line in (
      unit.text.splitlines(keepends=True)
      if len(unit.text) > longest
      else [unit.text]
    )
    for start in range(0, len(line), longest)
  ]


def _without_copies(
  units: list[_Unit], duplicates: str
) -> tuple[list[_Unit], list[str]]:
  """Returns the paragraphs that are kept, and a note on the copies."""
  copies = find_copies([unit.text for unit in units])
  count = sum(copies)
  if not count:
    return units, []
  note = (
    f"{count:,} of {len(units):,} paragraphs ({count / len(units):.1%}) are "
    "copies of earlier ones"
  )
  if duplicates == "remove":
    kept = [unit for unit, copy in zip(units, copies, strict=True) if not copy]
    return kept, [f"{note}, which were removed"]
  return units, [f"{note}, which duplicates='remove' removes"]


def _divide(
  units: Sequence[_Unit], settings: CorpusSettings
) -> dict[str, list[_Unit]]:
  """Returns the units of each split."""
  splits = {
    part: [unit for unit in units if unit.part == part]
    for part in Splits._fields
  }
  train = splits["train"]
  sizes = np.array([len(unit.text) for unit in train])
  middles = (np.cumsum(sizes) - sizes / 2) / max(1, sizes.sum())
  begin, stop = 1.0, len(train)
  for split, share in (
    ("test", settings.test_fraction),
    ("valid", settings.valid_fraction),
  ):
    if splits[split] or not share:
      continue
    begin -= share
    start = int(np.searchsorted(middles, begin))
    splits[split], stop = train[start:stop], start
    _check_text(split, splits[split], len(units))
  splits["train"] = train[:stop]
  _check_text("train", splits["train"], len(units))
  return {split: chosen for split, chosen in splits.items() if chosen}


def _check_text(split: str, units: Sequence[_Unit], total: int) -> None:
  if not any(unit.text.strip() for unit in units):
    raise UserError(
      f"expected text for the split {split!r}",
      f"got {total} paragraphs in total",
      "use more text, or another valid_fraction and test_fraction",
    )


def _documents(units: Sequence[_Unit], documents: str) -> list[str]:
  """Returns the texts of the documents of a split."""
  if documents == "paragraph":
    texts = [unit.text.strip("\n") for unit in units]
    return [text for text in texts if text]
  files: dict[tuple[str, int], list[str]] = {}
  for unit in units:
    files.setdefault((unit.part, unit.file), []).append(unit.text)
  return list(map("".join, files.values()))


def _describe(rows: Mapping[str, _Rows], tokenizer: Tokenizer) -> list[str]:
  """Returns notes on the tokens of each split, and the share of padding."""
  sizes = ", ".join(f"{part.num_tokens:,} {k}" for k, part in rows.items())
  padding = rows["train"].padding
  notes = [
    f"tokens of {tokenizer.kind!r} with {tokenizer.vocab_size:,} ids: {sizes}; "
    f"{padding:.2%} of the positions of train are padding"
  ]
  unknown = [
    f"{part.num_unknown:,} ({part.num_unknown / part.num_tokens:.2%}) of {k}"
    for k, part in rows.items()
    if part.num_unknown
  ]
  if unknown:
    notes.append(
      f"tokens outside of the vocabulary: {', '.join(unknown)}; scores do not "
      "include their text"
    )
  return notes
