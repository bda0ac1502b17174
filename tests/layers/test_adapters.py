"""Adapters of layers are those of PEFT; 8-bit kernels are near the floats."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore import layers
from dlcore.transfer.io.safetensors import File

GOLDEN = Path(__file__).parents[1] / "golden" / "lora.safetensors"
CASES = ("plain", "stabilized", "dora")
NAMES = ("a", "b", "magnitude")


def to_kernel(weight):
  """Converts `[out, in, ...]` of PyTorch to `[..., in, out]`."""
  return np.moveaxis(weight, (0, 1), (-1, -2))


@pytest.fixture(scope="module")
def golden():
  """`(layer, case) -> (scale, arrays in the layout of dlcore)`."""
  file = File(GOLDEN)
  rank, alpha = int(file.metadata["rank"]), float(file.metadata["alpha"])

  def read(layer, case):
    prefix = f"{layer}/{case}/"
    arrays = {
      name.removeprefix(prefix): np.array(array)
      for name, array in file.items()
      if name.startswith(prefix)
    }
    for name, array in arrays.items():
      last = name.split("/")[-1]
      if last in ("a", "b", "weight", "merged"):
        arrays[name] = to_kernel(array)
      elif last == "magnitude":
        arrays[name] = array.reshape(-1)
      elif array.ndim == 4:  # [B, C, Y, X]
        arrays[name] = np.moveaxis(array, 1, -1)
    for name in ("b", "gradient/b"):  # A convolution with 1x1 pixels.
      arrays[name] = arrays[name].reshape(arrays[name].shape[-2:])
    scale = alpha / (rank**0.5 if case == "stabilized" else rank)
    return scale, arrays

  return read


def dense(adapter, arrays, scale):
  """A dense layer that never adds its kernel and the update."""
  variables = {
    "params": {"kernel": arrays["weight"], "bias": arrays["bias"]},
    "adapters": adapter,
  }
  with layers.adapted(scale):
    return nn.Dense(5).apply(variables, arrays["input"])


def convolution(adapter, arrays, scale):
  """A convolution with the sum of its kernel and the update."""
  kernel = layers.merged_kernel(jnp.asarray(arrays["weight"]), adapter, scale)
  output = jax.lax.conv_general_dilated(
    arrays["input"],
    kernel,
    (1, 1),
    "SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    precision="highest",
  )
  return output + arrays["bias"]


RUN = {"linear": dense, "convolution": convolution}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("layer", RUN)
def test_outputs_gradients_and_merged_weights_are_those_of_peft(
  golden, layer, case
):
  scale, arrays = golden(layer, case)
  arrays = {name: array.astype(np.float32) for name, array in arrays.items()}
  adapter = {name: arrays[name] for name in NAMES if name in arrays}

  def loss(adapter):
    output = RUN[layer](adapter, arrays, scale)
    return jnp.sum(output * arrays["cotangent"]), output

  gradient, output = jax.grad(loss, has_aux=True)(adapter)
  np.testing.assert_allclose(output, arrays["output"], atol=1e-5)
  for name in adapter:
    expected = arrays[f"gradient/{name}"]
    np.testing.assert_allclose(gradient[name], expected, rtol=1e-5, atol=1e-5)
  merged = layers.merged_kernel(jnp.asarray(arrays["weight"]), adapter, scale)
  np.testing.assert_allclose(merged, arrays["merged"], atol=1e-6)


def test_a_dense_layer_without_an_adapter_is_unchanged():
  x = jnp.ones((2, 3))
  variables = nn.Dense(4).init(jax.random.key(0), x)
  with layers.adapted(2.0):
    output = nn.Dense(4).apply(variables, x)
  np.testing.assert_array_equal(output, nn.Dense(4).apply(variables, x))


def test_a_kernel_of_integers_is_at_most_half_a_step_off():
  kernel = jax.random.normal(jax.random.key(0), (2, 9, 5)) * jnp.arange(5.0)
  integers, scales = layers.quantized(kernel)
  assert (integers.dtype, scales.shape) == (jnp.int8, (2, 5))
  assert int(jnp.abs(integers).max()) == 127
  error = jnp.abs(layers.dequantized(integers, scales) - kernel)
  assert (error <= 0.5001 * scales[:, None, :]).all()
  assert (scales[:, 0] == 0).all()  # A column of zeros stays zero.


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_layer_of_integers_computes_with_their_values(dtype):
  key = jax.random.key(1)
  kernel, x = jax.random.normal(key, (7, 5)), jax.random.normal(key, (3, 7))
  integers, scales = layers.quantized(kernel)
  layer = nn.Dense(5, dtype=dtype)
  bias = jnp.arange(5.0)

  def run(x, kernel, collection):
    variables = {"params": {"kernel": kernel, "bias": bias}, **collection}
    with layers.adapted(1.0):
      return layer.apply(variables, x)

  adapter = {"adapters": {"scales": scales}}
  values = layers.dequantized(integers, scales)
  expected, pull_expected = jax.vjp(lambda x: run(x, values, {}), x)
  output, pull = jax.vjp(lambda x: run(x, integers, adapter), x)
  assert output.dtype == dtype
  np.testing.assert_array_equal(output, expected)
  np.testing.assert_allclose(
    pull(output)[0], pull_expected(output)[0], rtol=1e-6
  )


def test_the_gradient_keeps_the_integers_only():
  integers, scales = layers.quantized(jnp.ones((64, 32)))
  variables = {
    "params": {"kernel": integers, "bias": jnp.zeros(32)},
    "adapters": {"scales": scales},
  }

  def run(x):
    with layers.adapted(1.0):
      return nn.Dense(32).apply(variables, x)

  saved = jax.tree.leaves(jax.vjp(run, jnp.ones((2, 64)))[1])
  assert not [x for x in saved if x.shape == (64, 32) and x.dtype != jnp.int8]


def test_only_inputs_of_the_update_are_dropped():
  x = jnp.ones((1, 1000))
  params = {"kernel": jnp.zeros((1000, 1)), "bias": jnp.full(1, 7.0)}
  adapter = {"a": jnp.ones((1000, 1)), "b": jnp.ones((1, 1))}
  variables = {"params": params, "adapters": adapter}

  def run(rate, **settings):
    with layers.adapted(1.0, rate):
      return float(nn.Dense(1).apply(variables, x, **settings)[0, 0]) - 7

  rngs = {"dropout": jax.random.key(0)}
  assert run(0.5, rngs=rngs) != run(0.0) == pytest.approx(1000)
  assert run(0.5, rngs=rngs) == pytest.approx(1000, rel=0.1)
  assert run(0.5) == run(0.0)  # In evaluation.
