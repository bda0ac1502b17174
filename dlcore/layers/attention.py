"""The multi-head attention layer."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from dlcore.errors import UserError
from dlcore.layers.attention_cache import KeyValueCache
from dlcore.layers.dot_product_attention import (
  attention,
  attention_weights,
  weighted_sum,
)
from dlcore.layers.dropout import Dropout
from dlcore.tracing import is_zero
from dlcore.typing import Array


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
      UserError: the numbers of heads do not divide the width or each other.
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
        f"try num_heads={_divisor(width, self.num_heads)}",
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


def _divisor(width: int, heads: int) -> int:
  """Returns the largest divisor of `width` that is at most `heads`."""
  most = min(heads, width)
  return next(n for n in range(most, 0, -1) if width % n == 0)
