"""Checks of arrays about texts, from files of any origin."""

from collections.abc import Mapping

import numpy as np

ENDS, RELEVANCE = "worst_token_end", "worst_relevance"

TAGS = ("worst_token_label", "worst_token_prediction")

OF_TOKENS = (ENDS, RELEVANCE, *TAGS)
"""Arrays `[M, T]` of the worst examples."""

TOGETHER = ({ENDS, RELEVANCE}, {ENDS, *TAGS}, {*TAGS})
"""Those of `OF_TOKENS` that a run has."""

SAMPLES = ("sample_prompt", "sample_text")
"""Arrays of strings `[S]`."""

ATTENTION = {
  "attention_weight": ("f", 4),
  "attention_map": ("U", 1),
  "attention_query": ("U", 2),
  "attention_key": ("U", 2),
}
"""Kinds of dtypes and numbers of axes of the arrays of attention maps."""

MAX_CLASSES = 10_000
"""Number of classes, or of tags."""

METHOD = "relevance_method"
"""A string: how the relevance was computed."""

MAX_AXIS = 256
"""Largest size of an axis of attention maps."""

CONFUSED = {
  "confused_input": "U",
  "confused_label": "iu",
  "confused_prediction": "iu",
}
"""Kinds of dtypes of the arrays `[P]` of the most confused pairs."""


def check_tokens(
  worst: Mapping[str, np.ndarray], tokens: Mapping[str, np.ndarray]
) -> None:
  """Checks where tokens end in the worst examples, their relevance and tags.

  Args:
    worst: arrays `[M]` by name.
    tokens: those of `OF_TOKENS`, or none.

  Raises:
    ValueError: an array is not as expected.
  """
  if not tokens:
    return
  inputs = worst.get("worst_input")
  kind = "" if inputs is None else inputs.dtype.kind
  needs_text = ENDS in tokens
  if {*tokens} not in TOGETHER or not kind or (needs_text and kind != "U"):
    raise ValueError(f"{', '.join(tokens)} alone")
  shape = (len(worst["worst_input"]), *next(iter(tokens.values())).shape[1:])
  for name, array in tokens.items():
    kinds = "f" if name == RELEVANCE else "iu"
    if array.ndim != 2 or array.dtype.kind not in kinds or array.shape != shape:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")
    if name == RELEVANCE and not np.isfinite(array).all():
      raise ValueError(f"{name} is not finite")
    if name in TAGS and array.max() >= MAX_CLASSES:
      raise ValueError(f"{name} is not below {MAX_CLASSES:,}")


def check_confused(confused: Mapping[str, np.ndarray]) -> None:
  """Checks the arrays of `CONFUSED`, or none.

  Raises:
    ValueError: an array is missing or not as expected.
  """
  if not confused:
    return
  shapes = {array.shape for array in confused.values()}
  if confused.keys() != CONFUSED.keys() or len(shapes) > 1:
    raise ValueError(f"{', '.join(confused)} do not belong together")
  for name, array in confused.items():
    if array.ndim != 1 or array.dtype.kind not in CONFUSED[name]:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")


def check_samples(samples: Mapping[str, np.ndarray]) -> None:
  """Checks the arrays of `SAMPLES`, or none.

  Raises:
    ValueError: an array is missing or not as expected.
  """
  if samples and samples.keys() != {*SAMPLES}:
    raise ValueError(f"{', '.join(samples)} alone")
  shapes = {array.shape for array in samples.values()}
  for name, array in samples.items():
    if array.ndim != 1 or array.dtype.kind != "U" or len(shapes) > 1:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")


def check_attention(attention: Mapping[str, np.ndarray]) -> None:
  """Checks the arrays of `ATTENTION`, or none.

  Raises:
    ValueError: an array is missing or not as expected.
  """
  if not attention:
    return
  if attention.keys() != ATTENTION.keys():
    raise ValueError(f"{', '.join(attention)} alone")
  for name, array in attention.items():
    kind, axes = ATTENTION[name]
    good = array.dtype.kind == kind and array.ndim == axes
    if not good or 0 in array.shape or max(array.shape) > MAX_AXIS:
      raise ValueError(f"{name} is {array.dtype} {array.shape}")
  weight, maps, queries, keys = (attention[name] for name in ATTENTION)
  examples, size, *lengths = weight.shape
  shapes = [(size,), (examples, lengths[0]), (examples, lengths[1])]
  if [maps.shape, queries.shape, keys.shape] != shapes:
    raise ValueError(f"attention_weight {weight.shape} does not fit its labels")
  if not ((weight >= 0) & (weight <= 1.01)).all():
    raise ValueError("attention_weight is not from 0 to 1")
