"""Texts of targets as arrays, for scores that tokens alone cannot give."""

from collections.abc import Iterable

import numpy as np

from dlcore.data.text.tokenizer import Tokenizer


def normalized(text: str, tokenizer: Tokenizer) -> str:
  """Returns a text as the tokens of a tokenizer can spell it at best."""
  return text.lower() if getattr(tokenizer, "lowercase", False) else text


def pack_texts(texts: Iterable[str], tokenizer: Tokenizer) -> np.ndarray:
  """Returns normalized texts in UTF-8, uint8 `[N, L]` with zeros behind."""
  encoded = [normalized(text, tokenizer).encode() for text in texts]
  array = np.array(encoded, bytes)
  return array.view(np.uint8).reshape(len(encoded), array.itemsize)


def unpack_texts(array: np.ndarray) -> list[str]:
  """Returns the texts, the inverse of `pack_texts`."""
  rows = np.ascontiguousarray(array, np.uint8)
  encoded = rows.view(f"S{rows.shape[1]}")[:, 0]
  return [text.decode() for text in encoded.tolist()]
