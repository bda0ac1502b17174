import functools
import re
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import export, lax

from dlcore import layers
from dlcore.errors import UserError
from dlcore.layers import Attention, attention, attention_weights, weighted_sum

# Compiled quickly, not to run quickly.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)
KEY = jax.random.key(0)
B, T, S, K = 2, 5, 7, 4


def draw(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def slowly(query, key, value, mask, bias, causal, scale):
  """The definition in float64, a query at a time."""
  query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
  heads, groups = query.shape[2], key.shape[2]
  queries, keys = query.shape[1], key.shape[1]
  mask = np.broadcast_to(
    True if mask is None else mask, (B, heads, queries, keys)
  )
  bias = np.broadcast_to(0 if bias is None else bias, mask.shape)
  output, weights = np.zeros(query.shape), np.zeros(mask.shape)
  for b, t, h in np.ndindex(*query.shape[:3]):
    g = h // (heads // groups)
    kept = [s for s in range(keys) if mask[b, h, t, s] and not causal * (s > t)]
    if kept:
      logits = (
        key[b, kept, g] @ query[b, t, h] * (scale or query.shape[3] ** -0.5)
      )
      shares = np.exp(logits + bias[b, h, t, kept])
      weights[b, h, t, kept] = shares / shares.sum()
    output[b, t, h] = weights[b, h, t] @ value[b, :, g]
  return output, weights


CASES = {
  "plain": {},
  "causal": {"causal": True},
  "scale": {"scale": 0.3},
  "bias": {"bias": draw(1, 4, T, S)},
  "padding": {"mask": (np.arange(S) < np.array([[4], [7]]))[:, None, None]},
  "row without key": {"mask": draw(B, 4, T, S) > 0.9},
  "left padding, causal": {
    "mask": (np.arange(S) >= np.array([[2], [0]]))[:, None, None],
    "causal": True,
  },
}


@pytest.mark.parametrize(
  ("case", "groups"),
  [*((case, 2) for case in CASES), ("padding", 4), ("causal", 1)],
)
def test_all_ways_give_what_the_definition_gives(case, groups):
  how = {"mask": None, "bias": None, "causal": False, "scale": None}
  how |= CASES[case]
  arrays = (
    draw(B, T, 4, K),
    draw(B, S, groups, K),
    draw(B, S, groups, K, seed=1),
  )

  @jit
  def all_ways(query, key, value):
    def parts(query, key, value):
      return weighted_sum(attention_weights(query, key, **how), value)

    def whole(*arrays):
      return attention(*arrays, **how)

    def elsewhere(*arrays):
      # What other backends run.
      with mock.patch.object(lax, "platform_dependent", not_on_cpu):
        return attention(*arrays, **how)

    ways = []
    for way in (parts, whole, elsewhere):
      gradient = jax.grad(lambda *a, way=way: jnp.sin(way(*a)).sum(), (0, 1, 2))
      ways.append((way(query, key, value), gradient(query, key, value)))
    return attention_weights(query, key, **how), ways

  weights, ways = all_ways(*arrays)
  wanted_output, wanted_weights = slowly(*arrays, **how)
  np.testing.assert_allclose(weights, wanted_weights, atol=1e-6)
  for output, gradients in ways:
    np.testing.assert_allclose(output, wanted_output, atol=1e-6)
    for left, right in zip(gradients, ways[0][1], strict=True):
      assert np.isfinite(left).all()
      np.testing.assert_allclose(left, right, atol=1e-6)


def not_on_cpu(*arrays, cpu, default):
  del cpu
  return default(*arrays)


def calls(**changes):
  """Returns what a CUDA GPU is told to call for attention and its gradient."""
  how = {"dtype": jnp.bfloat16, "size": 64, "batch": 2, "causal": True}
  how |= changes
  dtype, size, batch = how.pop("dtype"), how.pop("size"), how.pop("batch")
  shape = jax.ShapeDtypeStruct((batch, 6, 4, size), dtype)
  mask = how.pop("mask", None)

  def total(query, key, value):
    return attention(query, key, value, mask=mask, **how).astype(float).sum()

  program = export.export(
    jit(jax.grad(total)),
    platforms=["cuda"],
    disabled_checks=[
      export.DisabledSafetyCheck.custom_call(name)
      for name in ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward")
    ],
  )(shape, shape, shape)
  return set(re.findall(r"@__cudnn\$(\w+)", program.mlir_module()))


def test_cudnn_is_called_where_jax_says_that_it_can_be(monkeypatch):
  assert not calls()  # there is no cuDNN here
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 91000,
  )
  assert calls() == {"fmhaSoftmax", "fmhaSoftmaxBackward"}
  assert calls(causal=False) == calls()
  assert not calls(dtype=jnp.float32)
  assert not calls(size=12)
  assert not calls(mask=np.ones((2, 1, 1, 6), bool))
  # An exported program has to run beside another cuDNN.
  assert not calls(batch=export.symbolic_shape("B")[0])


@functools.cache
def module(**settings):
  """Returns a layer, an input and parameters."""
  layer = Attention(4, 2, head_dim=6, **settings)
  x = draw(B, T, 10)
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, train=False))
  generator = np.random.default_rng(1)
  return (
    layer,
    x,
    jax.tree.map(
      lambda leaf: np.float32(0.3 * generator.normal(size=leaf.shape)),
      shapes["params"],
    ),
  )


@functools.partial(jit, static_argnums=0, static_argnames=("causal", "weights"))
def apply(layer, params, x, context=None, **how):
  return layer.apply({"params": params}, x, context, train=False, **how)


def test_the_module_has_four_dense_layers_and_returns_weights():
  layer, x, params = module()
  shapes = {name: p["kernel"].shape for name, p in params.items()}
  assert shapes == {
    "query": (10, 24),
    "key": (10, 12),
    "value": (10, 12),
    "out": (24, 10),
  }
  output, weights = apply(layer, params, x, weights=True)
  np.testing.assert_allclose(apply(layer, params, x), output, atol=1e-6)
  assert weights.shape == (B, 4, T, T)
  normed = layer.clone(norm=nn.RMSNorm)
  given = {
    **params,
    "query_norm": {"scale": np.full(6, 9.0)},
    "key_norm": {"scale": np.full(6, 9.0)},
  }
  _, sharper = apply(normed, given, x, weights=True)
  assert sharper.max() > weights.max()


def test_a_context_is_what_is_seen():
  layer, x, params = module()
  context = draw(B, S, 10, seed=3)
  kept = layers.padding_mask(jnp.asarray([[1, 1, 1, 0, 0, 0, 0]] * B))
  short = apply(layer, params, x, context[:, :3])
  found = apply(layer, params, x, context, mask=kept)
  np.testing.assert_allclose(found, short, atol=1e-6)


@functools.partial(jit, static_argnums=0)
def step(layer, variables, x, mask):
  """Reads some more tokens; returns their outputs and the new cache."""
  return layer.apply(
    variables, x, mask=mask, decode=True, train=False, mutable=["cache"]
  )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("steps", [(1,) * 6, (3, 1, 1, 1)])
def test_a_cache_gives_what_all_tokens_at_once_give(side, steps):
  layer, _, params = module(rotary=layers.rotary)
  x = draw(B, 6, 10)
  kept = np.arange(6) >= 2 if side == "left" else np.arange(6) < 4
  mask = layers.padding_mask(jnp.stack([kept, np.ones(6, bool)]))
  whole = apply(layer, params, x, mask=mask, causal=True)
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  assert set(cache) == {"cached_key", "cached_value", "cache_index"}
  outputs, start = [], 0
  for count in steps:
    variables = {"params": params, "cache": cache}
    y, new = step(layer, variables, x[:, start : start + count], mask)
    cache, start = new["cache"], start + count
    outputs.append(y)
  np.testing.assert_allclose(np.concatenate(outputs, 1), whole, atol=2e-6)


def test_a_step_larger_than_the_cache_is_told():
  layer, x, params = module()
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  with pytest.raises(UserError, match="at most 5 tokens"):
    step(layer, {"params": params, "cache": cache}, draw(B, 6, 10), None)
  with pytest.raises(UserError, match=f"{B} rows"):
    step(layer, {"params": params, "cache": cache}, draw(1, 2, 10), None)


def test_what_a_full_cache_would_give_is_nan():
  layer, x, params = module()
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  y, new = step(layer, {"params": params, "cache": cache}, x[:, :3], None)
  assert np.isfinite(y).all()
  y, _ = step(layer, {"params": params, **new}, x[:, :3], None)
  assert np.isnan(y).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_a_mask_that_is_to_be_added_is_told(dtype):
  x = draw(B, T, 4, K)
  mask = np.zeros((B, 1, 1, T), dtype)
  for call in (
    lambda: attention(x, x, x, mask=mask),
    lambda: attention_weights(x, x, mask=mask),
  ):
    with pytest.raises(UserError, match="True keeps"):
      call()


def test_many_keys_do_not_overflow_in_half_precision():
  query = np.zeros((1, 1, 1, 2), np.float16)
  key = np.full((1, 8192, 1, 2), 20, np.float16)
  y = jit(attention)(query, key, key)
  np.testing.assert_array_equal(y, 20)


def test_dropped_weights_leave_the_returned_ones():
  layer, x, params = module()

  @jit
  def drop(rate, seed):
    rngs = {"dropout": jax.random.key(seed)}
    dropping = layer.clone(dropout=rate)
    return dropping.apply(
      {"params": params}, x, train=True, weights=True, rngs=rngs
    )

  plain, weights = apply(layer, params, x, weights=True)
  np.testing.assert_allclose(drop(0.0, 0)[0], plain, atol=1e-6)
  outputs = [drop(0.5, seed) for seed in (0, 0, 1)]
  np.testing.assert_allclose(outputs[0][1], weights, atol=1e-6)
  np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
  assert np.abs(outputs[0][0] - plain).max() > 0.01
  assert np.abs(outputs[0][0] - outputs[2][0]).max() > 0.01


def test_heads_that_cannot_be_are_told():
  x = draw(B, T, 10)
  with pytest.raises(UserError, match="try 2 heads"):
    Attention(4).init(KEY, x, train=False)
  with pytest.raises(UserError, match="got 3 and 4"):
    Attention(4, 3, head_dim=2).init(KEY, x, train=False)
