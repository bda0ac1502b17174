"""A linear probe: multinomial logistic regression with an L2 penalty."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

STRENGTHS = (10.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5)
"""Strengths of the penalty, in the order in which they are tried."""

INNER_FOLDS = 3
"""Folds of the training rows that choose the strength."""

MAX_ITERATIONS = 200


class LogisticRegression(NamedTuple):
  """A classifier `softmax((x - mean) / deviation @ weights + bias)`."""

  mean: np.ndarray
  """`[D]`."""

  deviation: np.ndarray
  """`[D]`, 1 for constant features."""

  weights: np.ndarray
  """float32 `[D, C]`."""

  bias: np.ndarray
  """float32 `[C]`."""

  def logits(self, features: np.ndarray) -> np.ndarray:
    """Returns the logits of features `[N, D]`, float32 `[N, C]`."""
    x = (features - self.mean) / self.deviation
    return x @ self.weights + self.bias


def fit_logistic(
  features: np.ndarray,
  labels: np.ndarray,
  classes: int,
  strength: float,
  initial: LogisticRegression | None = None,
) -> LogisticRegression:
  """Minimizes the mean cross-entropy plus `strength / 2 * |weights|**2`.

  The features are standardized, the bias has no penalty, and the minimizer is
  L-BFGS (Liu & Nocedal 1989).

  Args:
    features: finite, `[N, D]`.
    labels: int `[N]`, 0 to C - 1.
    classes: C.
    strength: of the penalty.
    initial: where to start, of the same rows; None for zeros.
  """
  from scipy import optimize  # Imported late: few programs need it.

  mean, deviation = _moments(features)
  x = (features - mean) / deviation
  targets = np.eye(classes, dtype=np.float32)[labels]
  shape = (x.shape[1] + 1, classes)

  def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
    parameters = flat.reshape(shape)
    weights = parameters[:-1].astype(np.float32)
    log_probabilities = _log_softmax(x @ weights + parameters[-1])
    error = (np.exp(log_probabilities) - targets).astype(np.float32) / len(x)
    gradient = np.vstack([x.T @ error, error.sum(0)]).astype(np.float64)
    gradient[:-1] += strength * parameters[:-1]
    penalty = 0.5 * strength * np.square(parameters[:-1]).sum()
    return _cross_entropy(log_probabilities, labels) + penalty, gradient.ravel()

  start = np.zeros(shape)
  if initial is not None:
    start = np.vstack([initial.weights, initial.bias]).astype(np.float64)
  result = optimize.minimize(
    loss,
    start.ravel(),
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": MAX_ITERATIONS, "ftol": 1e-7, "gtol": 1e-5},
  )
  parameters = result.x.reshape(shape).astype(np.float32)
  return LogisticRegression(mean, deviation, parameters[:-1], parameters[-1])


def fit_probe(
  features: np.ndarray, labels: np.ndarray, classes: int, folds: np.ndarray
) -> tuple[LogisticRegression, float]:
  """Fits a probe whose strength is chosen by cross-validation.

  Args:
    features: finite, `[N, D]`.
    labels: int `[N]`.
    classes: C.
    folds: int `[N]`, the fold of each row.

  Returns:
    The probe of all rows, and its strength.
  """
  strength = _choose_strength(features, labels, classes, folds)
  probe = None
  for weaker in STRENGTHS[: STRENGTHS.index(strength) + 1]:
    probe = fit_logistic(features, labels, classes, weaker, probe)
  assert probe is not None
  return probe, strength


def _choose_strength(
  features: np.ndarray, labels: np.ndarray, classes: int, folds: np.ndarray
) -> float:
  """Returns the strength of the least cross-entropy of rows left out.

  It stops after two strengths that are worse than the best one.
  """
  losses: list[float] = []
  probes: dict[int, LogisticRegression] = {}
  parts: Sequence[int] = np.unique(folds).tolist()
  for strength in STRENGTHS:
    total = 0.0
    for fold in parts:
      train, test = folds != fold, folds == fold
      probes[fold] = fit_logistic(
        features[train], labels[train], classes, strength, probes.get(fold)
      )
      values = _log_softmax(probes[fold].logits(features[test]))
      total += _cross_entropy(values, labels[test]) * test.sum()
    losses.append(total)
    if len(losses) - 1 - int(np.argmin(losses)) == 2:
      break
  return STRENGTHS[int(np.argmin(losses))]


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns mean and standard deviation, float32 `[D]`."""
  mean = features.mean(0, dtype=np.float64)
  deviation = features.std(0, dtype=np.float64)
  constant = deviation <= 1e-6 * np.abs(mean)
  deviation = np.where(constant | (deviation < 1e-30), 1.0, deviation)
  return mean.astype(np.float32), deviation.astype(np.float32)


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  shifted = logits - logits.max(1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _cross_entropy(log_probabilities: np.ndarray, labels: np.ndarray) -> float:
  chosen = log_probabilities[np.arange(len(labels)), labels]
  return float(-chosen.mean(dtype=np.float64))
