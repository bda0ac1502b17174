"""The paired bootstrap over runs and test examples."""

import numpy as np

RESAMPLES = 10_000


def compare(own: np.ndarray, peer: np.ndarray) -> dict:
  """Returns the difference of two accuracies with its 95% interval.

  Args:
    own: bool `[S, N]`, which of N examples each of S runs classifies correctly.
    peer: bool `[N]`, or `[S, N]` if each run has a peer of its own, likewise.
  """
  gain = own.astype(np.int8) - peer
  random = np.random.default_rng(0)
  seeds, size = gain.shape
  means = []
  for _ in range(RESAMPLES):
    by_example = gain[random.integers(seeds, size=seeds)].mean(0)
    means.append(by_example[random.integers(size, size=size)].mean())
  low, high = np.quantile(means, (0.025, 0.975)).tolist()
  outcome = "better" if low > 0 else "worse" if high < 0 else "equal"
  return {
    "difference": float(gain.mean()),
    "interval": [low, high],
    "outcome": outcome,
  }
