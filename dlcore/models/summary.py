"""What a model consists of, without computing anything."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from dlcore import trees


class Layer(NamedTuple):
  """One submodule that computes something."""

  path: str
  kind: str
  shape: tuple[int, ...]  # of the output, without the batch
  parameters: int
  """Its own, without those of the submodules within it."""


def layers(model: Any, input_shape: Sequence[int]) -> list[Layer]:
  """Returns the layers of a model in the order in which they are called.

  Args:
    model: any Linen module that is called as `(x, train=...)`.
    input_shape: shape of one example, without the batch.
  """
  found: list[Layer] = []

  def record(call, args, kwargs, context):
    output = call(*args, **kwargs)
    if context.method_name == "__call__" and context.module.path:
      module = context.module
      shape = jax.tree.leaves(output)[0].shape[1:]
      params = module.variables.get("params", {})
      own = [leaf for leaf in params.values() if not isinstance(leaf, Mapping)]
      found.append(
        Layer(
          "/".join(module.path),
          type(module).__name__,
          tuple(shape),
          trees.count(own),
        )
      )
    return output

  with nn.intercept_methods(record):
    jax.eval_shape(
      lambda x: model.init(jax.random.key(0), x, train=False),
      jax.ShapeDtypeStruct((1, *input_shape), jnp.float32),
    )
  return found


def flops(model: Any, input_shape: Sequence[int]) -> float:
  """Returns the floating-point operations of one example, forward."""
  x = jax.ShapeDtypeStruct((1, *input_shape), jnp.float32)
  variables = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), x
  )
  apply = jax.jit(lambda variables, x: model.apply(variables, x, train=False))
  cost = apply.lower(variables, x).cost_analysis() or {}
  return float(cost.get("flops", 0.0))


def summary(model: Any, input_shape: Sequence[int]) -> str:
  """Returns the layers, parameters and FLOPs of a model as a table."""
  found = layers(model, input_shape)
  total = sum(layer.parameters for layer in found)
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
  operations = flops(model, input_shape)
  return "\n".join([*lines, f"{operations:,.0f} FLOPs an example, forward"])


def _by(shape: Sequence[int]) -> str:
  return "x".join(map(str, shape))
