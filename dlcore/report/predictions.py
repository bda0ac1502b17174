"""What the page knows about predictions: the arrays of `predictions.npz`."""

from collections.abc import Callable

import numpy as np

WORST = 24
"""How many of the worst examples are kept, M."""

Read = Callable[[np.ndarray], np.ndarray]
"""`(indices int32[M]) -> inputs [M, ...]`."""


def classification(
  split: str, labels: np.ndarray, probabilities: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  """Returns every prediction of a classifier, and its most confident mistakes.

  Args:
    split: what was predicted, `"test"` or `"valid"`.
    labels: int `[N]`, the true classes.
    probabilities: float `[N, C]`.
    read: gives the inputs of the worst examples.

  Returns:
    `split`, `label`, `prediction`, `probability` (of the predicted class,
    `[N]`) and, where there are mistakes, `worst_index`, `worst_input`,
    `worst_label`, `worst_prediction`, `worst_probability` (`[M]`).
  """
  probabilities = np.asarray(probabilities, np.float32)
  prediction = probabilities.argmax(-1)
  rows = {
    "label": np.asarray(labels, np.int32),
    "prediction": prediction.astype(np.int32),
    "probability": probabilities[np.arange(len(prediction)), prediction],
  }
  wrong = np.flatnonzero(rows["prediction"] != rows["label"])
  order = np.argsort(-rows["probability"][wrong], kind="stable")
  return _with_worst(split, rows, wrong[order][:WORST], read)


def regression(
  split: str, target: np.ndarray, prediction: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  """Returns every prediction of a regression, and its largest errors.

  Args:
    split: what was predicted, `"test"` or `"valid"`.
    target: float `[N]`, the true values.
    prediction: float `[N]`, on the same scale.
    read: gives the inputs of the worst examples.

  Returns:
    `split`, `target`, `prediction` (`[N]`) and `worst_index`, `worst_input`,
    `worst_target`, `worst_prediction` (`[M]`).
  """
  rows = {
    "target": np.asarray(target, np.float32),
    "prediction": np.asarray(prediction, np.float32),
  }
  error = np.abs(rows["prediction"] - rows["target"])
  order = np.argsort(-error, kind="stable")
  return _with_worst(split, rows, order[:WORST], read)


def _with_worst(
  split: str, rows: dict[str, np.ndarray], worst: np.ndarray, read: Read
) -> dict[str, np.ndarray]:
  found = {"split": np.asarray(split), **rows}
  if len(worst) == 0:  # Not every reader can read nothing.
    return found
  worst = worst.astype(np.int32)
  return {
    **found,
    "worst_index": worst,
    "worst_input": displayable(np.asarray(read(worst))),
    **{f"worst_{name}": values[worst] for name, values in rows.items()},
  }


def displayable(inputs: np.ndarray) -> np.ndarray:
  """Returns images as uint8 `[M, Y, X, C]`, anything else as float32.

  Images of another type are scaled together, smallest value to largest.
  """
  if inputs.ndim == 3:
    inputs = inputs[..., None]
  if inputs.ndim != 4:
    return inputs.astype(np.float32)
  if inputs.dtype == np.uint8:
    return inputs
  values = np.nan_to_num(inputs.astype(np.float32), posinf=0.0, neginf=0.0)
  low, high = values.min(), values.max()
  scale = 255.0 / (high - low) if high > low else 0.0
  return np.rint((values - low) * scale).astype(np.uint8)
