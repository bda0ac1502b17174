"""The paired bootstrap over runs and test examples."""

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

RESAMPLES, AUC_RESAMPLES = 10_000, 2_000
BASELINE = "scratch"


def compare(own: np.ndarray, peer: np.ndarray) -> dict:
  """Returns the difference of two accuracies with its 95% interval.

  Args:
    own: bool `[S, N]`, which of N examples each of S runs classifies correctly.
    peer: bool `[N]`, or `[S, N]` if each run has a peer of its own, likewise.
  """
  gain = own.astype(np.int8) - peer

  def resampled(runs: np.ndarray, examples: np.ndarray) -> float:
    return gain[runs].mean(0)[examples].mean()

  return _compare(gain.mean(), resampled, gain.shape, RESAMPLES)


def compare_auc(own: np.ndarray, peer: np.ndarray, labels: np.ndarray) -> dict:
  """Returns the difference of two areas under ROC curves with its interval.

  Args:
    own: scores of the positive class by S runs, float `[S, N]`.
    peer: those of their peers, likewise.
    labels: 1 for the positive class and 0 for the other, int `[N]`.
  """

  def resampled(runs: np.ndarray, examples: np.ndarray) -> float:
    chosen = labels[examples]
    rows = np.ix_(runs, examples)
    return (auc(own[rows], chosen) - auc(peer[rows], chosen)).mean()

  difference = (auc(own, labels) - auc(peer, labels)).mean()
  return _compare(difference, resampled, own.shape, AUC_RESAMPLES)


def add_result(
  results: dict[str, dict],
  strategy: str,
  result: dict,
  correct: Callable[[str, float], np.ndarray],
) -> None:
  """Adds the result of a strategy, with its difference from `BASELINE`.

  Args:
    results: of the strategies so far, by name.
    strategy: its name.
    result: with the `rate` of its runs.
    correct: `(strategy, rate)` -> which of N examples each of S runs classifies
      correctly, bool `[S, N]`.
  """
  baseline = results.get(BASELINE)
  if baseline and strategy != BASELINE:
    result["than_scratch"] = compare(
      correct(strategy, result["rate"]), correct(BASELINE, baseline["rate"])
    )
  results[strategy] = result


def auc(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the areas `[S]` under the ROC curves of scores `[S, N]`."""
  positive = labels == 1
  count, rest = positive.sum(), (~positive).sum()
  ranks = rankdata(scores, axis=-1)[:, positive].sum(-1)
  return (ranks - count * (count + 1) / 2) / (count * rest)


def _compare(
  difference: float,
  resampled: Callable[[np.ndarray, np.ndarray], float],
  shape: tuple[int, ...],
  resamples: int,
) -> dict:
  """Returns a difference with its 95% interval and the outcome.

  Args:
    difference: of all runs and examples.
    resampled: that of some runs and examples, by their indices.
    shape: `[S, N]`.
    resamples: number of samples.
  """
  random = np.random.default_rng(0)
  seeds, size = shape
  values = [
    resampled(
      random.integers(seeds, size=seeds), random.integers(size, size=size)
    )
    for _ in range(resamples)
  ]
  low, high = np.quantile(values, (0.025, 0.975)).tolist()
  outcome = "better" if low > 0 else "worse" if high < 0 else "equal"
  return {
    "difference": float(difference),
    "interval": [low, high],
    "outcome": outcome,
  }
