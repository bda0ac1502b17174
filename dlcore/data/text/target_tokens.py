"""Token ids of the targets of pairs: the text and its end."""

from collections.abc import Sequence

import numpy as np

from dlcore.data.text.framing import Frame, frame_ids
from dlcore.data.text.ragged import Ragged
from dlcore.data.text.text_encoding import EncodedTexts
from dlcore.data.text.tokenizer import Tokenizer
from dlcore.errors import UserError


def start_id(tokenizer: Tokenizer) -> int:
  """Returns the id that a decoder begins with: without a begin, padding."""
  begin = tokenizer.bos_id
  return tokenizer.pad_id if begin is None else begin


def check_end(tokenizer: Tokenizer, name: str) -> None:
  """Checks that a tokenizer has an id of the end of a text.

  Args:
    tokenizer: of the targets.
    name: of the tokenizer, for the message.

  Raises:
    UserError: it has none.
  """
  if tokenizer.eos_id is None:
    raise UserError(
      "expected a tokenizer with a token of the end, such as </s>, for the "
      "targets of pairs",
      f"got {name!r} without one",
      "train one by experiments/train_tokenizer.py",
    )


def encode_targets(
  texts: Sequence[str], tokenizer: Tokenizer, max_length: int
) -> EncodedTexts:
  """Returns the token ids of N targets, each with the id of the end.

  Args:
    texts: the targets, clean.
    tokenizer: has an end, see `check_end`.
    max_length: largest number of tokens; the end of longer texts is cut off.
  """
  assert tokenizer.eos_id is not None
  frame, full_lengths = Frame(after=(tokenizer.eos_id,)), []

  def rows():
    for text in texts:
      framed = frame_ids(tokenizer.encode(text), None, frame, max_length)
      full_lengths.append(framed.full_length)
      yield framed.ids

  ids = Ragged.of(rows())
  return EncodedTexts(ids, None, np.asarray(full_lengths, np.int64))
