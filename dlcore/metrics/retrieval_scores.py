"""Scores of a search for the second text of each pair, on the host."""

import numpy as np

ROWS = 1024
"""Rows of similarities that are in memory at a time."""


def retrieval_scores(
  anchors: np.ndarray,
  candidates: np.ndarray,
  ids: np.ndarray,
  temperature: float,
) -> dict[str, float]:
  """Returns the scores of pairs among the candidates of all pairs.

  Candidates that may be right too are left out, see `may_be_right`. A candidate
  that is as near as the one of the pair has the better rank, so that equal
  embeddings of all texts have no recall.

  Args:
    anchors: float `[N, D]`, of norm 1.
    candidates: float `[N, D]`, of norm 1; row i belongs to anchor i.
    ids: int `[N, 2]`, of the texts of both, equal for equal texts.
    temperature: of the loss.

  Returns:
    `loss`, the mean cross-entropy of the right candidate, `recall_at_1`, the
    share of anchors to which it is the nearest, `recall_at_10`, and `mrr`, the
    mean of 1 / rank.
  """
  size = len(anchors)
  losses, ranks = np.zeros(size), np.zeros(size)
  for start in range(0, size, ROWS):
    rows = np.arange(start, min(start + ROWS, size))
    scores = anchors[rows].astype(np.float64) @ candidates.T
    right = scores[np.arange(len(rows)), rows]
    scores[may_be_right(ids[rows], ids)] = -np.inf
    scores[np.arange(len(rows)), rows] = -np.inf
    ranks[rows] = 1 + (scores >= right[:, None]).sum(1)
    differences = (scores - right[:, None]) / temperature
    differences[np.arange(len(rows)), rows] = 0
    losses[rows] = np.logaddexp.reduce(differences, axis=1)
  return {
    "loss": float(losses.mean()),
    "recall_at_1": float(np.mean(ranks <= 1)),
    "recall_at_10": float(np.mean(ranks <= 10)),
    "mrr": float(np.mean(1 / ranks)),
  }


def may_be_right(ids, all_ids):
  """Returns whether a candidate may be right though it is of another pair.

  Its text is that of the right candidate or of the anchor, or it belongs to an
  anchor with the same text. The diagonal of a square is true.

  Args:
    ids: int `[M, 2]`, of the texts of anchors and right candidates.
    all_ids: int `[N, 2]`, of the texts of all anchors and candidates.

  Returns:
    bool `[M, N]`, of the library of the arguments.
  """
  anchor, right = ids[:, :1], ids[:, 1:]
  of_anchor, candidate = all_ids[:, 0], all_ids[:, 1]
  same_anchor = anchor == of_anchor
  return same_anchor | (right == candidate) | (anchor == candidate)
