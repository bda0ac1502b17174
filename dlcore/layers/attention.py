"""Scaled dot-product attention with several heads.

Vaswani et al. 2017, arXiv:1706.03762. In addition to the letters of
`dlcore/typing.py`, G is the number of key/value heads, each of which is shared
by H / G query heads (Ainslie et al. 2023, arXiv:2305.13245).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.attention_cache import KeyValueCache
from dlcore.layers.dropout import Dropout, is_zero
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
    UserError: if the mask is not bool.
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


class Attention(nn.Module):
  """Multi-head self-attention, or cross-attention to a context.

  Attributes:
    num_heads: number of query heads, H.
    num_kv_heads: number of key/value heads, G, a divisor of `num_heads`;
      `num_heads` by default.
    head_dim: K; the width of `x` divided by `num_heads` by default.
    use_bias: whether queries, keys and values have biases.
    out_bias: whether the output has a bias; None means `use_bias`.
    dropout: dropout rate of the attention weights, a number or traced scalar.
    rotary: `(x [B, T, H, K], positions) -> x`, applied to queries and keys,
      such as `layers.rotary`.
    norm: makes the norms of queries and keys over K; called with `name`.
    scale: factor of the dot products, 1 / sqrt(K) by default.
    dtype: dtype of the computation; parameters are float32.
    kernel_init: initializer of the kernels.
    out_init: initializer of the output kernel; None means `kernel_init`.
  """

  num_heads: int
  num_kv_heads: int | None = None
  head_dim: int | None = None
  use_bias: bool = True
  out_bias: bool | None = None
  dropout: float | Array = 0.0
  rotary: Callable[[Array, Array], Array] | None = None
  norm: Callable[..., nn.Module] | None = None
  scale: float | None = None
  dtype: Any = jnp.float32
  kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
  out_init: Callable[..., Array] | None = None

  @nn.compact
  def __call__(
    self,
    x: Array,
    context: Array | None = None,
    *,
    mask: Array | None = None,
    bias: Array | None = None,
    causal: bool = False,
    positions: Array | None = None,
    train: bool,
    return_weights: bool = False,
    decode: bool = False,
  ) -> Any:
    """Maps `[B, T, D]` to `[B, T, D]`.

    Args:
      x: input of the queries.
      context: `[B, S, D']`, input of keys and values; `x` by default.
      mask: bool, broadcastable to `[B, H, T, S]`; True means attend.
      bias: added to the scaled dot products, broadcastable to `[B, H, T, S]`.
      causal: whether query t attends to keys 0 to t only.
      positions: int `[T]` or `[B, T]`, the argument of `rotary`; by default
        counted from 0, or from the index of the cache.
      train: whether to apply dropout.
      return_weights: whether to return the attention weights too.
      decode: whether `x`, one token or several, continues the keys and values
        in the collection "cache" and is appended to them. `init` with an input
        of the maximum length creates the cache. S is then this length in
        `mask` and `bias`, whose values for future tokens are ignored. Keys and
        values of a context are those of the call that created the cache.

    Returns:
      `[B, T, D]`, or with `return_weights` a pair of it and the weights,
      float32 `[B, H, T, S]`, before dropout.

    Raises:
      UserError: if the numbers of heads do not divide the width or each other.
    """
    num_kv_heads, head_dim = self._sizes(x.shape[-1])
    source = x if context is None else context
    query = self._project("query", self.num_heads, head_dim)(x)
    key = self._project("key", num_kv_heads, head_dim)
    value = self._project("value", num_kv_heads, head_dim)
    if decode and context is not None:
      key = self.variable("cache", "context_key", key, source).value
      value = self.variable("cache", "context_value", value, source).value
    else:
      key, value = key(source), value(source)
    if self.norm is not None:
      query = self.norm(name="query_norm")(query)
      key = self.norm(name="key_norm")(key)

    cache = KeyValueCache(self, key) if decode and context is None else None
    if self.rotary is not None:
      if positions is None:
        positions = jnp.arange(x.shape[1]) + (cache.index if cache else 0)
      query, key = self.rotary(query, positions), self.rotary(key, positions)
    if cache and cache.exists:
      key, value, past = cache.append(key, value)
      mask = past if mask is None else mask & past
      causal = False

    options = {"mask": mask, "bias": bias, "causal": causal}
    options["scale"] = self.scale
    weights = None
    if return_weights or (train and not is_zero(self.dropout)):
      weights = attention_weights(query, key, **options)
      drop = Dropout(self.dropout, name="dropout")
      y = weighted_sum(drop(weights, train=train), value)
    else:
      y = attention(query, key, value, **options)
    y = nn.Dense(
      x.shape[-1],
      use_bias=self.use_bias if self.out_bias is None else self.out_bias,
      dtype=self.dtype,
      kernel_init=self.out_init or self.kernel_init,
      name="out",
    )(y.reshape(*y.shape[:2], self.num_heads * head_dim))
    return (y, weights) if return_weights else y

  def _sizes(self, width: int) -> tuple[int, int]:
    """Returns the number of key/value heads and the size of a head."""
    num_kv_heads = self.num_kv_heads or self.num_heads
    if self.num_heads % num_kv_heads:
      raise UserError(
        "expected num_kv_heads to divide num_heads",
        f"got num_kv_heads={num_kv_heads}, num_heads={self.num_heads}",
      )
    if self.head_dim is None and width % self.num_heads:
      raise UserError(
        "expected num_heads to divide the width",
        f"got num_heads={self.num_heads} and a width of {width}",
        f"try num_heads={_divisor(width, self.num_heads)}, or set head_dim",
      )
    return num_kv_heads, self.head_dim or width // self.num_heads

  def _project(self, name: str, num_heads: int, head_dim: int):
    """Returns a map from `[B, T, D]` to `[B, T, num_heads, head_dim]`."""
    dense = nn.Dense(
      num_heads * head_dim,
      use_bias=self.use_bias,
      dtype=self.dtype,
      kernel_init=self.kernel_init,
      name=name,
    )
    return lambda x: dense(x).reshape(*x.shape[:2], num_heads, head_dim)


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


def _divisor(width: int, heads: int) -> int:
  """Returns the largest divisor of `width` that is at most `heads`."""
  most = min(heads, width)
  return next(n for n in range(most, 0, -1) if width % n == 0)
