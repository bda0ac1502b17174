"""What a model consists of, without computing anything."""

import inspect
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.extend.core import jaxprs_in_params

from dlcore import trees


class LayerInfo(NamedTuple):
  """One submodule that computes something."""

  path: str
  kind: str
  shape: tuple[int, ...]  # of the output, without the batch
  parameters: int
  """Its own, without those of the submodules within it."""


TOKENS = 128
"""The length of a text that stands for all, where nothing tells another."""


def example_inputs(
  model: Any, like: jax.ShapeDtypeStruct
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns the shapes of what a model is called with, a batch of one each.

  Args:
    model: a Linen module.
    like: `[1, ...]`, an example of some data. Models of text, which cannot
      read data of another kind, get int32 `[1, T]` in its place, encoders with
      a decoder twice.
  """
  parameters = list(inspect.signature(type(model).__call__).parameters.values())
  reads = [p for p in parameters[1:] if p.kind is p.POSITIONAL_OR_KEYWORD]
  needed = [p.name for p in reads if p.default is p.empty]
  of_text = needed[0] == "input_ids" or getattr(model, "vocab_size", 0)
  if not of_text or jnp.issubdtype(like.dtype, jnp.integer):
    return (like,) * len(needed)
  length = min(TOKENS, getattr(model, "max_length", TOKENS))
  return (jax.ShapeDtypeStruct((1, length), jnp.int32),) * len(needed)


def list_layers(model: Any, *inputs: jax.ShapeDtypeStruct) -> list[LayerInfo]:
  """Returns the layers of a model in the order in which they are called.

  Args:
    model: any Linen module that is called as `(*inputs, train=...)`.
    *inputs: arrays, or their shapes and dtypes, with a batch of one.
  """
  found: list[LayerInfo] = []
  counted: set[tuple[str, ...]] = set()

  def record(call, args, kwargs, context):
    output = call(*args, **kwargs)
    if context.method_name == "__call__":
      module = context.module
      shape = jax.tree.leaves(output)[0].shape[1:]
      params = module.variables.get("params", {})
      own = [leaf for leaf in params.values() if not isinstance(leaf, Mapping)]
      own = [] if module.path in counted else own  # It is called again.
      counted.add(module.path)
      if not (module.path or own):
        return output
      found.append(
        LayerInfo(
          "/".join(module.path) or ".",
          type(module).__name__,
          tuple(shape),
          trees.count(own),
        )
      )
    return output

  with nn.intercept_methods(record):
    _variables(model, inputs)
  return found


def flops(model: Any, *inputs: jax.ShapeDtypeStruct) -> int:
  """Returns the floating-point operations of a forward pass.

  Those of matrix products and convolutions, two for a multiplication and the
  addition of its result; all else is little, and counted nowhere.

  Arguments are those of `list_layers`.
  """
  traced = jax.make_jaxpr(partial(model.apply, train=False))(
    _variables(model, inputs), *inputs
  )
  return _operations(traced.jaxpr)


def _operations(jaxpr: Any) -> int:
  return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
  """Returns the operations of one equation of a program, loops run through."""
  kind, params = equation.primitive.name, equation.params
  inner = [_operations(part) for part in jaxprs_in_params(params)]
  if kind == "cond":  # Of formulations, the one that has it in products.
    return max(inner)
  if kind == "scan":
    return params["length"] * sum(inner)
  size = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
  if kind == "dot_general":
    (summed, _), _ = params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * size * math.prod(shape[axis] for axis in summed)
  if kind == "conv_general_dilated":
    kernel = equation.invars[1].aval.shape
    features = kernel[params["dimension_numbers"].rhs_spec[0]]
    return 2 * size * math.prod(kernel) // features
  return sum(inner)


def _variables(model, inputs):
  return jax.eval_shape(
    lambda *inputs: model.init(jax.random.key(0), *inputs, train=False), *inputs
  )


def summary(model: Any, *inputs: jax.ShapeDtypeStruct) -> str:
  """Returns the layers, parameters and FLOPs of a model as a table.

  Arguments are those of `list_layers`.
  """
  found = list_layers(model, *inputs)
  total = trees.count(_variables(model, inputs)["params"])
  rows = [
    ("layer", "kind", "output", "parameters"),
    *((r.path, r.kind, _by(r.shape), f"{r.parameters:,}") for r in found),
    ("total", type(model).__name__, "", f"{total:,}"),
  ]
  path, kind, shape, count = (
    max(map(len, column)) for column in zip(*rows, strict=True)
  )
  lines = [
    f"{a:{path}}  {b:{kind}}  {c:>{shape}}  {d:>{count}}" for a, b, c, d in rows
  ]
  operations = flops(model, *inputs)
  return "\n".join([*lines, f"{operations:,.0f} FLOPs an example, forward"])


def _by(shape: Sequence[int]) -> str:
  return "x".join(map(str, shape))
