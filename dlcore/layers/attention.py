"""Attention: a weighted mean of values, weighted by how queries fit keys.

Vaswani et al. 2017, arXiv:1706.03762. Beside the letters of `dlcore/typing.py`
G counts the heads of keys and values, each of which H / G heads of queries
share (Ainslie et al. 2023, arXiv:2305.13245).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from dlcore.errors import UserError
from dlcore.layers.cache import Cache
from dlcore.layers.dropout import Dropout
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
  """Returns for each query the mean of the values whose keys fit it.

  A query that may see no key gets zeros, and gives a gradient of zeros. In
  half precision, with neither mask nor bias, an NVIDIA GPU runs the kernel of
  cuDNN, which never stores the weights (Dao et al. 2022, arXiv:2205.14135),
  where JAX says that it takes such shapes.

  Args:
    query: `[B, T, H, K]`.
    key: `[B, S, G, K]`, where G divides H.
    value: `[B, S, G, K]`.
    mask: bool, broadcastable to `[B, H, T, S]`; True keeps.
    bias: added to the scaled products, broadcastable to `[B, H, T, S]`.
    causal: whether query t sees only the keys 0 to t.
    scale: of the inner products, 1 / sqrt(K) by default.

  Returns:
    `[B, T, H, K]`, of the dtype of `query`; the softmax is float32.

  Raises:
    UserError: the mask is not bool.
  """
  _check_mask(mask)
  how = {"causal": causal, "scale": scale}
  backends = {"cpu": partial(_deferred, **how)}
  cudnn = partial(_fused, **how, implementation="cudnn")
  if mask is None and bias is None and _takes(cudnn, query, key, value):
    backends["cuda"] = cudnn
  output = lax.platform_dependent(
    query, key, value, mask, bias, **backends, default=partial(_fused, **how)
  )
  if mask is None:
    return output
  seen = _kept(mask, causal, query.shape[1], key.shape[1]).any(-1)
  return jnp.where(seen.swapaxes(1, 2)[..., None], output, 0)


def _fused(query, key, value, mask, bias, *, causal, scale, **how):
  return jax.nn.dot_product_attention(
    query, key, value, bias, mask, scale=scale, is_causal=causal, **how
  )


def _takes(function: Callable, *arrays: Array) -> bool:
  """Returns whether JAX traces an attention of arrays, and its gradient.

  Shapes that are not numbers are those of an export, which has to run on
  machines with another cuDNN.
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


def _deferred(query, key, value, mask, bias, *, causal, scale):
  """Divides the sums of values by the sums of weights, not each weight.

  So the backward pass has no sum over keys, which XLA does slowly on CPU.
  Forward and back it took 0.8 of the time of `_fused` (32 x 100 tokens, 4
  heads of 32; 4 x 512 tokens, 8 heads of 64; two cores, jax 0.10.2). What is
  held would be computed for each of its uses.
  """
  how = {"mask": mask, "bias": bias, "causal": causal, "scale": scale}
  logits = lax.optimization_barrier(_logits(query, key, **how))
  peak = lax.stop_gradient(logits.max(-1, keepdims=True))
  weights = lax.optimization_barrier(jnp.exp(logits - peak))
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
  """Returns the weight that each query gives to each value.

  Arguments are those of `attention`, which is `weighted_sum` of these weights.

  Returns:
    float32 `[B, H, T, S]`. Rows add up to 1, or to 0 where no key is seen.
  """
  _check_mask(mask)
  how = {"bias": bias, "causal": causal, "scale": scale}
  weights = jax.nn.softmax(_logits(query, key, mask=mask, **how))
  if mask is None:
    return weights
  kept = _kept(mask, causal, query.shape[1], key.shape[1])
  return jnp.where(kept.any(-1, keepdims=True), weights, 0)


def _logits(query, key, *, mask, bias, causal, scale):
  """Returns float32 `[B, H, T, S]`, the lowest number where masked."""
  batch, queries, heads, size = query.shape
  keys, groups = key.shape[1:3]
  query = query.reshape(batch, queries, groups, heads // groups, size)
  logits = jnp.einsum(
    "BTGRK,BSGK->BGRTS", query, key, preferred_element_type=jnp.float32
  ).reshape(batch, heads, queries, keys)
  logits = logits * (size**-0.5 if scale is None else scale)
  if bias is not None:
    logits = logits + bias
  if mask is None and not causal:
    return logits
  kept = _kept(mask, causal, queries, keys)
  # Not -inf: a row of nothing else has no softmax, and no gradient.
  return jnp.where(kept, logits, jnp.finfo(logits.dtype).min)


def weighted_sum(weights: Array, value: Array) -> Array:
  """Returns the sums of values `[B, S, G, K]` by weights `[B, H, T, S]`.

  Returns:
    `[B, T, H, K]`, of the dtype of `value`.
  """
  return _weighted_sum(weights, value).astype(value.dtype)


def _weighted_sum(weights: Array, value: Array) -> Array:
  """Returns what `weighted_sum` does in float32: sums may be large in half."""
  batch, heads, queries, keys = weights.shape
  groups, size = value.shape[2:]
  weights = weights.astype(value.dtype)
  weights = weights.reshape(batch, groups, heads // groups, queries, keys)
  output = jnp.einsum(
    "BGRTS,BSGK->BTGRK", weights, value, preferred_element_type=jnp.float32
  )
  return output.reshape(batch, queries, heads, size)


class Attention(nn.Module):
  """Attends from `x` to itself or to a context, in several heads.

  Attributes:
    num_heads: of queries, H.
    num_kv_heads: G, a divisor of `heads`, which it is by default.
    head_dim: K; the width of `x` over `heads` by default.
    use_bias: whether queries, keys and values have biases.
    out_bias: the same of the output; None is as `use_bias`.
    dropout: rate at which weights are dropped, a number or a traced scalar.
    rotary: `(x [B, T, H, K], positions) -> x`, applied to queries and keys,
      such as `layers.rotary`.
    norm: makes the norms of queries and keys over K, called with `name`.
    scale: of the inner products, 1 / sqrt(K) by default.
    dtype: of the arithmetic; parameters are float32.
    kernel_init: of the kernels.
    out_init: of that of the output; None is as `kernel_init`.
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
    weights: bool = False,
    decode: bool = False,
  ) -> Any:
    """Maps `[B, T, D]` to `[B, T, D]`.

    Args:
      x: what queries are made of.
      context: `[B, S, D']`, what keys and values are made of; `x` by default.
      mask: bool, broadcastable to `[B, H, T, S]`; True keeps.
      bias: added to the scaled products, broadcastable to `[B, H, T, S]`.
      causal: whether query t sees only the keys 0 to t.
      positions: int `[T]` or `[B, T]`, for `rotary`; counted from 0, or from
        what the cache holds, by default.
      train: whether to drop weights.
      weights: whether to return the weights too.
      decode: whether `x`, one token or several, goes on from the keys and
        values in the collection "cache", and is added to them. `init` with
        an input of the greatest length makes the cache; S is then that
        length in `mask` and `bias`, whose values for what is yet to come do
        not matter. The keys and values of a context are those of the call
        that made the cache.

    Returns:
      `[B, T, D]`, or with `weights` a pair with float32 `[B, H, T, S]`,
      before any were dropped.

    Raises:
      UserError: the heads divide neither the width nor one another.
    """
    groups, size = self._sizes(x.shape[-1])
    source = x if context is None else context
    query = self._heads("query", self.num_heads, size)(x)
    key = self._heads("key", groups, size)
    value = self._heads("value", groups, size)
    if decode and context is not None:
      key = self.variable("cache", "context_key", key, source).value
      value = self.variable("cache", "context_value", value, source).value
    else:
      key, value = key(source), value(source)
    if self.norm is not None:
      query = self.norm(name="query_norm")(query)
      key = self.norm(name="key_norm")(key)

    cache = Cache(self, key) if decode and context is None else None
    if self.rotary is not None:
      if positions is None:
        positions = jnp.arange(x.shape[1]) + (cache.index if cache else 0)
      query, key = self.rotary(query, positions), self.rotary(key, positions)
    if cache and cache.ready:
      key, value, past = cache.extended(key, value)
      mask = past if mask is None else mask & past
      causal = False

    how = {"mask": mask, "bias": bias, "causal": causal, "scale": self.scale}
    probabilities = None
    if weights or (train and not _is_zero(self.dropout)):
      probabilities = attention_weights(query, key, **how)
      drop = Dropout(self.dropout, name="dropout")
      y = weighted_sum(drop(probabilities, train=train), value)
    else:
      y = attention(query, key, value, **how)
    y = nn.Dense(
      x.shape[-1],
      use_bias=self.use_bias if self.out_bias is None else self.out_bias,
      dtype=self.dtype,
      kernel_init=self.out_init or self.kernel_init,
      name="out",
    )(y.reshape(*y.shape[:2], self.num_heads * size))
    return (y, probabilities) if weights else y

  def _sizes(self, width: int) -> tuple[int, int]:
    groups = self.num_kv_heads or self.num_heads
    if self.num_heads % groups:
      raise UserError(
        "expected num_kv_heads that divide the heads",
        f"got {groups} and {self.num_heads}",
      )
    if self.head_dim is None and width % self.num_heads:
      raise UserError(
        "expected heads that divide the width",
        f"got {self.num_heads} heads and a width of {width}",
        f"try {_divisor(width, self.num_heads)} heads, or set head_dim",
      )
    return groups, self.head_dim or width // self.num_heads

  def _heads(self, name: str, heads: int, size: int):
    """Returns the map of `[B, T, D]` to `[B, T, heads, size]`."""
    dense = nn.Dense(
      heads * size,
      use_bias=self.use_bias,
      dtype=self.dtype,
      kernel_init=self.kernel_init,
      name=name,
    )
    return lambda x: dense(x).reshape(*x.shape[:2], heads, size)


def _check_mask(mask: Array | None) -> None:
  if mask is not None and mask.dtype != bool:
    raise UserError(
      "expected a mask of True and False, True keeps",
      f"got {mask.dtype}",
      "give what is to be added as bias",
    )


def _kept(mask: Array | None, causal: bool, queries: int, keys: int) -> Array:
  """Returns both masks in one, of four axes."""
  if mask is None:
    return causal_mask(queries, keys)
  mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
  return mask & causal_mask(queries, keys) if causal else mask


def _divisor(width: int, heads: int) -> int:
  """Returns the greatest divisor of `width` up to `heads`."""
  most = min(heads, width)
  return next(n for n in range(most, 0, -1) if width % n == 0)


def _is_zero(rate: float | Array) -> bool:
  return isinstance(rate, int | float) and rate == 0
