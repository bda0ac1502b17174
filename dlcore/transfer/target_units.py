"""Output layers of regressions in the units of the target.

A model of `tasks.regression` predicts the normalized target. Other libraries
have no normalization of targets, so the output layer that is written contains
it. The entry `target_normalization` of config.json has the mean and the
standard deviation, with which loading restores the original output layer.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from dlcore import trees
from dlcore.errors import UserError
from dlcore.filesystem import quoted
from dlcore.typing import PyTree

ENTRY = "target_normalization"
"""`{"mean": float, "std": float}`."""

FILE = "target_normalization.json"
"""File with the entry in a folder of PEFT, whose config has no place for it."""

KERNEL, BIAS = "params/head/kernel", "params/head/bias"


class TargetUnits(NamedTuple):
  """Mean and standard deviation of the target."""

  mean: float
  std: float

  def to_units(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns arrays whose output layer predicts the target itself.

    Args:
      arrays: variables of the model by path.

    Raises:
      UserError: the model has no output layer of one number, or no bias to
        which the mean is added.
    """
    if not has_one_output(arrays):
      raise UserError(
        f"expected an output layer of one number for {ENTRY}",
        f"got {list(np.shape(arrays[KERNEL])) if KERNEL in arrays else 'none'}",
        f"remove {ENTRY} from config",
      )
    if BIAS not in arrays and self.mean:
      raise UserError(
        f"expected an output layer with a bias, to which the mean of the "
        f"target, {self.mean:.6g}, is added",
        "got one without a bias, as GPT-2 and Llama have in transformers",
        "choose family='dlcore', whose config.json has the normalization",
      )
    changed = {KERNEL: _scaled(arrays[KERNEL], self.std, 0.0)}
    if BIAS in arrays:
      changed[BIAS] = _scaled(arrays[BIAS], self.std, self.mean)
    return {**arrays, **changed}

  def from_units(self, path: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of an output layer of `to_units` as it was, in float64.

    Others are unchanged.

    Args:
      path: of the array in the model.
      array: in the model's layout.
    """
    if path not in (KERNEL, BIAS) or array.shape[-1:] != (1,):
      return array
    mean = self.mean if path == BIAS else 0.0
    return (np.asarray(array, np.float64) - mean) / self.std


def read(config: Mapping[str, Any] | None) -> TargetUnits | None:
  """Returns the entry of a config.json, None without one.

  Raises:
    UserError: it is malformed.
  """
  entry = (config or {}).get(ENTRY)
  if entry is None:
    return None
  values = [entry.get(k) for k in ("mean", "std")] if _is_object(entry) else []
  is_valid = len(values) == 2 and all(map(_is_finite, values))
  if not is_valid or not values[1] > 0:
    raise UserError(
      f"expected {ENTRY} in config.json to be a mean and an std above 0",
      f"got {quoted(entry)}",
      "remove it if the outputs of the model are not those of a regression",
    )
  return TargetUnits(*map(float, values))


def in_units(variables: PyTree, units: TargetUnits | None) -> PyTree:
  """Returns variables whose output layer predicts the target itself.

  Raises:
    UserError: see `TargetUnits.to_units`.
  """
  if units is None:
    return variables
  return trees.restore(variables, units.to_units(trees.flatten(variables)))


def has_one_output(arrays: Mapping[str, Any]) -> bool:
  """Returns whether a model has an output layer of one number."""
  return KERNEL in arrays and np.shape(arrays[KERNEL])[-1:] == (1,)


def _scaled(array: Any, factor: float, summand: float) -> np.ndarray:
  """Returns `array * factor + summand`, computed in float64."""
  values = np.asarray(array)
  exact = values.astype(np.float64) * factor + summand
  return exact.astype(values.dtype)


def _is_object(value: Any) -> bool:
  return isinstance(value, Mapping)


def _is_finite(value: Any) -> bool:
  return type(value) in (int, float) and math.isfinite(value)
