"""Parameters of trials as points of the unit cube."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna import distributions

from dlcore.search.space import is_number

Distributions = Mapping[str, distributions.BaseDistribution]

MOST_LEVELS = 32
"""Integers with more values are treated as continuous, and rounded."""

INACTIVE = 0.5
"""Coordinate of a parameter that a trial does not have."""


class Axis:
  """The coordinate of one parameter, in [0, 1].

  Attributes:
    levels: all coordinates in ascending order, None if they are continuous.
    is_nominal: whether the values have no order; a model then needs an
      indicator of each.
  """

  def __init__(self, distribution: distributions.BaseDistribution):
    """Prepares the coordinates of a distribution of Optuna."""
    self._distribution: Any = distribution
    self.levels: np.ndarray | None = None
    self.is_nominal = False
    match distribution:
      case distributions.CategoricalDistribution():
        self._values = list(distribution.choices)
        self.is_nominal = not all(map(is_number, self._values))
        if not self.is_nominal:
          self._values.sort()
        self.levels = (np.arange(len(self._values)) + 0.5) / len(self._values)
      case distributions.FloatDistribution() | distributions.IntDistribution():
        low, high = float(distribution.low), float(distribution.high)
        step = distribution.step
        if step:  # Every value has an interval of the same length.
          low, high = low - step / 2, high + step / 2
        self._low, self._high = self._scaled(low), self._scaled(high)
        count = round((distribution.high - distribution.low) / (step or 1)) + 1
        if step and count <= MOST_LEVELS:
          values = distribution.low + step * np.arange(count)
          self.levels = np.array([self.encode(value) for value in values])
      case _:
        raise ValueError(f"unknown distribution: {distribution}")

  def encode(self, value: Any) -> float:
    """Returns the coordinate of a value."""
    if isinstance(self._distribution, distributions.CategoricalDistribution):
      return (self._values.index(value) + 0.5) / len(self._values)
    unit = self._scaled(float(value)) - self._low
    return float(np.clip(unit / max(self._high - self._low, 1e-300), 0, 1))

  def decode(self, coordinate: float) -> Any:
    """Returns the value whose coordinate is nearest."""
    distribution = self._distribution
    if isinstance(distribution, distributions.CategoricalDistribution):
      index = int(coordinate * len(self._values))
      return self._values[min(index, len(self._values) - 1)]
    value = self._low + coordinate * (self._high - self._low)
    value = math.exp(value) if distribution.log else value
    low, step = distribution.low, distribution.step
    if step:
      value = low + round((value - low) / step) * step
    value = min(max(value, low), distribution.high)
    is_integer = isinstance(distribution, distributions.IntDistribution)
    return round(value) if is_integer else float(value)

  def _scaled(self, value: float) -> float:
    return math.log(value) if self._distribution.log else value


class Encoding:
  """The coordinates of several parameters."""

  def __init__(self, space: Distributions):
    """Prepares the coordinates of the parameters of `space`."""
    self.axes = {name: Axis(one) for name, one in space.items()}
    self.discrete = [
      (index, axis.levels)
      for index, axis in enumerate(self.axes.values())
      if axis.levels is not None
    ]
    """Indices and levels of the coordinates that have a few levels."""

  def encode(self, parameters: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Returns the coordinates of trials, `[N, P]`."""
    rows = [
      [
        axis.encode(one[name]) if name in one else INACTIVE
        for name, axis in self.axes.items()
      ]
      for one in parameters
    ]
    return np.array(rows, np.float64).reshape(len(rows), len(self.axes))

  def decode(self, point: np.ndarray) -> dict[str, Any]:
    """Returns the values at a point `[P]`."""
    return {
      name: axis.decode(coordinate)
      for (name, axis), coordinate in zip(self.axes.items(), point, strict=True)
    }

  def snap(self, points: np.ndarray) -> np.ndarray:
    """Returns points `[M, P]` with the nearest levels."""
    snapped = points.copy()
    for index, levels in self.discrete:
      distances = np.abs(points[:, index, None] - levels)
      snapped[:, index] = levels[np.argmin(distances, axis=1)]
    return snapped

  def features(self, points: np.ndarray) -> np.ndarray:
    """Returns the inputs `[M, D]` of a model, for points `[M, P]`.

    Values without an order have an indicator each, scaled so that two
    different values have the distance 1.
    """
    columns = []
    for index, axis in enumerate(self.axes.values()):
      column = points[:, index]
      if axis.is_nominal:
        assert axis.levels is not None
        near = np.abs(column[:, None] - axis.levels) < 0.25 / len(axis.levels)
        columns.append(near / math.sqrt(2))
      else:
        columns.append(column[:, None])
    return np.concatenate(columns, axis=1)

  @property
  def continuous(self) -> list[tuple[int, int]]:
    """The indices of continuous coordinates, in points and in features."""
    pairs, feature = [], 0
    for index, axis in enumerate(self.axes.values()):
      if axis.levels is None:
        pairs.append((index, feature))
      feature += len(axis.levels) if axis.is_nominal else 1  # pyright: ignore
    return pairs
