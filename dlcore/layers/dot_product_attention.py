"""Scaled dot-product attention, formulated for each backend.

Vaswani et al. 2017, arXiv:1706.03762. In addition to the letters of
`dlcore/typing.py`, G is the number of key/value heads, each of which is shared
by H / G query heads (Ainslie et al. 2023, arXiv:2305.13245).
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.mask import causal_mask
from dlcore.typing import Array


def attention(
  query: Array,
  key: Array,
  value: Array,
  *,
  mask: Array | None = None,
  bias: Array | None = None,
  causal: bool = False,
  scale: float | None = None,
) -> Array:
  """Computes scaled dot-product attention.

  A query whose keys are all masked returns zeros and has a gradient of zeros.
  In half precision and without mask and bias, NVIDIA GPUs use the kernel of
  cuDNN, which never stores the weights (Dao et al. 2022, arXiv:2205.14135),
  if JAX supports the shapes.

  Args:
    query: `[B, T, H, K]`.
    key: `[B, S, G, K]`, where G divides H.
    value: `[B, S, G, K]`.
    mask: bool, broadcastable to `[B, H, T, S]`; True means attend.
    bias: added to the scaled dot products, broadcastable to `[B, H, T, S]`.
    causal: whether query t attends to keys 0 to t only.
    scale: factor of the dot products, 1 / sqrt(K) by default.

  Returns:
    `[B, T, H, K]` with the dtype of `query`; the softmax is float32.

  Raises:
    UserError: the mask is not bool.
  """
  _check_mask(mask)
  options = {"causal": causal, "scale": scale}
  fused = partial(_fused, **options)
  backends = {"cpu": partial(_normalize_last, **options)}
  cudnn = partial(fused, implementation="cudnn")
  if mask is None and bias is None and _supports(cudnn, query, key, value):
    backends["cuda"] = cudnn
  output = lax.platform_dependent(
    query, key, value, mask, bias, **backends, default=fused
  )
  if mask is None:
    return output
  attends = _combine(mask, causal, query.shape[1], key.shape[1]).any(-1)
  return jnp.where(attends.swapaxes(1, 2)[..., None], output, 0)


def _fused(query, key, value, mask, bias, *, causal, scale, **options):
  return jax.nn.dot_product_attention(
    query, key, value, bias, mask, scale=scale, is_causal=causal, **options
  )


def _supports(function: Callable, *arrays: Array) -> bool:
  """Returns whether JAX can trace the attention function and its gradient.

  Symbolic shapes are not supported: they occur in exports, which have to run
  on machines with other versions of cuDNN.
  """
  if not all(isinstance(size, int) for x in arrays for size in x.shape):
    return False

  def total(*arrays):
    return function(*arrays, None, None).astype(jnp.float32).sum()

  shapes = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
  try:
    jax.eval_shape(jax.grad(total, argnums=(0, 1, 2)), *shapes)
  except (NotImplementedError, RuntimeError, ValueError):
    return False
  return True


def _normalize_last(query, key, value, mask, bias, *, causal, scale):
  """Divides the weighted sums of values by the sums of weights.

  Dividing each weight instead would need a sum over keys in the backward pass,
  which is slow in XLA on CPU. Forward and backward took 0.8 of the time of
  `_fused` (32 x 100 tokens, 4 heads of 32; 4 x 512 tokens, 8 heads of 64; two
  cores, jax 0.10.2). Without the barriers XLA would compute `logits` and
  `weights` once for each of their uses.
  """
  options = {"mask": mask, "bias": bias, "causal": causal, "scale": scale}
  logits = lax.optimization_barrier(_logits(query, key, **options))
  largest = lax.stop_gradient(logits.max(-1, keepdims=True))
  weights = lax.optimization_barrier(jnp.exp(logits - largest))
  total = weights.sum(-1).swapaxes(1, 2)[..., None]
  return (_weighted_sum(weights, value) / total).astype(query.dtype)


def attention_weights(
  query: Array,
  key: Array,
  *,
  mask: Array | None = None,
  bias: Array | None = None,
  causal: bool = False,
  scale: float | None = None,
) -> Array:
  """Returns the attention weights, the softmax of the scaled dot products.

  Takes the arguments of `attention`, which is the `weighted_sum` of `value` by
  these weights.

  Returns:
    float32 `[B, H, T, S]`. Rows sum to 1, or to 0 if all keys are masked.
  """
  _check_mask(mask)
  options = {"bias": bias, "causal": causal, "scale": scale}
  weights = jax.nn.softmax(_logits(query, key, mask=mask, **options))
  if mask is None:
    return weights
  mask = _combine(mask, causal, query.shape[1], key.shape[1])
  return jnp.where(mask.any(-1, keepdims=True), weights, 0)


def _logits(query, key, *, mask, bias, causal, scale):
  """Returns float32 `[B, H, T, S]`, the lowest finite number where masked."""
  batch, queries, heads, head_dim = query.shape
  keys, groups = key.shape[1:3]
  query = query.reshape(batch, queries, groups, heads // groups, head_dim)
  logits = jnp.einsum(
    "BTGRK,BSGK->BGRTS", query, key, preferred_element_type=jnp.float32
  ).reshape(batch, heads, queries, keys)
  logits = logits * (head_dim**-0.5 if scale is None else scale)
  if bias is not None:
    logits = logits + bias
  if mask is None and not causal:
    return logits
  mask = _combine(mask, causal, queries, keys)
  # Not -inf: the softmax of a row of -inf and its gradient are NaN.
  return jnp.where(mask, logits, jnp.finfo(logits.dtype).min)


def weighted_sum(weights: Array, value: Array) -> Array:
  """Returns the sums of values weighted by attention weights.

  Args:
    weights: `[B, H, T, S]`.
    value: `[B, S, G, K]`.

  Returns:
    `[B, T, H, K]` with the dtype of `value`.
  """
  return _weighted_sum(weights, value).astype(value.dtype)


def _weighted_sum(weights: Array, value: Array) -> Array:
  """Computes `weighted_sum` in float32: the sums may overflow float16."""
  batch, heads, queries, keys = weights.shape
  groups, head_dim = value.shape[2:]
  weights = weights.astype(value.dtype)
  weights = weights.reshape(batch, groups, heads // groups, queries, keys)
  output = jnp.einsum(
    "BGRTS,BSGK->BTGRK", weights, value, preferred_element_type=jnp.float32
  )
  return output.reshape(batch, queries, heads, head_dim)


def _check_mask(mask: Array | None) -> None:
  if mask is not None and mask.dtype != bool:
    raise UserError(
      "expected a bool mask, in which True means attend",
      f"got {mask.dtype}",
      "pass an additive mask as bias",
    )


def _combine(
  mask: Array | None, causal: bool, queries: int, keys: int
) -> Array:
  """Returns the mask and the causal mask as one mask with four axes."""
  if mask is None:
    return causal_mask(queries, keys)
  mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
  return mask & causal_mask(queries, keys) if causal else mask
