"""Arrays of tagged tokens that the report shows, see `dlcore.report_arrays`."""

from collections.abc import Sequence

import numpy as np

from dlcore import report_arrays
from dlcore.data import DataInfo
from dlcore.data.info import IGNORED, LABELS
from dlcore.data.source import Arrays

CONTEXT = 8
"""Tokens on either side of one that is shown in its context."""

ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def tag_arrays(
  split: str,
  rows: Arrays,
  targets: Arrays,
  info: DataInfo,
  read: report_arrays.Read,
) -> Arrays:
  """Returns the tags of all scored tokens, and the worst sequences.

  Those are the sequences with the most wrong tags, weighted by the
  probabilities of these tags. A token whose prediction is not finite is left
  out.

  Args:
    split: of the examples.
    rows: `predicted`, int `[N, T]`, negative for no tag, and `probability`.
    targets: `labels` `[N, T]`.
    info: of the split.
    read: returns the inputs of some sequences.
  """
  labels, predicted = targets[LABELS], rows["predicted"]
  scored = labels != IGNORED
  wrong = scored & (predicted != labels)
  shares = np.where(wrong, np.nan_to_num(rows["probability"]), 0.0).sum(1)
  faulty = np.flatnonzero(wrong.any(1))
  order = faulty[np.argsort(-shares[faulty], kind="stable")]
  worst = report_arrays.worst_examples(
    {"token_label": labels, "token_prediction": predicted}, order, read
  )
  if worst:
    names = np.array([*info.schema.classes, "?"])  # The last is that of no tag.
    chosen = worst["worst_index"]
    for name, tags in (("label", labels), ("prediction", predicted)):
      numbers = [np.maximum(tags[i][wrong[i]], -1) for i in chosen]
      worst[f"worst_{name}"] = np.array([" ".join(names[n]) for n in numbers])
  return {
    "split": np.asarray(split),
    "histogram/wrong tags of a sequence": wrong.sum(1)[scored.any(1)],
    **_token_arrays(labels, rows, scored & (predicted >= 0), read),
    **worst,
  }


def _token_arrays(
  labels: np.ndarray, rows: Arrays, kept: np.ndarray, read: report_arrays.Read
) -> Arrays:
  """Returns `report_arrays.CLASSES` of tokens, and the most confused pairs.

  Args:
    labels: int `[N, T]`.
    rows: the predictions.
    kept: bool `[N, T]`, of which tokens.
    read: returns the inputs of some sequences.
  """
  if not kept.any():
    return {}
  arrays = {
    "label": labels[kept].astype(np.int32),
    "prediction": rows["predicted"][kept].astype(np.int32),
    "probability": rows["probability"][kept].astype(np.float32),
  }
  wrong = np.flatnonzero(arrays["label"] != arrays["prediction"])
  order = wrong[np.argsort(-arrays["probability"][wrong], kind="stable")]
  sequence, position = np.nonzero(kept)

  def read_tokens(indices: np.ndarray) -> np.ndarray:
    texts = np.asarray(read(sequence[indices].astype(np.int32)))
    if texts.dtype.kind != "U":
      return texts
    pairs = zip(texts.tolist(), position[indices].tolist(), strict=True)
    return np.array([in_context(text.split(" "), at) for text, at in pairs])

  if not len(order) or read_tokens(order[:1]).dtype.kind != "U":
    return arrays
  return arrays | report_arrays.confused_examples(arrays, order, read_tokens)


def in_context(tokens: Sequence[str], position: int) -> str:
  """Returns a token in brackets and its neighbors, separated by spaces."""
  if position >= len(tokens):
    return " ".join(tokens)
  start, stop = max(0, position - CONTEXT), position + 1 + CONTEXT
  before, after = tokens[start:position], tokens[position + 1 : stop]
  words = [*before, f"[{tokens[position]}]", *after]
  words = [ELLIPSIS, *words] if start else words
  return " ".join([*words, ELLIPSIS] if stop < len(tokens) else words)
