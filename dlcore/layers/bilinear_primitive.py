"""Bilinear primitives of JAX with a lowering of their own for CPU.

The custom JVP of a function cannot choose how its transpose is computed. Two
bilinear primitives, each differentiated by the other, can: derivatives of any
order and mode are then as fast as the lowerings.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from dlcore.typing import Array


def define(
  name: str,
  shape: Callable[..., tuple[int, ...]],
  *,
  xla: Callable[..., Array],
  cpu: Callable[..., Array],
  gradients: tuple[Callable[..., Array], Callable[..., Array]],
  batch: Callable[..., tuple[Array, int]],
) -> Primitive:
  """Returns a primitive of two arrays, whose result has the first one's dtype.

  Args:
    name: its name in a jaxpr.
    shape: `(x, y, **settings) -> shape of the result`.
    xla: `(x, y, **settings) -> result`, for all platforms other than CPU.
    cpu: the same for CPU.
    gradients: `(gradient of the result, x, y, **settings) -> gradient` of `x`
      and of `y`; the argument whose gradient is computed has only an `aval`.
    batch: the batching rule, `((x, y), axes, **settings) -> (result, axis)`.
  """
  primitive = Primitive(name)

  def evaluate(*arrays, **settings: Any):
    return jax.jit(partial(primitive.bind, **settings))(*arrays)

  def infer(x, y, **settings: Any):
    return x.update(shape=shape(x, y, **settings))

  primitive.def_impl(evaluate)
  primitive.def_abstract_eval(infer)
  ad.defbilinear(primitive, *gradients)
  batching.primitive_batchers[primitive] = batch
  mlir.register_lowering(primitive, mlir.lower_fun(xla, multiple_results=False))
  lowering = mlir.lower_fun(cpu, multiple_results=False)
  mlir.register_lowering(primitive, lowering, platform="cpu")
  return primitive


def has_replicated_layout(*arrays: Array) -> bool:
  """Returns whether arrays have layouts over devices that a primitive keeps.

  Only of its own primitives does JAX infer explicit layouts.
  """
  kind, *others = (
    jax.typeof(array).update(shape=(0,) * array.ndim) for array in arrays
  )
  return all(kind == other for other in others) and not any(kind.sharding.spec)
