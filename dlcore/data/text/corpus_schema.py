"""The schema of running text, and reading of new texts for prediction."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcore.data import json_fields
from dlcore.data.info import (
  LABELS,
  TOKENS,
  DataInfo,
  Inputs,
  ReadBatch,
  Schema,
)
from dlcore.data.text.corpus_files import read_documents
from dlcore.data.text.packing import PACKINGS, Packing
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.token_texts import TokenTexts
from dlcore.data.text.tokenizer import Tokenizer, tokenizer_from_json
from dlcore.errors import UserError

INPUTS = {
  "contiguous": {TOKENS},
  "packed": {TOKENS, "segment_ids", "positions"},
}
"""Arrays that a model reads, by packing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSchema(TokenTexts, Schema):
  """Schema of rows of running text: `input_ids` and `labels` int32 `[N, T]`."""

  kind: ClassVar[str] = "corpus"
  consecutive: ClassVar[bool] = True

  parsers: ClassVar[Mapping[str, Any]] = {
    **Schema.parsers,
    "tokenizer": tokenizer_from_json,
    "packing": {name: name for name in PACKINGS}.__getitem__,
    "ends": json_fields.flag,
    "max_length": json_fields.count,
    "column": json_fields.text,
  }

  input: str = TOKENS
  target: str = LABELS

  tokenizer: Tokenizer | None = None
  """From texts to ids; None before it is known."""

  packing: str = "contiguous"
  """How rows are made, a key of `PACKINGS`."""

  ends: bool = False
  """Whether every document ends with the tokenizer's token for the end."""

  max_length: int = 0
  """T, tokens of a row."""

  column: str = "text"
  """The key of the texts in JSON lines."""

  @property
  def pad_id(self) -> int:
    """Id of padding."""
    assert self.tokenizer is not None
    return self.tokenizer.pad_id

  def pack(self, documents: Ragged) -> Packing:
    """Returns the rows of documents of tokens."""
    assert self.tokenizer is not None
    return PACKINGS[self.packing](
      documents.values,
      documents.offsets,
      self.max_length,
      end_id=self.tokenizer.eos_id if self.ends else None,
      pad_id=self.pad_id,
    )

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads files of text, of which every row of tokens is an example.

    The texts of a file are joined or packed as those of the training data, and
    the rows are named by their number: `"file.txt[0]"`. They have labels: the
    token after the last one of a row is in the next.
    """
    assert self.tokenizer is not None
    read = self.read_inputs(info.inputs)
    for path in paths:
      try:
        texts = read_documents(path, self.column)
        arrays = self.pack(Ragged.of(map(self.tokenizer.encode, texts))).arrays
      except UserError as error:
        yield ReadBatch([], None, [(str(path), "; ".join(error.lines))])
        continue
      for start in range(0, len(arrays[TOKENS]), rows):
        piece = {k: arrays[k][start : start + rows] for k in read}
        count = len(piece[TOKENS])
        names = [f"{path}[{start + i}]" for i in range(count)]
        yield ReadBatch(names, piece, [])

  def read_inputs(self, inputs: Inputs) -> Inputs:
    """Returns the inputs of the model, and the labels."""
    return {**inputs, LABELS: inputs[TOKENS]}

  def validate(self, inputs: Inputs) -> None:
    """Checks that tokenizer, packing and length fit the inputs."""
    super().validate(inputs)
    if inputs.keys() != INPUTS[self.packing]:
      raise ValueError(f"packing={self.packing!r} of inputs {sorted(inputs)}")
    if {shape for shape, _ in inputs.values()} != {(self.max_length,)}:
      raise ValueError(f"max_length={self.max_length} of {inputs}")
    known = 0 if self.tokenizer is None else self.tokenizer.vocab_size
    if not 0 < known <= (self.vocab_size or 0):  # Weights may have more ids.
      raise ValueError(f"vocab_size={self.vocab_size}, not of the tokenizer")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields as JSON data."""
    content = super().to_json()
    if self.tokenizer is not None:
      content["tokenizer"] = self.tokenizer.to_json()
    return content


def row_sizes(
  packing: Packing, sizes: np.ndarray, counts: np.ndarray, end_id: int | None
) -> np.ndarray:
  """Returns the size of the text of each row's labels, float32 `[N]`.

  The size of a document, such as its number of characters, is divided among its
  tokens; the token for the end has none.

  Args:
    packing: the rows.
    sizes: `[D]` of the documents with tokens.
    counts: `[D]`, their tokens.
    end_id: the token that ends them, if any.
  """
  per_token = np.append(sizes / counts, 0.0)  # The last one is for -1.
  shares = per_token[packing.documents]
  if end_id is not None:
    shares = np.where(packing.arrays[LABELS] == end_id, 0.0, shares)
  return shares.sum(axis=1).astype(np.float32)
