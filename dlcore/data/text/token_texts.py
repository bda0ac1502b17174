"""The text of token ids, and where each token ends in it, for reports."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlcore.data.info import TOKENS
from dlcore.data.text.tokenizer import Tokenizer

SEPARATOR = " \N{BOX DRAWINGS LIGHT VERTICAL} "
"""String between both texts of a pair."""

MAX_TOKENS = 1024
"""Number of tokens whose ends are known."""


SPECIAL = {
  "pad_id": "[pad]",
  "unknown_id": "[unk]",
  "bos_id": "[bos]",
  "eos_id": "[eos]",
  "mask_id": "[mask]",
}
"""Labels of special tokens by the attribute of a tokenizer."""

BLANKS = {
  "": "\N{MIDDLE DOT}",
  " ": "\N{OPEN BOX}",
  "\n": "\N{RETURN SYMBOL}",
  "\t": "\N{RIGHTWARDS ARROW TO BAR}",
}
"""Labels of tokens that cannot be seen. A part of a character has no text."""


class TokenText(NamedTuple):
  """A text, and the end of each of its tokens."""

  text: str

  ends: list[int]
  """Ascending; a special token ends where the one before it does."""


class TokenTexts:
  """Methods of a schema whose examples are texts."""

  tokenizer: Any
  max_length: int
  """T, the tokens of an example of the training data at most."""

  prediction_length: int = 0
  """The tokens of a new text at most, if that is more than T."""

  @property
  def limit(self) -> int:
    """The tokens of a new text at most; longer ones are truncated."""
    return max(self.prediction_length, self.max_length)

  def padded_length(self, longest: int) -> int:
    """Returns the length of the arrays of new texts, of which there are few.

    Each is a compiled program.

    Args:
      longest: tokens of the longest text.
    """
    length = self.max_length
    while length < longest:
      length *= 2
    return min(length, self.limit)

  def display(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the texts of a batch, strings `[M]`."""
    decode = self.tokenizer.decode
    texts = [
      SEPARATOR.join(decode(ids) for ids in parts) for parts in _parts(batch)
    ]
    return np.array(texts, str)

  def token_ends(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns where the tokens end in the texts, int32 `[M, T]`."""
    ends = np.zeros(batch[TOKENS].shape, np.int32)
    for row, parts in zip(ends, _parts(batch), strict=True):
      start = column = 0
      for ids in parts:
        text, of_part = decode_tokens(self.tokenizer, ids)
        row[column : column + len(ids)] = start + np.array(of_part, np.int32)
        start, column = start + len(text + SEPARATOR), column + len(ids)
      row[column:] = row[column - 1] if column else 0
    return ends


def _parts(batch: Mapping[str, np.ndarray]) -> Iterator[list[list[int]]]:
  """Yields the ids of each text, or of both texts of a pair."""
  ids = np.asarray(batch[TOKENS])
  mask = np.asarray(
    batch.get("attention_mask", batch.get("segment_ids", np.ones_like(ids)))
  )
  types = np.asarray(batch.get("token_type_ids", np.zeros_like(ids)))
  for row, kept, second in zip(ids, mask > 0, types > 0, strict=True):
    length = int(kept.sum())
    start = length - int((second & kept).sum())
    parts = (row[:start], row[start:length])
    yield [part.tolist() for part in parts if len(part)]


def decode_tokens(tokenizer: Tokenizer, ids: Sequence[int]) -> TokenText:
  """Returns the text of ids, and the end of each in it.

  A token of a part of a character ends before that character. Tokens after the
  first `MAX_TOKENS` end where the last of those does.
  """
  text = tokenizer.decode(ids)
  ends, end = [], 0
  for count in range(1, min(len(ids), MAX_TOKENS) + 1):
    end = _common(text, tokenizer.decode(ids[:count]), end)
    ends.append(end)
  return TokenText(text, ends + [end] * (len(ids) - len(ends)))


def _common(text: str, prefix: str, start: int) -> int:
  """Returns the length of the common beginning, of at least `start`."""
  most = min(len(text), len(prefix))
  while start < most and text[start] == prefix[start]:
    start += 1
  return start


def token_labels(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
  """Returns a label for each token, which is never empty.

  It is the text of the token in its context, without spaces around it.

  Args:
    tokenizer: of the ids.
    ids: of one text, at most `MAX_TOKENS`.
  """
  special = {getattr(tokenizer, name): label for name, label in SPECIAL.items()}
  labels, start = [], 0
  text, ends = decode_tokens(tokenizer, ids)
  for token, end in zip(ids, ends, strict=True):
    piece = text[start:end]
    label = piece.strip() or BLANKS[piece[:1] if piece[:1] in BLANKS else " "]
    labels.append(special.get(token, label))
    start = end
  return labels
