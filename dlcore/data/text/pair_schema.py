"""The schema of pairs of source and target, and reading of new sources."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from dlcore.data.info import LABELS, DataInfo, Inputs, ReadBatch
from dlcore.data.tables.text_lines import read_lines
from dlcore.data.text.text_files import (
  MAX_TEXT,
  Piece,
  is_text_file,
  read_examples,
)
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.tokenizer import Tokenizer, tokenizer_from_json
from dlcore.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairSchema(TextSchema):
  """Schema of sources, `input_ids` and `attention_mask`, and their targets.

  The target is `labels` int32 `[N, T]`: its tokens and the end, and -100 for
  padding. `columns` has the name of the column of the sources alone, all that
  prediction needs.
  """

  kind: ClassVar[str] = "text_pairs"

  translates: ClassVar[bool] = True

  parsers: ClassVar[Mapping[str, Any]] = {
    **TextSchema.parsers,
    "target_tokenizer": tokenizer_from_json,
  }

  target: str = LABELS

  columns: tuple[str, ...] = ("source",)

  target_tokenizer: Tokenizer | None = None
  """Of the targets; None if they have the tokenizer of the sources."""

  @property
  def output_tokenizer(self) -> Tokenizer:
    """The tokenizer of the targets."""
    tokenizer = self.target_tokenizer or self.tokenizer
    assert tokenizer is not None
    return tokenizer

  @property
  def target_vocab_size(self) -> int:
    """Number of token ids of targets; 0 if they are those of the sources."""
    own = self.target_tokenizer
    return 0 if own is None else own.vocab_size

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads files of a source in each line (.txt, .md), and tables of sources.

    Tables are CSV, TSV, JSON lines (each also .gz), Parquet and Arrow with the
    column of the sources in the training data; others are ignored.
    """
    del info

    def pieces() -> Iterator[Piece]:
      for path in paths:
        try:
          if is_text_file(path):
            yield from _read_lines(path, rows)
          else:
            yield from read_examples(path, self.columns, rows)
        except UserError as error:
          yield [], [(str(path), "; ".join(error.lines))]

    yield from self._read(pieces())

  def validate(self, inputs: Inputs) -> None:
    """Checks that both tokenizers and the length fit the inputs."""
    super().validate(inputs)
    if self.is_pair or self.target != LABELS:
      raise ValueError(f"columns={self.columns}, target={self.target!r}")
    if self.output_tokenizer.eos_id is None:
      raise ValueError("target_tokenizer: without an end")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields as JSON data."""
    content = super().to_json()
    if self.target_tokenizer is not None:
      content["target_tokenizer"] = self.target_tokenizer.to_json()
    return content


def _read_lines(path: Path, rows: int) -> Iterator[Piece]:
  """Yields the lines of a file, `rows` at a time."""
  numbered = enumerate(read_lines(path, MAX_TEXT), start=1)
  while piece := list(itertools.islice(numbered, rows)):
    yield [(f"{path}:{number}", (line,)) for number, line in piece], []
