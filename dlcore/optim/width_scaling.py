"""Scales of initial values and learning rates by the width of a model (muP).

With them the best learning rate of a narrow model is that of a wide one too.
Yang et al. 2022, "Tensor Programs V" (arXiv:2203.03466), table 3.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from dlcore.errors import UserError
from dlcore.trees import map_with_path

SGD = ("sgd", "momentum", "nesterov")
"""Optimizers whose update is proportional to the gradient."""

ADAM = (
  *("adabelief", "adam", "adamax", "adamw", "adan", "ademamix", "adopt"),
  *("amsgrad", "lion", "nadam", "radam", "schedule_free_adamw", "yogi"),
)
"""Optimizers whose update does not depend on the scale of the gradient."""


class Scale(NamedTuple):
  """Factors of a parameter."""

  initial: float = 1.0
  """Of its initial values."""

  rate: float = 1.0
  """Of its learning rate."""


class Parameter(NamedTuple):
  """An array of the initial model."""

  shape: tuple[int, ...]
  deviation: float
  """Standard deviation of its initial values."""


def width_scales(
  parameters: Mapping[str, Parameter],
  base: Mapping[str, Parameter],
  optimizer: str,
) -> dict[str, Scale]:
  """Returns the factors of every parameter of a model.

  Axes whose sizes differ from those of the base model grow with the width.
  Matrices both of whose sides grow are hidden layers; where the input alone
  grows it is an output layer, where the output alone grows it is an input
  layer, as are vectors.

  Args:
    parameters: of the model, by path.
    base: those of the narrow model, for which all factors are 1.
    optimizer: a key of `OPTIMIZERS`.

  Raises:
    UserError: the models differ in more than sizes, or there are no factors
      for the optimizer.
  """
  if optimizer not in SGD + ADAM:
    raise UserError(
      "expected an optimizer whose learning rates scale with the width",
      f"got {optimizer!r}",
      f"choose from {', '.join(sorted(SGD + ADAM))}",
    )
  differing = parameters.keys() ^ base.keys()
  if differing:
    raise UserError(
      "expected a base model with the same layers, and other sizes",
      f"got one that differs in {min(differing)}",
      "width_scaling names widths alone, such as model.width=64",
    )
  return {
    path: _scale(one, base[path], optimizer in SGD)
    for path, one in parameters.items()
  }


def _scale(one: Parameter, base: Parameter, is_sgd: bool) -> Scale:
  ratios = [a / b for a, b in zip(one.shape, base.shape, strict=True)]
  changed = [axis for axis, ratio in enumerate(ratios) if ratio != 1]
  if not changed:
    return Scale()
  fan_in, fan_out = _growth(ratios, changed)
  # Exponents of the width: of the deviation of the initial values.
  desired = {True: -1.0, False: -0.5}[fan_out == 1] if fan_in != 1 else 0.0
  ratio = fan_in if fan_in != 1 else fan_out
  initial = ratio ** (desired - _exponent(one, base, ratio))
  if fan_in == 1:
    return Scale(initial, fan_out if is_sgd else 1.0)
  is_hidden = fan_out != 1
  return Scale(initial, 1.0 if is_sgd and is_hidden else 1 / fan_in)


def _growth(ratios: list[float], changed: list[int]) -> tuple[float, float]:
  """Returns how much the inputs and the outputs of a layer have grown.

  The last axis that changed is an output, the others are inputs; a single one
  is an input if it is the first axis of a matrix, or the second last one of a
  convolution.
  """
  *inputs, last = changed
  if inputs:
    return math.prod(ratios[axis] for axis in inputs), ratios[last]
  is_matrix = len(ratios) > 1
  is_input = is_matrix and last == (len(ratios) - 2 if len(ratios) > 3 else 0)
  return (ratios[last], 1.0) if is_input else (1.0, ratios[last])


def _exponent(one: Parameter, base: Parameter, ratio: float) -> float:
  """Returns the power of the width that the initial deviation follows.

  Deviations are of samples, so that it is rounded to a half.
  """
  if one.deviation == 0 or base.deviation == 0:
    return 0.0
  measured = math.log(one.deviation / base.deviation) / math.log(ratio)
  return round(2 * measured) / 2


def rate_rules(scales: Mapping[str, Scale]) -> dict[str, float]:
  """Returns the factors of the learning rates that are not 1, by path."""
  return {path: one.rate for path, one in scales.items() if one.rate != 1}


def with_initial_scales(params: Any, scales: Mapping[str, Scale]) -> Any:
  """Returns parameters with their initial values scaled."""
  return map_with_path(
    lambda path, leaf: leaf * scales.get(path, Scale()).initial, params
  )
