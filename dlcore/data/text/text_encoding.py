"""Texts and pairs of texts as token ids, ragged or padded."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data.info import TOKENS
from dlcore.data.source import Arrays, take_rows
from dlcore.data.text.framing import frame_ids
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.tokenizer import Tokenizer

MASK, TYPES = "attention_mask", "token_type_ids"


def clean_text(text: str) -> str:
  """Returns a text with single spaces in place of other white space.

  So a text is the same in every format of files. Lone surrogates, which UTF-8
  lacks, become "?".
  """
  return " ".join(text.split()).encode("utf-8", "replace").decode()


class EncodedTexts(NamedTuple):
  """Sequences of token ids of texts, or of pairs of texts."""

  ids: Ragged

  seconds: np.ndarray | None
  """Position of the first token of each second text, int64 `[N]`."""

  full_lengths: np.ndarray
  """Number of tokens before truncation, int64 `[N]`."""

  def take(self, rows: np.ndarray | None) -> "EncodedTexts":
    """Returns some sequences, all for None."""
    if rows is None:
      return self
    seconds = None if self.seconds is None else self.seconds[rows]
    return EncodedTexts(self.ids.take(rows), seconds, self.full_lengths[rows])


def encode_texts(
  texts: Sequence[str],
  pairs: Sequence[str] | None,
  tokenizer: Tokenizer,
  max_length: int,
) -> EncodedTexts:
  """Returns the token ids of N texts with special tokens.

  Args:
    texts: the texts, clean.
    pairs: the second text of each, or None.
    tokenizer: of the texts.
    max_length: largest number of tokens, see `framing.frame_ids`.
  """
  frame = tokenizer.frame(pair=pairs is not None)
  seconds, full_lengths = [], []

  def rows():
    for i, text in enumerate(texts):
      second = None if pairs is None else tokenizer.encode(pairs[i])
      first = tokenizer.encode(text)
      framed = frame_ids(first, second, frame, max_length)
      seconds.append(framed.second)
      full_lengths.append(framed.full_length)
      yield framed.ids

  ids = Ragged.of(rows())
  positions = None if pairs is None else np.asarray(seconds, np.int64)
  return EncodedTexts(ids, positions, np.asarray(full_lengths, np.int64))


@dataclasses.dataclass(frozen=True, eq=False)
class TokenRows:
  """Reads rows of padded token ids; see `Source.read`. It can be pickled."""

  texts: EncodedTexts

  length: int
  """T, the number of tokens with padding."""

  pad_id: int

  targets: Arrays
  """`[N, ...]` by name."""

  def __call__(self, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a batch of rows."""
    ids, mask = self.texts.ids.padded(indices, self.length, self.pad_id)
    batch = {TOKENS: ids, MASK: mask.astype(np.uint8)}
    if self.texts.seconds is not None:
      behind = np.arange(self.length) >= self.texts.seconds[indices][:, None]
      batch[TYPES] = (behind & mask).astype(np.int32)
    return {**batch, **take_rows(self.targets, indices)}

  @property
  def size(self) -> int:
    """Number of rows, N."""
    return len(self.texts.full_lengths)

  def arrays(self, piece: int = 4096) -> dict[str, np.ndarray]:
    """Returns all rows, of which `piece` are padded at a time."""
    starts = range(0, self.size, piece)
    pieces = [
      self(np.arange(start, min(start + piece, self.size))) for start in starts
    ]
    return {k: np.concatenate([p[k] for p in pieces]) for k in pieces[0]}
