"""Rows of tokens that were added to the vocabulary of published weights."""

import re

import numpy as np

AXES = {
  r"(^|/)word_embedding/embedding$": 0,
  r"(^|/)(mlm_bias|logits_bias)$": 0,
  r"^params/head/": -1,
}
"""Axis of the vocabulary, by regex over the model's paths."""


def extend(
  array: np.ndarray, path: str, shape: tuple[int, ...]
) -> np.ndarray | None:
  """Returns an array with more rows, each the mean of the published ones.

  A new token thus begins as an average one (Hewitt 2021, "Initializing new word
  embeddings for pretrained language models").

  Args:
    array: in the model's layout.
    path: the model's path.
    shape: the model's shape.

  Returns:
    The array in the model's shape, None if it differs in something else than
    additional tokens.
  """
  axis = next(
    (a for pattern, a in AXES.items() if re.search(pattern, path)), None
  )
  if axis is None or array.ndim != len(shape) or not array.ndim:
    return None
  count = shape[axis] - array.shape[axis]
  grown = list(array.shape)
  grown[axis] += count
  if count <= 0 or tuple(grown) != shape:
    return None
  array = np.asarray(array)  # Of a source in memory, on a device.
  mean = array.mean(axis, dtype=np.float64, keepdims=True).astype(array.dtype)
  return np.concatenate([array, np.repeat(mean, count, axis)], axis)
