import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from dlcore.layers import Conv, convolution

# Compilation takes most of the time.
FAST = {"xla_backend_optimization_level": 0}
# batch, rows, columns, channels, kernels, size, settings: enough pixels for
# chunks of the batch where the batch is large.
CASES = [
  (2, 9, 7, 1, 4, (3, 3), {}),
  (3, 8, 8, 1, 6, (5, 5), {"padding": "VALID"}),
  (2, 11, 9, 1, 4, (3, 5), {"strides": (2, 1)}),
  (2, 9, 9, 1, 4, (2, 2), {"strides": (2, 2), "padding": "VALID"}),
  (2, 9, 9, 1, 4, (3, 3), {"padding": ((2, 1), (0, 3))}),
  (2, 9, 9, 1, 4, (3, 3), {"dilation": (2, 2)}),
  (32, 16, 16, 1, 8, (3, 3), {}),
  (32, 15, 17, 3, 8, (3, 3), {}),
  (24, 17, 18, 4, 8, (5, 5), {"padding": "VALID", "strides": (2, 2)}),
  (64, 16, 16, 4, 8, (1, 1), {}),
  (32, 16, 16, 4, 8, (3, 3), {"dilation": (2, 1)}),
  (32, 16, 16, 4, 8, (3, 3), {"groups": 2}),
  (2, 9, 8, 4, 4, (3, 3), {"groups": 4}),
  (2, 15, 14, 4, 4, (7, 5), {"groups": 4, "padding": ((3, 3), (2, 2))}),
  (2, 10, 9, 4, 4, (3, 3), {"groups": 4, "strides": (2, 2)}),
  (2, 10, 9, 4, 4, (3, 3), {"groups": 4, "dilation": (2, 3)}),
  (31, 16, 16, 4, 8, (3, 3), {}),
]
# With enough channels and pixels for the primitive: Winograd's algorithm with
# even and odd sizes, and the gradient of the kernels in chunks.
WINOGRAD = (8, 9, 8, 64, 65, (3, 3), {})
PRIMITIVE = [
  WINOGRAD,
  (6, 11, 12, 65, 64, (3, 3), {"padding": ((0, 2), (1, 0))}),
  (16, 9, 8, 33, 40, (3, 3), {"strides": (2, 1)}),
  (36, 9, 9, 40, 33, (3, 1), {"strides": (3, 2), "padding": "VALID"}),
  (32, 9, 8, 40, 33, (1, 1), {"strides": (2, 2), "padding": "VALID"}),
  (16, 5, 8, 40, 33, (2, 2), {}),
]
DEPTHWISE = (8, 9, 8, 5, 5, (7, 5), {"groups": 5})
DEPTHWISE_CASES = [
  DEPTHWISE,
  (6, 11, 12, 4, 4, (3, 3), {"groups": 4, "padding": ((4, 0), (1, 3))}),
  (6, 9, 10, 4, 4, (3, 5), {"groups": 4, "strides": (2, 1)}),
  (5, 9, 8, 4, 4, (3, 3), {"groups": 4, "dilation": (1, 2)}),
]
CASES += PRIMITIVE + DEPTHWISE_CASES


def make(case, dtype=jnp.float32):
  batch, rows, columns, channels, kernels, size, settings = case
  # NumPy, because sampling with JAX would compile a program for each shape.
  normal = np.random.default_rng(0).normal
  groups = settings.get("groups", 1)
  x = normal(size=(batch, rows, columns, channels))
  kernel = normal(size=(*size, channels // groups, kernels))
  return jnp.asarray(x, dtype), jnp.asarray(kernel, dtype), settings


def reference(case):
  *_, kernels, size, settings = case
  names = {"dilation": "kernel_dilation", "groups": "feature_group_count"}
  settings = {names.get(key, key): value for key, value in settings.items()}
  return nn.Conv(kernels, size, use_bias=False, **settings)


def assert_close(actual, expected, tolerance=1e-5):
  """Compares the maximum difference of each array to its maximum."""
  for a, b in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
    a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
    assert a.shape == b.shape
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


def value_and_gradients(function, *primals):
  """Returns output and gradients of a weighted sum of the output."""

  @functools.partial(jax.jit, compiler_options=FAST)
  def both(*primals):
    y, pullback = jax.vjp(function, *primals)
    weights = jnp.cos(jnp.arange(y.size)).reshape(y.shape)
    return y, pullback(weights.astype(y.dtype))

  return both(*primals)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_output_and_gradients_equal_those_of_flax(case):
  x, kernel, settings = make(case)
  flax_conv = reference(case)
  actual = value_and_gradients(
    lambda x, kernel: convolution(x, kernel, **settings), x, kernel
  )
  expected = value_and_gradients(
    lambda x, k: flax_conv.apply({"params": {"kernel": k}}, x),
    x,
    kernel,
  )
  assert actual[0].dtype == x.dtype
  assert_close(actual, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
  "case", [CASES[0], CASES[8], *PRIMITIVE, *DEPTHWISE_CASES], ids=str
)
def test_jit_vmap_jvp_and_second_derivatives_equal_those_of_lax(case):
  x, kernel, settings = make(case)
  scale = 1 / np.sqrt(kernel[..., 0].size)  # Outputs near 1, where sine bends.
  fast = functools.partial(convolution, **settings)

  def lax_convolution(x, kernel):
    return jax.lax.conv_general_dilated(
      x,
      kernel,
      settings.get("strides", (1, 1)),
      settings.get("padding", "SAME"),
      rhs_dilation=settings.get("dilation"),
      feature_group_count=settings.get("groups", 1),
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )

  def derivatives(function):
    def energy(x, kernel):
      return jnp.sum(jnp.sin(scale * function(x, kernel)))

    direction = jnp.ones_like(kernel)
    tangents = (jnp.ones_like(x), direction)
    slope, of_x = jax.grad(energy, 1), jax.grad(energy)
    return {
      "jvp": jax.jvp(function, (x, kernel), tangents),
      "hessian": jax.jvp(lambda k: slope(x, k), (kernel,), (direction,)),
      "mixed": jax.jvp(lambda k: of_x(x, k), (kernel,), (direction,)),
      "twice": jax.grad(lambda k: jnp.sum(slope(x, k) ** 2))(kernel),
      "of x": jax.grad(lambda x: jnp.sum(of_x(x, kernel) ** 2))(x),
      "vmap": jax.vmap(jax.grad(energy, (0, 1)))(
        jnp.stack([x, 2 * x]), jnp.stack([kernel, 3 * kernel])
      ),
      "one kernel": jax.vmap(slope, (1, None))(
        jnp.stack([x, 2 * x], axis=1), kernel
      ),
    }

  actual, expected = (
    jax.jit(lambda f=f: derivatives(f), compiler_options=FAST)()
    for f in (fast, lax_convolution)
  )
  # Second derivatives sum the rounding errors of two convolutions.
  assert_close(actual, expected, 3e-5)
  assert_close(fast(x, kernel), lax_convolution(x, kernel))


@pytest.mark.parametrize("case", [CASES[0], CASES[8]], ids=str)
def test_bfloat16_is_close_to_float32(case):
  x, kernel, _ = make(case, jnp.bfloat16)
  short = value_and_gradients(convolution, x, kernel)
  wide = value_and_gradients(
    convolution, x.astype(jnp.float32), kernel.astype(jnp.float32)
  )
  assert {leaf.dtype for leaf in jax.tree.leaves(short)} == {x.dtype}
  # bfloat16 has 8 bits, and chunks of a gradient are rounded before the sum.
  assert_close(short, wide, 2e-2)


def test_the_module_has_the_parameters_and_output_of_flax():
  x = jax.random.normal(jax.random.key(1), (2, 8, 8, 4))
  for settings in ({}, {"use_bias": False}, {"dtype": jnp.bfloat16}):
    (y, variables), (other_y, others) = (
      jax.jit(
        conv(features=6, kernel_size=(3, 3), **settings).init_with_output,
        compiler_options=FAST,
      )(jax.random.key(0), x)
      for conv in (Conv, nn.Conv)
    )
    assert jax.tree.structure(variables) == jax.tree.structure(others)
    assert_close(variables, others, 0)
    assert_close(y, other_y)


@pytest.mark.parametrize(
  ("case", "primitive"),
  [
    (WINOGRAD, "image_convolution"),
    (DEPTHWISE, "depthwise_convolution"),
  ],
)
def test_an_environment_variable_selects_the_convolution_of_xla(
  case, primitive, monkeypatch
):
  x, kernel, settings = make(case)

  def program():
    # Another function each time: JAX keeps its traces.
    convolve = functools.partial(convolution, **settings)
    return str(jax.make_jaxpr(lambda x, k: convolve(x, k))(x, kernel))

  assert primitive in program()
  monkeypatch.setenv("DLCORE_CONVOLUTION", "xla")
  assert primitive not in program()


@pytest.mark.parametrize("case", [CASES[7], WINOGRAD, DEPTHWISE], ids=str)
@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_use_the_convolution_of_xla(platform, case):
  x, kernel, settings = make(case)

  def loss(x, kernel):
    return jnp.sum(convolution(x, kernel, **settings) ** 2)

  gradient = jax.jit(jax.grad(loss, (0, 1)))
  exported = jax.export.export(gradient, platforms=[platform])
  program = exported(x, kernel).mlir_module()
  # Forward pass, gradient of the input, gradient of the kernel.
  assert program.count("stablehlo.convolution") == 3
  assert "stablehlo.slice" not in program


@pytest.mark.parametrize("case", [WINOGRAD, DEPTHWISE], ids=str)
def test_a_batch_of_any_size_is_exported(case):
  x, kernel, settings = make(case)
  convolve = jax.jit(functools.partial(convolution, **settings))
  (batch,) = jax.export.symbolic_shape("B")
  shape = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
  exported = jax.export.export(convolve)(shape, kernel)
  assert_close(exported.call(x[:3], kernel), convolve(x[:3], kernel))


@pytest.mark.parametrize(
  "case",
  [
    (64, 16, 16, 4, 8, (3, 3), {}),
    (64, 16, 16, 64, 128, (3, 3), {}),
    (64, 16, 16, 64, 64, (7, 7), {"groups": 64}),
  ],
  ids=str,
)
def test_a_sharded_batch_is_not_gathered(case):
  mesh = jax.make_mesh(
    (8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,)
  )
  sharding = jax.sharding.NamedSharding(
    mesh, jax.sharding.PartitionSpec("data")
  )
  x, kernel, settings = make(case)

  def loss(kernel, x):
    return jnp.sum(convolution(x, kernel, **settings) ** 2)

  gradient = jax.jit(jax.grad(loss))
  single = gradient(kernel, x)
  compiled = gradient.lower(kernel, jax.device_put(x, sharding)).compile()
  text = compiled.as_text()
  for collective in ("all-gather", "all-to-all", "collective-permute"):
    assert collective not in text
  assert_close(compiled(kernel, jax.device_put(x, sharding)), single)
