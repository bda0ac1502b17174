"""The schema of texts, and reading of new texts for prediction."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcore.data import json_fields
from dlcore.data.info import TOKENS, DataInfo, Inputs, ReadBatch, Schema
from dlcore.data.tables.table_reading import column_cells
from dlcore.data.text.text_encoding import (
  MASK,
  TYPES,
  TokenRows,
  clean_text,
  encode_texts,
)
from dlcore.data.text.text_files import (
  Example,
  Piece,
  is_text_file,
  read_examples,
)
from dlcore.data.text.text_settings import MOST_LENGTH, ON_LONG
from dlcore.data.text.token_texts import TokenTexts
from dlcore.data.text.tokenizer import Tokenizer, tokenizer_from_json
from dlcore.errors import UserError

logger = logging.getLogger("dlcore")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSchema(TokenTexts, Schema):
  """Schema of texts: `input_ids` int32 `[N, T]` and `attention_mask`.

  Those of pairs have `token_type_ids`, 1 for tokens of the second text.
  """

  kind: ClassVar[str] = "text"

  parsers: ClassVar[Mapping[str, Any]] = {
    **Schema.parsers,
    "tokenizer": tokenizer_from_json,
    "columns": json_fields.names,
    "max_length": json_fields.count,
    "prediction_length": json_fields.count,
    "on_long": json_fields.text,
  }

  input: str = TOKENS

  tokenizer: Tokenizer | None = None
  """From texts to ids; None before it is known."""

  columns: tuple[str, ...] = ("text",)
  """Names of the columns of a table: of the texts, or of both of a pair."""

  max_length: int = 0
  """T, the tokens of an example at most, special ones included."""

  prediction_length: int = 0
  """The tokens of a new text at most, if that is more than T; longer ones are
  truncated."""

  on_long: str = "truncate"
  """How to handle longer texts: "truncate" or "error"."""

  @property
  def is_pair(self) -> bool:
    """Whether an example has two texts."""
    return len(self.columns) == 2

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads files of one text each (.txt, .md), and tables of texts.

    Tables are CSV, TSV, JSON lines (each also .gz), Parquet and Arrow with the
    columns of the training data; others are ignored.
    """
    del info

    def pieces() -> Iterator[Piece]:
      for path in paths:
        try:
          if is_text_file(path) and self.is_pair:
            names = ", ".join(self.columns)
            raise UserError(f"expected a table with the columns {names}")
          yield from read_examples(path, self.columns, rows)
        except UserError as error:
          yield [], [(str(path), "; ".join(error.lines))]

    yield from self._read(pieces())

  def read_texts(
    self, texts: Iterable[str | Sequence[str]], rows: int
  ) -> Iterator[ReadBatch]:
    """Reads texts, whose names are `"text:0"` and so on.

    Args:
      texts: strings; of pairs two strings each, or one with a tab in between.
      rows: largest number of examples in a batch.

    Raises:
      UserError: a value is not such a text.
    """
    parts = (self._parts(text) for text in texts)
    yield from self._read(_pieces("text", parts, rows))

  def read_frame(self, frame: Any, rows: int) -> Iterator[ReadBatch]:
    """Reads a data frame or a dict of columns, as `read` does a file.

    Args:
      frame: an object with `columns` and `[name]`, or a mapping.
      rows: largest number of examples in a batch.

    Raises:
      UserError: a column is missing, or the columns differ in length.
    """
    cells = column_cells(frame, self.columns)
    texts = zip(*cells.values(), strict=True)
    yield from self._read(_pieces("row", texts, rows))

  def _read(self, pieces: Iterable[Piece]) -> Iterator[ReadBatch]:
    """Yields a batch for each piece, and logs how many texts are truncated."""
    count = 0
    for examples, errors in pieces:
      batch, truncated = self._batch(examples, errors)
      count += truncated
      yield batch
    if count:
      logger.warning(
        "%d of the texts have more than %d tokens and were truncated",
        count,
        self.limit,
      )

  def _parts(self, text: str | Sequence[str]) -> tuple[str, ...]:
    parts = [text] if isinstance(text, str) else list(text)
    if self.is_pair and len(parts) == 1 and "\t" in parts[0]:
      parts = parts[0].split("\t", maxsplit=1)
    are_strings = all(isinstance(part, str) for part in parts)
    if len(parts) != len(self.columns) or not are_strings:
      raise UserError(
        "expected two texts for each input, or one with a tab in between"
        if self.is_pair
        else "expected a string for each input",
        f"got {text!r:.80}",
        f"the columns of the training data are {', '.join(self.columns)}",
      )
    return tuple(parts)

  def _batch(
    self, examples: Sequence[Example], errors: list[tuple[str, str]]
  ) -> tuple[ReadBatch, int]:
    """Returns a batch, and how many of its texts are truncated."""
    assert self.tokenizer is not None
    rows = [(name, tuple(map(clean_text, texts))) for name, texts in examples]
    errors += [(name, "an empty text") for name, texts in rows if "" in texts]
    rows = [(name, texts) for name, texts in rows if "" not in texts]
    names = [name for name, _ in rows]
    columns = list(zip(*(texts for _, texts in rows), strict=True))
    if not columns:
      return ReadBatch([], None, errors), 0
    pairs = columns[1] if self.is_pair else None
    encoded = encode_texts(columns[0], pairs, self.tokenizer, self.limit)
    is_long = encoded.full_lengths > self.limit
    length = self.padded_length(int(encoded.ids.lengths.max()))
    read = TokenRows(encoded, length, self.tokenizer.pad_id, {})
    if self.on_long != "error" or not is_long.any():
      return ReadBatch(names, read.arrays(), errors), int(is_long.sum())
    errors += [
      (names[i], describe_long(encoded.full_lengths[i], self.limit))
      for i in np.flatnonzero(is_long)
    ]
    kept = np.flatnonzero(~is_long)
    arrays = read(kept) if len(kept) else None
    return ReadBatch([names[i] for i in kept], arrays, errors), 0

  def validate(self, inputs: Inputs) -> None:
    """Checks that tokenizer, columns and length fit the inputs."""
    super().validate(inputs)
    pair = self.is_pair
    expected = {TOKENS, MASK, TYPES} if pair else {TOKENS, MASK}
    if inputs.keys() != expected or len(self.columns) not in (1, 2):
      raise ValueError(f"columns={self.columns} of inputs {sorted(inputs)}")
    if {shape for shape, _ in inputs.values()} != {(self.max_length,)}:
      raise ValueError(f"max_length={self.max_length} of {inputs}")
    for name in ("max_length", "prediction_length"):
      if getattr(self, name) > MOST_LENGTH:
        raise ValueError(f"{name}={getattr(self, name)}")
    if self.on_long not in ON_LONG:
      raise ValueError(f"on_long={self.on_long!r}")
    size = self.vocab_size or 0  # That of weights may be larger.
    if self.tokenizer is None or size < self.tokenizer.vocab_size:
      raise ValueError(f"vocab_size={size}, not that of the tokenizer")
    if self.tokenizer.frame(pair=pair).size + 1 + pair > self.max_length:
      raise ValueError(f"max_length={self.max_length}: no room for a text")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields as JSON data."""
    content = super().to_json()
    if self.tokenizer is not None:
      content["tokenizer"] = self.tokenizer.to_json()
    return content


def _pieces(
  name: str, texts: Iterable[Sequence[str]], rows: int
) -> Iterator[Piece]:
  """Yields examples with numbers as their names, `rows` at a time."""
  examples = ((f"{name}:{i}", parts) for i, parts in enumerate(texts))
  while piece := list(itertools.islice(examples, rows)):
    yield piece, []


def describe_splits(masks: Mapping[str, np.ndarray]) -> str:
  """Returns how many examples of each split `masks` marks, bool `[N]`."""
  return ", ".join(f"{mask.sum():,} of {k}" for k, mask in masks.items())


def describe_long(length: int, max_length: int) -> str:
  """Returns the reason why a text is too long."""
  return f"{length:,} tokens, above max_length={max_length:,}"
