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


def sample(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def reference(query, key, value, mask, bias, causal, scale):
  """Computes the definition in float64, one query at a time."""
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
      exponentials = np.exp(logits + bias[b, h, t, kept])
      weights[b, h, t, kept] = exponentials / exponentials.sum()
    output[b, t, h] = weights[b, h, t] @ value[b, :, g]
  return output, weights


CASES = {
  "plain": {},
  "causal": {"causal": True},
  "scale": {"scale": 0.3},
  "bias": {"bias": sample(1, 4, T, S)},
  "padding": {"mask": (np.arange(S) < np.array([[4], [7]]))[:, None, None]},
  "all keys of a row masked": {"mask": sample(B, 4, T, S) > 0.9},
  "left padding, causal": {
    "mask": (np.arange(S) >= np.array([[2], [0]]))[:, None, None],
    "causal": True,
  },
}


@pytest.mark.parametrize(
  ("case", "groups"),
  [
    *((case, 2) for case in CASES),
    pytest.param("padding", 4, marks=pytest.mark.slow),
    pytest.param("causal", 1, marks=pytest.mark.slow),
  ],
)
def test_all_formulations_equal_the_definition(case, groups):
  options = {"mask": None, "bias": None, "causal": False, "scale": None}
  options |= CASES[case]
  arrays = (
    sample(B, T, 4, K),
    sample(B, S, groups, K),
    sample(B, S, groups, K, seed=1),
  )

  @jit
  def run_all(query, key, value):
    def by_weights(query, key, value):
      return weighted_sum(attention_weights(query, key, **options), value)

    def on_cpu(*arrays):
      return attention(*arrays, **options)

    def on_other_backends(*arrays):
      with mock.patch.object(lax, "platform_dependent", not_on_cpu):
        return attention(*arrays, **options)

    results = []
    for function in (by_weights, on_cpu, on_other_backends):
      loss = lambda *a, f=function: jnp.sin(f(*a)).sum()  # noqa: E731
      gradients = jax.grad(loss, (0, 1, 2))(query, key, value)
      results.append((function(query, key, value), gradients))
    return attention_weights(query, key, **options), results

  weights, results = run_all(*arrays)
  expected_output, expected_weights = reference(*arrays, **options)
  np.testing.assert_allclose(weights, expected_weights, atol=1e-6)
  for output, gradients in results:
    np.testing.assert_allclose(output, expected_output, atol=1e-6)
    for left, right in zip(gradients, results[0][1], strict=True):
      assert np.isfinite(left).all()
      np.testing.assert_allclose(left, right, atol=1e-6)


def not_on_cpu(*arrays, cpu, default):
  del cpu
  return default(*arrays)


def cudnn_calls(**changes):
  """Returns the cuDNN calls of attention and its gradient on CUDA GPUs."""
  options = {"dtype": jnp.bfloat16, "size": 64, "batch": 2, "causal": True}
  options |= changes
  dtype, size, batch = (options.pop(k) for k in ("dtype", "size", "batch"))
  shape = jax.ShapeDtypeStruct((batch, 6, 4, size), dtype)
  mask = options.pop("mask", None)

  def total(query, key, value):
    y = attention(query, key, value, mask=mask, **options)
    return y.astype(float).sum()

  program = export.export(
    jit(jax.grad(total)),
    platforms=["cuda"],
    disabled_checks=[
      export.DisabledSafetyCheck.custom_call(name)
      for name in ("__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward")
    ],
  )(shape, shape, shape)
  return set(re.findall(r"@__cudnn\$(\w+)", program.mlir_module()))


def test_cudnn_is_called_if_jax_supports_the_shapes(monkeypatch):
  assert not cudnn_calls()  # This machine has no cuDNN.
  monkeypatch.setattr(
    "jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version",
    lambda: 91000,
  )
  assert cudnn_calls() == {"fmhaSoftmax", "fmhaSoftmaxBackward"}
  assert cudnn_calls(causal=False) == cudnn_calls()
  assert not cudnn_calls(dtype=jnp.float32)
  assert not cudnn_calls(size=12)
  assert not cudnn_calls(mask=np.ones((2, 1, 1, 6), bool))
  # An exported program has to run with other versions of cuDNN.
  assert not cudnn_calls(batch=export.symbolic_shape("B")[0])


@functools.cache
def module(**settings):
  """Returns a layer, an input and parameters."""
  layer = Attention(4, 2, head_dim=6, **settings)
  x = sample(B, T, 10)
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


@functools.partial(
  jit, static_argnums=0, static_argnames=("causal", "return_weights")
)
def apply(layer, params, x, context=None, **options):
  return layer.apply({"params": params}, x, context, train=False, **options)


def test_the_module_has_four_dense_layers_and_returns_weights():
  layer, x, params = module()
  shapes = {name: p["kernel"].shape for name, p in params.items()}
  assert shapes == {
    "query": (10, 24),
    "key": (10, 12),
    "value": (10, 12),
    "out": (24, 10),
  }
  output, weights = apply(layer, params, x, return_weights=True)
  np.testing.assert_allclose(apply(layer, params, x), output, atol=1e-6)
  assert weights.shape == (B, 4, T, T)
  normed = layer.clone(norm=nn.RMSNorm)
  normed_params = {
    **params,
    "query_norm": {"scale": np.full(6, 9.0)},
    "key_norm": {"scale": np.full(6, 9.0)},
  }
  _, sharper = apply(normed, normed_params, x, return_weights=True)
  assert sharper.max() > weights.max()


def test_cross_attention_ignores_masked_positions_of_the_context():
  layer, x, params = module()
  context = sample(B, S, 10, seed=3)
  mask = layers.padding_mask(jnp.asarray([[1, 1, 1, 0, 0, 0, 0]] * B))
  short = apply(layer, params, x, context[:, :3])
  masked = apply(layer, params, x, context, mask=mask)
  np.testing.assert_allclose(masked, short, atol=1e-6)


@functools.partial(jit, static_argnums=0)
def step(layer, variables, x, mask):
  """Decodes further tokens; returns their outputs and the new cache."""
  return layer.apply(
    variables, x, mask=mask, decode=True, train=False, mutable=["cache"]
  )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("steps", [(1,) * 6, (3, 1, 1, 1)])
def test_decoding_with_a_cache_equals_one_call_with_all_tokens(side, steps):
  layer, _, params = module(rotary=layers.rotary)
  x = sample(B, 6, 10)
  kept = np.arange(6) >= 2 if side == "left" else np.arange(6) < 4
  mask = layers.padding_mask(jnp.stack([kept, np.ones(6, bool)]))
  at_once = apply(layer, params, x, mask=mask, causal=True)
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  assert set(cache) == {"cached_key", "cached_value", "cache_index"}
  outputs, start = [], 0
  for count in steps:
    variables = {"params": params, "cache": cache}
    y, new = step(layer, variables, x[:, start : start + count], mask)
    cache, start = new["cache"], start + count
    outputs.append(y)
  np.testing.assert_allclose(np.concatenate(outputs, 1), at_once, atol=2e-6)


def test_more_tokens_than_the_cache_holds_are_an_error():
  layer, x, params = module()
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  with pytest.raises(UserError, match="at most 5 tokens"):
    step(layer, {"params": params, "cache": cache}, sample(B, 6, 10), None)
  with pytest.raises(UserError, match=f"{B} rows"):
    step(layer, {"params": params, "cache": cache}, sample(1, 2, 10), None)


def test_a_full_cache_returns_nan():
  layer, x, params = module()
  shapes = jax.eval_shape(lambda: layer.init(KEY, x, decode=True, train=False))
  cache = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes["cache"])
  y, new = step(layer, {"params": params, "cache": cache}, x[:, :3], None)
  assert np.isfinite(y).all()
  y, _ = step(layer, {"params": params, **new}, x[:, :3], None)
  assert np.isnan(y).all()


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_an_additive_mask_is_an_error(dtype):
  x = sample(B, T, 4, K)
  mask = np.zeros((B, 1, 1, T), dtype)
  for call in (
    lambda: attention(x, x, x, mask=mask),
    lambda: attention_weights(x, x, mask=mask),
  ):
    with pytest.raises(UserError, match="True means attend"):
      call()


def test_many_keys_do_not_overflow_in_half_precision():
  query = np.zeros((1, 1, 1, 2), np.float16)
  key = np.full((1, 8192, 1, 2), 20, np.float16)
  y = jit(attention)(query, key, key)
  np.testing.assert_array_equal(y, 20)


def test_dropout_does_not_change_the_returned_weights():
  layer, x, params = module()

  @jit
  def apply_dropout(rate, seed):
    rngs = {"dropout": jax.random.key(seed)}
    dropping = layer.clone(dropout=rate)
    return dropping.apply(
      {"params": params}, x, train=True, return_weights=True, rngs=rngs
    )

  plain, weights = apply(layer, params, x, return_weights=True)
  np.testing.assert_allclose(apply_dropout(0.0, 0)[0], plain, atol=1e-6)
  outputs = [apply_dropout(0.5, seed) for seed in (0, 0, 1)]
  np.testing.assert_allclose(outputs[0][1], weights, atol=1e-6)
  np.testing.assert_array_equal(outputs[0][0], outputs[1][0])
  assert np.abs(outputs[0][0] - plain).max() > 0.01
  assert np.abs(outputs[0][0] - outputs[2][0]).max() > 0.01


def test_invalid_numbers_of_heads_are_errors():
  x = sample(B, T, 10)
  with pytest.raises(UserError, match="try num_heads=2"):
    Attention(4).init(KEY, x, train=False)
  with pytest.raises(UserError, match="num_kv_heads=3, num_heads=4"):
    Attention(4, 3, head_dim=2).init(KEY, x, train=False)
