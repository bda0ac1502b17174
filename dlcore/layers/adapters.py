"""Low-rank updates of dense layers, and kernels of 8-bit integers.

`adapted` changes the layers of any model while it is traced, as `interception`
does. `merged_kernel` is the definition of an update.
"""

import contextlib
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from dlcore.layers.dropout import dropout as drop
from dlcore.tracing import is_zero
from dlcore.typing import Array

ADAPTERS = "adapters"
"""Collection of the arrays of `adapted`, at the paths of the dense layers."""

A, B, MAGNITUDE = "a", "b", "magnitude"
"""`[..., in, R]`, `[..., R, out]`, and of DoRA `[..., out]`, float32. Of other
layers A is `[..., in, R]` for a kernel `[..., in, out]`, and B `[R, out]`."""

SCALES = "scales"
"""`[..., out]`: the value of a 1 in a kernel of 8-bit integers."""

LARGEST = 127


@contextlib.contextmanager
def adapted(
  scale: float | Array, dropout: float | Array = 0.0
) -> Iterator[None]:
  """Adds low-rank updates to the outputs of dense layers.

  A layer `x W` with `a` and `b` in the collection `ADAPTERS` computes
  `x W + scale (x a) b`, so that no gradient of a whole kernel is ever needed
  (LoRA, Hu et al. 2021, arXiv:2106.09685). With a `magnitude` it is divided by
  the norms of the columns of `W + scale a b`, which are constants in the
  gradient, and multiplied by the magnitude (DoRA, Liu et al. 2024,
  arXiv:2402.09353). With `scales`, the kernel holds 8-bit integers.

  Args:
    scale: of the update.
    dropout: rate at which the inputs of the update are dropped; it needs the
      key "dropout" in `apply`.
  """

  def intercept(next_method, args, kwargs, context):
    module = context.module
    is_call = context.method_name == "__call__"
    if not (is_call and isinstance(module, nn.Dense)):
      return next_method(*args, **kwargs)
    adapter = module.variables.get(ADAPTERS)
    if not adapter:
      return next_method(*args, **kwargs)
    return _dense(module, adapter, *args, **kwargs, scale=scale, rate=dropout)

  with nn.intercept_methods(intercept):
    yield


@contextlib.contextmanager
def dense_layers(paths: set[str]) -> Iterator[None]:
  """Adds the paths of the kernels of all dense layers that are traced."""

  def intercept(next_method, args, kwargs, context):
    if isinstance(context.module, nn.Dense):
      paths.add("/".join((*context.module.path, "kernel")))
    return next_method(*args, **kwargs)

  with nn.intercept_methods(intercept):
    yield


def merged_kernel(
  kernel: Array, adapter: Mapping[str, Array], scale: float | Array
) -> Array:
  """Returns the float32 kernel of the same layer without an adapter.

  Args:
    kernel: `[..., in, out]`, of any dtype.
    adapter: its arrays, see `A`, `B`, `MAGNITUDE` and `SCALES`.
    scale: of the update.
  """
  whole = dequantized(kernel, adapter.get(SCALES))
  if A not in adapter:
    return whole
  whole = whole + scale * jnp.matmul(adapter[A], adapter[B])
  if MAGNITUDE not in adapter:
    return whole
  norms = column_norms(whole, stacked=adapter[B].ndim == kernel.ndim)
  factors = adapter[MAGNITUDE] / jax.lax.stop_gradient(norms)
  return whole * factors[..., None, :]


def column_norms(kernel: Array, *, stacked: bool = True) -> Array:
  """Returns the norms of the weights of each output.

  Args:
    kernel: `[..., in, out]`.
    stacked: whether the leading axes are those of several layers, for norms
      `[..., out]`, or of one, such as a convolution, for norms `[out]`.
  """
  axes = -2 if stacked else tuple(range(kernel.ndim - 1))
  return jnp.sqrt(jnp.square(kernel.astype(jnp.float32)).sum(axes))


def quantized(kernel: Array) -> tuple[Array, Array]:
  """Returns a kernel as 8-bit integers, and the value of a 1 in each column.

  Args:
    kernel: float `[..., in, out]`.

  Returns:
    int8 `[..., in, out]` from -127 to 127, and float32 `[..., out]`.
  """
  kernel = jnp.asarray(kernel, jnp.float32)
  scales = jnp.abs(kernel).max(-2) / LARGEST
  steps = kernel / jnp.where(scales > 0, scales, 1.0)[..., None, :]
  return jnp.rint(steps).astype(jnp.int8), scales


def dequantized(kernel: Array, scales: Array | None) -> Array:
  """Returns the float32 kernel, see `quantized`; of a float one without."""
  values = kernel.astype(jnp.float32)
  return values if scales is None else values * scales[..., None, :]


def _dense(
  module: nn.Dense,
  adapter: Mapping[str, Array],
  inputs: Array,
  *,
  scale: float | Array,
  rate: float | Array,
) -> Array:
  """Returns the output of a dense layer with an adapter."""
  params = module.variables["params"]
  kernel, bias = params["kernel"], params.get("bias")
  dtype = module.dtype or jnp.result_type(inputs, jnp.float32)
  x = inputs.astype(dtype)
  if SCALES in adapter:
    y = _quantized_matmul(x, kernel, adapter[SCALES])
  else:
    y = jnp.matmul(x, kernel.astype(dtype), precision=module.precision)
  if A in adapter:
    dropped = x
    if not is_zero(rate) and module.has_rng("dropout"):
      dropped = drop(module.make_rng("dropout"), x, rate)
    a, b = (adapter[name].astype(dtype) for name in (A, B))
    y = y + jnp.asarray(scale, dtype) * ((dropped @ a) @ b)
  if MAGNITUDE in adapter:
    update = {k: v for k, v in adapter.items() if k != MAGNITUDE}
    norms = column_norms(merged_kernel(kernel, update, scale))
    factors = adapter[MAGNITUDE] / jax.lax.stop_gradient(norms)
    y = y * factors.astype(dtype)
  return y if bias is None else y + bias.astype(dtype)


@jax.custom_vjp
def _quantized_matmul(x: Array, kernel: Array, scales: Array) -> Array:
  """Returns `x [..., in]` times a kernel of integers `[in, out]`.

  Only the integers are kept for the gradient with respect to `x`.
  """
  return x @ dequantized(kernel, scales).astype(x.dtype)


def _forward(x: Array, kernel: Array, scales: Array):
  return _quantized_matmul(x, kernel, scales), (kernel, scales)


def _backward(saved: tuple[Array, Array], gradient: Array):
  kernel, scales = saved
  whole = dequantized(kernel, scales).astype(gradient.dtype)
  none = np.zeros(kernel.shape, jax.dtypes.float0)
  return gradient @ whole.swapaxes(-1, -2), none, jnp.zeros_like(scales)


_quantized_matmul.defvjp(_forward, _backward)
