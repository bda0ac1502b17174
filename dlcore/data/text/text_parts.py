"""The examples of text data before they are split."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dlcore.data import bad_examples
from dlcore.data.source import Arrays, take_rows
from dlcore.data.split_columns import Column
from dlcore.data.text.text_encoding import clean_text
from dlcore.errors import UserError


class TextPart(NamedTuple):
  """The examples of a file, before they are split."""

  texts: Sequence[str]

  pairs: Sequence[str] | None
  """The second text of each pair, or None."""

  targets: Arrays
  """`label` int32 `[N]` or float32 `[N, C]`, or `target` float32 `[N]`."""

  names: Sequence[str]
  """Name of each example, such as "reviews.csv:2"."""

  columns: Mapping[str, Column | None] = {}
  """`groups`, `times` and `assigned` of train, see `split.make_splits`."""

  def take(self, rows: np.ndarray) -> "TextPart":
    """Returns some examples."""
    if len(rows) == len(self.texts):
      return self
    return TextPart(
      [self.texts[i] for i in rows],
      None if self.pairs is None else [self.pairs[i] for i in rows],
      take_rows(self.targets, rows),
      [self.names[i] for i in rows],
      {k: _take(column, rows) for k, column in self.columns.items()},
    )


def without_empty(
  parts: Mapping[str, TextPart],
) -> tuple[dict[str, TextPart], list[str]]:
  """Returns the examples with clean texts that are not empty, and a note."""
  kept, empty = {}, []
  for part, content in parts.items():
    texts = list(map(clean_text, content.texts))
    pairs = content.pairs and list(map(clean_text, content.pairs))
    content = content._replace(texts=texts, pairs=pairs)
    is_empty = np.array([not text for text in texts], bool)
    if pairs is not None:
      is_empty |= np.array([not text for text in pairs], bool)
    empty += [content.names[i] for i in np.flatnonzero(is_empty)]
    if is_empty.all():
      raise UserError(
        f"expected texts in {part}",
        f"got {len(texts)} examples, all of them empty",
        "name the column that contains the texts",
      )
    kept[part] = content.take(np.flatnonzero(~is_empty))
  listed = bad_examples.shorten(empty)
  note = f"{len(empty)} examples with an empty text were left out: {listed}"
  return kept, [note] if empty else []


def hash_texts(part: TextPart) -> list[str]:
  """Returns a hash of the texts of each example, which decides its split."""
  pairs = [""] * len(part.texts) if part.pairs is None else part.pairs
  return [
    hashlib.blake2b(f"{text}\n{pair}".encode(), digest_size=8).hexdigest()
    for text, pair in zip(part.texts, pairs, strict=True)
  ]


def _take(column: Column | None, rows: np.ndarray) -> Column | None:
  return None if column is None else np.asarray(column)[rows]
