"""The schema of sequences of tokens with tags, and reading of new ones."""

import dataclasses
import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dlcore.data import json_fields
from dlcore.data.info import LABELS, TOKENS, DataInfo, Inputs, ReadBatch, Schema
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.text_encoding import MASK
from dlcore.data.text.text_schema import describe_long
from dlcore.data.text.text_settings import MOST_LENGTH, ON_LONG
from dlcore.data.text.token_files import (
  TokenFormat,
  clean_token,
  read_sentences,
)
from dlcore.data.text.token_texts import TokenTexts
from dlcore.data.text.tokenizer import Tokenizer, tokenizer_from_json
from dlcore.errors import UserError

logger = logging.getLogger("dlcore")

DEFAULT_FORMAT = TokenFormat()

Example = tuple[str, Sequence[str]]
"""The name of an example, and its tokens."""


def token_format(value: Any) -> TokenFormat:
  """Returns the format of files from JSON data; see `json_fields`."""
  columns = [_integer(value[name]) for name in ("token_column", "tag_column")]
  names = ("tokens", "tags", "ignored", "comment")
  return TokenFormat(*columns, *(json_fields.text(value[n]) for n in names))


def _integer(value: Any) -> int:
  if type(value) is not int:
    raise TypeError
  return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaggedSchema(TokenTexts, Schema):
  """Schema of tokens: `input_ids` int32 `[N, T]` and `attention_mask`.

  `labels` int32 `[N, T]` holds the number of each tag, -100 for tokens that are
  not scored.
  """

  kind: ClassVar[str] = "tagged_text"

  parsers: ClassVar[Mapping[str, Any]] = {
    **Schema.parsers,
    "tokenizer": tokenizer_from_json,
    "form": token_format,
    "max_length": json_fields.count,
    "prediction_length": json_fields.count,
    "on_long": json_fields.text,
  }

  input: str = TOKENS

  target: str = LABELS

  tokenizer: Tokenizer | None = None
  """From tokens to ids, one for each; None before it is known."""

  form: TokenFormat = DEFAULT_FORMAT
  """Where the tokens of a file are."""

  max_length: int = 0
  """T, the tokens of a sequence at most."""

  prediction_length: int = 0
  """The tokens of a new sequence at most, if that is more than T."""

  on_long: str = "truncate"
  """How to handle longer sequences: "truncate" or "error"."""

  def read(
    self, paths: Sequence[Path], info: DataInfo, rows: int
  ) -> Iterator[ReadBatch]:
    """Reads files of tokens as those of the training data, without the tags.

    They are of any format of `tagged_text`.
    """
    del info
    for path in paths:
      try:
        sentences = read_sentences(path, self.form, tagged=False)
        while piece := list(itertools.islice(sentences, rows)):
          named = [(f"{path}:{s.line}", s) for s in piece]
          errors = [(name, s.error) for name, s in named if s.error]
          examples = [(name, s.tokens) for name, s in named if not s.error]
          yield self._batch(examples, errors)
      except UserError as error:
        yield ReadBatch([], None, [(str(path), "; ".join(error.lines))])

  def read_texts(self, texts: Iterable[str], rows: int) -> Iterator[ReadBatch]:
    """Reads tokens that are separated by spaces.

    Args:
      texts: strings, whose names are `"text:0"` and so on.
      rows: largest number of examples in a batch.

    Raises:
      UserError: a value is not a string.
    """
    numbered = enumerate(texts)
    while piece := list(itertools.islice(numbered, rows)):
      for _, text in piece:
        if not isinstance(text, str):
          raise UserError(
            "expected a string for each input", f"got {text!r:.80}"
          )
      examples = [(f"text:{i}", text.split()) for i, text in piece]
      kept = [(name, tokens) for name, tokens in examples if tokens]
      empty = [(name, "an empty text") for name, words in examples if not words]
      yield self._batch(kept, empty)

  def _batch(
    self, examples: Sequence[Example], errors: list[tuple[str, str]]
  ) -> ReadBatch:
    if self.on_long == "error":
      errors += [
        (name, describe_long(len(tokens), self.limit))
        for name, tokens in examples
        if len(tokens) > self.limit
      ]
      examples = [e for e in examples if len(e[1]) <= self.limit]
    cut = sum(len(tokens) > self.limit for _, tokens in examples)
    if cut:
      logger.warning(
        "%d sequences of more than %d tokens were truncated",
        cut,
        self.limit,
      )
    if not examples:
      return ReadBatch([], None, errors)
    assert self.tokenizer is not None
    tokens = [list(map(clean_token, tokens)) for _, tokens in examples]
    ids = encode_tokens(tokens, self.tokenizer, self.limit)
    length = self.padded_length(int(ids.lengths.max()))
    arrays = padded_inputs(ids, length, self.tokenizer.pad_id)
    return ReadBatch([name for name, _ in examples], arrays, errors)

  def validate(self, inputs: Inputs) -> None:
    """Checks that tokenizer and length fit the inputs."""
    super().validate(inputs)
    shapes = {shape for shape, _ in inputs.values()}
    if inputs.keys() != {TOKENS, MASK} or shapes != {(self.max_length,)}:
      raise ValueError(f"max_length={self.max_length} of {inputs}")
    if not 0 < self.max_length <= self.limit <= MOST_LENGTH:
      raise ValueError(f"max_length={self.max_length}, {self.limit=}")
    if self.on_long not in ON_LONG:
      raise ValueError(f"on_long={self.on_long!r}")
    size = self.vocab_size or 0  # That of weights may be larger.
    if self.tokenizer is None or size < self.tokenizer.vocab_size:
      raise ValueError(f"vocab_size={size}, not that of the tokenizer")

  def to_json(self) -> dict[str, Any]:
    """Returns the fields as JSON data."""
    content = {**super().to_json(), "form": self.form._asdict()}
    if self.tokenizer is not None:
      content["tokenizer"] = self.tokenizer.to_json()
    return content


def encode_tokens(
  sequences: Iterable[Sequence[str]], tokenizer: Tokenizer, max_length: int
) -> Ragged:
  """Returns the ids of tokens, up to `max_length` of each sequence.

  Args:
    sequences: clean tokens, of which the tokenizer makes one id each.
    tokenizer: splits at spaces.
    max_length: largest number of tokens.
  """
  return Ragged.of(
    tokenizer.encode(" ".join(tokens[:max_length])) for tokens in sequences
  )


def padded_inputs(
  ids: Ragged, length: int, pad_id: int
) -> dict[str, np.ndarray]:
  """Returns `input_ids` and `attention_mask` `[N, T]` of all sequences."""
  rows = np.arange(len(ids.lengths))
  values, mask = ids.padded(rows, length, pad_id)
  return {TOKENS: values, MASK: mask.astype(np.uint8)}
