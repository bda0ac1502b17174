"""Ridge regression to some rows of a table, with leave-one-out errors.

The error of each row from the others follows from one decomposition (Allen
1974, "The relationship between variable selection and data augmentation and a
method for prediction").
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dlcore import data

STRENGTHS = np.logspace(-1, 4, 16)
"""Factors of half the sum of squares in ridge regression."""

HIDDEN = 300
"""Random hidden units."""

CLIP = 3.0
"""Deviations beyond which numbers are compressed."""

MAX_ROWS = 3_000
MAX_OPERATIONS = 2e9
"""Training rows of the sample, and their decomposition."""

MAX_NUMBERS = 2_000
"""Features that are compressed and embedded; wide tables have others too."""


class Sample(NamedTuple):
  """Some training rows."""

  x: np.ndarray
  """Normalized features, float64 `[N, F]`."""

  y: np.ndarray
  """The target, or 1 for the class, float64 `[N, C]`."""

  numbers: np.ndarray
  """Positions of the features that are numbers."""


class Linear(NamedTuple):
  """A ridge regression and its error."""

  error: float
  """Squared error of rows that are left out, relative to that of the mean."""

  strength: float
  clip: float
  transform: str


def take_sample(train: data.Source) -> Sample:
  """Returns a sample that is small enough for a decomposition."""
  schema: Any = train.info.schema
  assert train.arrays is not None
  features, target = train.arrays["features"], train.arrays[schema.target]
  width = features.shape[1] + HIDDEN
  count = int(min(MAX_ROWS, max(MAX_OPERATIONS / width**2, 100)))
  if width > count:
    count = int(min(MAX_ROWS, (MAX_OPERATIONS / width) ** 0.5))
  rows = np.random.default_rng(0).permutation(train.size)[:count]
  mean, deviation = (
    np.asarray(schema.normalization[name]) for name in ("mean", "std")
  )
  y = target[rows].astype(np.float64).reshape(len(rows), -1)
  if schema.classes and not schema.multilabel:
    y = np.eye(len(schema.classes))[target[rows]]
  return Sample(
    (features[rows] - mean) / deviation,
    y + (schema.target_offset or 0.0),
    number_positions(schema, features.shape[1]),
  )


def number_positions(schema: data.Schema, width: int) -> np.ndarray:
  """Returns the positions of the features that are numbers.

  Arrays are numbers only. None of very many are compressed and embedded.
  """
  plan = getattr(schema, "plan", None)
  positions = np.arange(width)
  if plan is not None:
    positions = np.flatnonzero([flag for part in plan for flag in part.scaled])
  return positions if len(positions) <= MAX_NUMBERS else positions[:0]


def leave_one_out(
  sample: Sample, clip: float, transform: str, hidden: int = 0
) -> Linear:
  """Returns the best ridge regression.

  Args:
    sample: training rows.
    clip: deviations beyond which numbers are compressed, or 0.
    transform: "log" for a regression to the logarithm of the target.
    hidden: number of random hidden units added to the features.
  """
  x = compress(sample, clip)
  if hidden:
    x = np.hstack([x, random_units(compress(sample, CLIP), hidden)])
  is_log = transform == "log"
  y = np.log(sample.y) if is_log else sample.y
  mean, deviation = y.mean(0), y.std(0)
  deviation = np.where(deviation > 0, deviation, 1.0)
  errors = []
  for values in ridge_predictions(x, (y - mean) / deviation):
    values = values * deviation + mean
    difference = sample.y - (np.exp(values) if is_log else values)
    errors.append(np.square(difference).mean())
  best = int(np.argmin(errors))
  error = float(errors[best] / max(sample.y.var(0).mean(), 1e-30))
  return Linear(error, float(STRENGTHS[best]), clip, transform)


def ridge_predictions(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
  """Yields predictions of each row from the others, `[N, C]`, by strength.

  Args:
    x: float64 `[N, F]`.
    y: float64 `[N, C]` of mean 0.
  """
  left, scale, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
  projected = left.T @ y
  for strength in STRENGTHS:
    shrinkage = scale**2 / (scale**2 + strength)
    leverage = np.square(left) @ shrinkage + 1 / len(x)
    fitted = left @ (shrinkage[:, None] * projected)
    residual = (y - fitted) / np.maximum(1 - leverage, 1e-6)[:, None]
    yield y - residual


def compress(sample: Sample, clip: float) -> np.ndarray:
  """Returns the features with compressed numbers, as `models.Tabular` does."""
  x = sample.x.copy()
  if clip:
    numbers = x[:, sample.numbers]
    x[:, sample.numbers] = numbers / np.sqrt(1 + np.square(numbers / clip))
  return x


def random_units(x: np.ndarray, count: int) -> np.ndarray:
  """Returns random ReLU units of features, together of their variance."""
  generator = np.random.default_rng(0)
  scale = np.sqrt(np.square(x).sum(1).mean())
  weights = generator.normal(size=(x.shape[1], count)) / max(scale, 1e-6)
  units = np.maximum(x @ weights + generator.uniform(-1, 1, count), 0)
  units -= units.mean(0)
  units *= np.sqrt(x.shape[1] / count) / np.maximum(units.std(0), 1e-6)
  return units


def curvature(sample: Sample, schema: Any) -> float:
  """Returns the factor between the penalties of ridge and logistic regression.

  It is the second derivative of the cross-entropy at the shares of the
  classes, for softmax with a logit for each of C classes.
  """
  if not schema.classes:
    return 1.0
  share = sample.y.mean(0)
  variance = float((share * (1 - share)).mean())
  classes = len(share)
  return variance * (1 if schema.multilabel else classes / (classes - 1))
