"""Layers, parameters and FLOPs of models, from abstract evaluation."""

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
  """One submodule of a model."""

  path: str
  kind: str
  """Name of its class."""

  shape: tuple[int, ...]
  """Shape of its output without the batch axis."""

  parameters: int
  """Number of parameters, without those of its submodules."""


NUM_TOKENS = 128
"""Sequence length of example inputs."""


def example_inputs(
  model: Any, like: jax.ShapeDtypeStruct
) -> tuple[jax.ShapeDtypeStruct, ...]:
  """Returns shapes and dtypes of the inputs of a model, with batch size 1.

  Args:
    model: a Linen module; the required positional arguments of its `__call__`
      are its inputs.
    like: `[1, ...]`, shape and dtype of an example of the data. Models of token
      ids take int32 `[1, T]` instead if the data are not integers.

  Returns:
    One element for each input; encoder-decoders have two.
  """
  parameters = list(inspect.signature(type(model).__call__).parameters.values())
  inputs = [
    parameter.name
    for parameter in parameters[1:]
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    and parameter.default is parameter.empty
  ]
  takes_ids = inputs[0] == "input_ids" or getattr(model, "vocab_size", 0)
  if not takes_ids or jnp.issubdtype(like.dtype, jnp.integer):
    return (like,) * len(inputs)
  length = min(NUM_TOKENS, getattr(model, "max_length", NUM_TOKENS))
  return (jax.ShapeDtypeStruct((1, length), jnp.int32),) * len(inputs)


def list_layers(model: Any, *inputs: jax.ShapeDtypeStruct) -> list[LayerInfo]:
  """Returns the layers of a model in the order of their calls.

  Args:
    model: a Linen module that is called as `(*inputs, train=...)`.
    *inputs: arrays, or their shapes and dtypes, with batch size 1.
  """
  rows: list[LayerInfo] = []
  counted: set[tuple[str, ...]] = set()

  def record(call, args, kwargs, context):
    output = call(*args, **kwargs)
    if context.method_name == "__call__":
      module = context.module
      params = module.variables.get("params", {})
      own = [leaf for leaf in params.values() if not isinstance(leaf, Mapping)]
      own = [] if module.path in counted else own  # It is called again.
      counted.add(module.path)
      if module.path or own:
        path = "/".join(module.path) or "."
        shape = jax.tree.leaves(output)[0].shape[1:]
        kind = type(module).__name__
        rows.append(LayerInfo(path, kind, tuple(shape), trees.count(own)))
    return output

  with nn.intercept_methods(record):
    _variable_shapes(model, inputs)
  return rows


def flops(model: Any, *inputs: jax.ShapeDtypeStruct) -> int:
  """Counts the floating-point operations of a forward pass.

  A multiply-add of a matrix product or a convolution counts as two. Other
  operations are not counted.

  Takes the arguments of `list_layers`.
  """
  traced = jax.make_jaxpr(partial(model.apply, train=False))(
    _variable_shapes(model, inputs), *inputs
  )
  return _jaxpr_flops(traced.jaxpr)


def _jaxpr_flops(jaxpr: Any) -> int:
  return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: Any) -> int:
  """Counts the operations of one equation, including all steps of a scan."""
  primitive, params = equation.primitive.name, equation.params
  inner = [_jaxpr_flops(jaxpr) for jaxpr in jaxprs_in_params(params)]
  if primitive == "cond":  # The formulation with the matrix products.
    return max(inner)
  if primitive == "scan":
    return params["length"] * sum(inner)
  size = math.prod(equation.outvars[0].aval.shape) if equation.outvars else 0
  if primitive == "dot_general":
    (contracted, _), _ = params["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    return 2 * size * math.prod(shape[axis] for axis in contracted)
  if primitive == "conv_general_dilated":
    kernel = equation.invars[1].aval.shape
    features = kernel[params["dimension_numbers"].rhs_spec[0]]
    return 2 * size * math.prod(kernel) // features
  return sum(inner)


def _variable_shapes(model, inputs):
  return jax.eval_shape(
    lambda *inputs: model.init(jax.random.key(0), *inputs, train=False), *inputs
  )


def summary(model: Any, *inputs: jax.ShapeDtypeStruct) -> str:
  """Returns the layers, parameters and FLOPs of a model as a table.

  Takes the arguments of `list_layers`.
  """
  layers = list_layers(model, *inputs)
  total = trees.count(_variable_shapes(model, inputs)["params"])
  rows = [
    ("layer", "kind", "output", "parameters"),
    *(
      (layer.path, layer.kind, _join(layer.shape), f"{layer.parameters:,}")
      for layer in layers
    ),
    ("total", type(model).__name__, "", f"{total:,}"),
  ]
  path, kind, shape, count = (
    max(map(len, column)) for column in zip(*rows, strict=True)
  )
  lines = [
    f"{a:{path}}  {b:{kind}}  {c:>{shape}}  {d:>{count}}" for a, b, c, d in rows
  ]
  operations = flops(model, *inputs)
  return "\n".join([*lines, f"{operations:,.0f} FLOPs per example, forward"])


def _join(shape: Sequence[int]) -> str:
  return "x".join(map(str, shape))
