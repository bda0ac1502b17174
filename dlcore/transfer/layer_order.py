"""The layers of any model from its input to its output, by their parameters."""

import itertools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.extend import core

from dlcore import trees
from dlcore.typing import Params

NUMBER = re.compile(r"\d+")


class Layer(NamedTuple):
  """Parameters that belong together."""

  name: str
  """Such as "encoder/block_0" or "head"."""

  paths: tuple[str, ...]
  """Of its parameters."""

  is_numbered: bool
  """Whether it is one of several alike, such as a block."""


def layer_order(
  function: Callable[[Params], Any], params: Params
) -> tuple[Layer, ...]:
  """Returns the layers in the order in which a model uses them.

  A layer is what a path names up to its first number: the blocks of a
  transformer, the stages of a ResNet, the layers of a recurrent network with
  both directions. Other parameters belong to the layer of the first part of
  their path; all of them before the first numbered layer are one layer, the
  embeddings. Parameters of a single axis, as those of a norm, are no layer of
  their own but belong to the one before. The order is that of the first
  operation with one of the parameters: it does not follow from the names.

  Args:
    function: of the parameters, such as the outputs of the model; it is traced.
    params: nested dict of arrays or of their shapes.
  """
  used = _first_uses(function, params)
  shapes = trees.flatten(params)
  named: dict[str, list[str]] = {}
  for path in sorted(used, key=lambda path: used[path]):
    named.setdefault(_name(path), []).append(path)
  has_numbers = any(map(NUMBER.search, named))
  layers: list[Layer] = []
  for name, paths in named.items():
    layer = Layer(name, tuple(paths), bool(NUMBER.search(name)))
    is_vector = all(len(shapes[path].shape) < 2 for path in paths)
    before = not any(known.is_numbered for known in [*layers, layer])
    if layers and (is_vector or (has_numbers and before)):
      last = layers.pop()
      layer = last._replace(paths=(*last.paths, *paths))
    layers.append(layer)
  return tuple(layers)


def _name(path: str) -> str:
  """Returns the name of the layer of a parameter."""
  parts = path.split("/")[:-1] or [path]
  for i, part in enumerate(parts):
    if match := NUMBER.search(part):
      # layer_0_forward and layer_0_backward are one layer.
      return "/".join([*parts[:i], part[: match.end()]])
  return parts[0]


def _first_uses(
  function: Callable[[Params], Any], params: Params
) -> dict[str, int]:
  """Returns when each parameter is used first, by path; unused ones last."""
  closed = jax.make_jaxpr(function)(params)
  clock = _Clock()
  paths = list(trees.flatten(params))
  variables = closed.jaxpr.invars
  clock.follow(
    closed.jaxpr, {v: [p] for v, p in zip(variables, paths, strict=True)}
  )
  return {path: clock.first.get(path, clock.now + 1) for path in paths}


class _Clock:
  """Counts operations, and notes when parameters are used."""

  def __init__(self):
    self.now = 0
    self.first: dict[str, int] = {}

  def follow(self, jaxpr: core.Jaxpr, names: dict[Any, list[str]]) -> None:
    """Reads the operations of a program in their order.

    Args:
      jaxpr: the program.
      names: the parameters that a variable is, or that it was converted from.
    """
    names = dict(names)
    for equation in jaxpr.eqns:
      self.now += 1
      known = [
        names.get(v, []) if not isinstance(v, core.Literal) else []
        for v in equation.invars
      ]
      if not any(known):
        continue
      inner = _inner(equation)
      if inner is not None and len(inner.invars) == len(known):
        self.follow(inner, dict(zip(inner.invars, known, strict=True)))
        continue
      if equation.primitive.name in ("convert_element_type", "copy"):
        [names[equation.outvars[0]]] = [known[0]]
        continue
      for path in itertools.chain(*known):
        self.first.setdefault(path, self.now)


def _inner(equation: Any) -> Any:
  """Returns the program that an operation calls, or None."""
  for value in equation.params.values():
    if isinstance(value, core.ClosedJaxpr):
      return value.jaxpr
    if isinstance(value, core.Jaxpr):
      return value
  return None
