"""The schema of pairs of texts that are encoded apart."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from dlcore.data.info import SECOND_MASK, SECOND_TOKENS, TOKENS
from dlcore.data.text.text_encoding import MASK
from dlcore.data.text.text_schema import TextSchema
from dlcore.data.text.token_texts import SEPARATOR


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimilarSchema(TextSchema):
  """Schema of pairs of texts, each with token ids and a mask of its own.

  The inputs, and the texts of a prediction, are single ones: `columns` has the
  name of the column of the first texts. The target is the `score` of a pair, or
  the second text.
  """

  kind: ClassVar[str] = "similar_texts"

  target: str = SECOND_TOKENS

  columns: tuple[str, ...] = ("first",)

  def display(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns both texts of each pair of a batch, strings `[M]`."""
    first = super().display(batch)
    if SECOND_TOKENS not in batch:
      return first
    second = super().display(
      {TOKENS: batch[SECOND_TOKENS], MASK: batch[SECOND_MASK]}
    )
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    return np.array([SEPARATOR.join(pair) for pair in pairs], str)
