"""Decisions for classes or labels from their logits, and their thresholds."""

from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dlcore.data.source import Arrays
from dlcore.errors import UserError, check_choice
from dlcore.metrics import best_threshold
from dlcore.metrics.threshold import CRITERIA
from dlcore.typing import Array

DEFAULT = 0.5
"""Threshold of a label without one of its own."""

Thresholds = tuple[float, ...]

Column = tuple[np.ndarray, np.ndarray]
"""Probabilities and truth of one label, both `[N]`."""

Tune = Callable[[Arrays, Arrays], dict[str, Any]]
"""`(predictions, targets)` of a whole split -> settings of the task."""


def decide_class(logits: Array, thresholds: Thresholds = ()) -> Array:
  """Returns the predicted class, int32 `[B]`; -1 if a logit is NaN.

  Args:
    logits: `[B, C]`.
    thresholds: the least probability of the second of two classes with which
      it is predicted; empty for the most probable class.
  """
  best = jnp.argmax(logits, axis=-1)
  if thresholds:
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    best = (probabilities[:, 1] >= thresholds[0]).astype(best.dtype)
  return jnp.where(jnp.isnan(logits).any(-1), -1, best)


def decide_labels(probabilities: Array, thresholds: Thresholds = ()) -> Array:
  """Returns the predicted labels, bool `[B, C]`; none if they are NaN.

  Args:
    probabilities: `[B, C]`.
    thresholds: the least probability of a predicted label: of each, or one for
      all; empty for 0.5.
  """
  limits = jnp.asarray(thresholds or DEFAULT, jnp.float32)
  return probabilities >= limits


def check_thresholds(
  thresholds: Any, tune_thresholds: str, count: int | None
) -> Thresholds:
  """Returns the thresholds as floats.

  Args:
    thresholds: the setting.
    tune_thresholds: a key of `CRITERIA`, or empty.
    count: the most thresholds; None if it is not known yet.

  Raises:
    UserError: they are not numbers from 0 to 1, or too many, or the criterion
      is unknown.
  """
  if tune_thresholds:
    check_choice("tune_thresholds", tune_thresholds, CRITERIA)
  values = tuple(thresholds) if np.iterable(thresholds) else (thresholds,)
  if not all(isinstance(v, Real) and 0 <= float(v) <= 1 for v in values):
    raise UserError(
      "expected thresholds to be probabilities from 0 to 1",
      f"got {thresholds!r}",
    )
  if count is not None and len(values) not in (0, 1, count):
    raise UserError(
      f"expected at most {count} thresholds, or one for all",
      f"got {len(values)}",
    )
  return tuple(map(float, values))


def tune_class(settings: Mapping[str, Any]) -> Tune | None:
  """Returns the choice of `thresholds` for two classes; see `TaskKind.tune`.

  More classes get no threshold.
  """

  def columns(rows: Arrays, targets: Arrays) -> list[Column]:
    probabilities = rows["probabilities"]
    if probabilities.shape[-1] != 2:
      return []
    return [(probabilities[:, 1], targets["label"] == 1)]

  return _tuner(settings, columns)


def tune_labels(settings: Mapping[str, Any]) -> Tune | None:
  """Returns the choice of `thresholds`, one for each label."""

  def columns(rows: Arrays, targets: Arrays) -> list[Column]:
    truth = targets["label"] > 0.5
    return list(zip(rows["probabilities"].T, truth.T, strict=True))

  return _tuner(settings, columns)


def _tuner(
  settings: Mapping[str, Any],
  columns: Callable[[Arrays, Arrays], list[Column]],
) -> Tune | None:
  """Returns the function that chooses thresholds, None if it is off.

  Args:
    settings: of the task; `tune_thresholds` names the criterion.
    columns: `(predictions, targets)` -> a column for each threshold.
  """
  criterion = settings.get("tune_thresholds", "")
  if not criterion:
    return None

  def tune(rows: Arrays, targets: Arrays) -> dict[str, Any]:
    weights = targets.get("weight")
    thresholds = [
      best_threshold(probabilities, positive, weights, criterion=criterion)
      for probabilities, positive in columns(rows, targets)
    ]
    return {"thresholds": thresholds} if thresholds else {}

  return tune
