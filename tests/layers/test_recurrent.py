import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlcore.layers import (
  CELLS,
  GRU,
  LSTM,
  RNN,
  Recurrent,
  recur,
  recurrent_scan,
  scan_cell,
  step,
)
from dlcore.layers.recurrent_cell import normalize_gates

KEY = jax.random.key(0)
SLOW = pytest.mark.slow
STEPS, ROWS, FEATURES, WIDTH = 12, 4, 3, 5
MASK = np.ones((STEPS, ROWS), bool)
MASK[9:, 1] = False  # Padding after,
MASK[:3, 2] = False  # before,
MASK[[0, 4, 5, 11], 3] = False  # and in between.
RESETS = np.zeros((STEPS, ROWS), bool)
RESETS[[0, 4, 9], 0] = True
RESETS[5, 1] = True
RESETS[2, 2] = True  # A masked step.
SETTINGS = {
  "plain": {},
  "masked": {"mask": MASK},
  "reversed": {"reverse": True, "mask": MASK, "unroll": 2},
  "reset": {"resets": RESETS, "mask": MASK},
  "reset reversed": {"resets": RESETS, "reverse": True},
}


# Without optimization, compilation takes a third of the time.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def sample(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(name, norm=False):
  """Returns a cell, an input `[T, B, F]`, parameters and a carry."""
  cell = CELLS[name]
  size = cell.num_gates * WIDTH
  params = {
    "input_kernel": sample(1, FEATURES, size),
    "input_bias": sample(2, size),
    "hidden_kernel": sample(3, WIDTH, size) / 2,
    "hidden_bias": sample(4, size),
  }
  if norm:
    params["input_scale"] = 1 + sample(5, size) / 4
    params["hidden_scale"] = 1 + sample(6, size) / 4
    if cell.num_states == 2:
      params["state_scale"] = 1 + sample(7, WIDTH) / 4
      params["state_bias"] = sample(8, WIDTH)
  carry = tuple(sample(9 + i, ROWS, WIDTH) for i in range(cell.num_states))
  return cell, sample(0, STEPS, ROWS, FEATURES), params, carry


def total(run, cell, settings, x, params, carry):
  """Returns a scalar that depends on all outputs of a run."""
  outputs, final = run(cell, x, params, carry=carry, **settings)
  weights = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
  return (outputs * weights).sum() + sum(
    (jnp.sin(1.0 + i) * array * weights[0]).sum()
    for i, array in enumerate(final)
  )


@functools.cache
def gradients(run, name, settings):
  cell, *arrays = inputs(name)
  loss = functools.partial(total, run, cell, SETTINGS[settings])
  return jit(jax.value_and_grad(loss, (0, 1, 2)))(*arrays)


def assert_near(left, right, tolerance=2e-6):
  """Compares the maximum difference of each array to its maximum."""
  for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True):
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max() + 1e-30


def recur_with(cell, **settings):
  """Returns a compiled `recur` of an input, parameters and a carry."""
  return jit(
    lambda x, params, carry: recur(cell, x, params, carry=carry, **settings)
  )


@pytest.mark.parametrize(
  ("name", "settings"),
  [
    ("gru", "reversed"),
    ("lstm", "reversed"),
    ("rnn", "masked"),
    ("rnn_relu", "plain"),
    ("lstm", "reset"),
    ("gru", "reset reversed"),
    pytest.param("gru", "masked", marks=pytest.mark.slow),
    pytest.param("lstm", "plain", marks=pytest.mark.slow),
  ],
)
@pytest.mark.fast_cases("lstm-reversed", "rnn-masked")
def test_formulations_agree_forward_and_backward(name, settings):
  left = gradients(recur, name, settings)
  assert_near(left, gradients(scan_cell, name, settings), 1e-5)


@pytest.mark.parametrize("size", [1, 5])
def test_the_chunk_size_does_not_change_the_result(size, monkeypatch):
  expected = gradients(recur, "gru", "reversed")
  monkeypatch.setattr(recurrent_scan, "CHUNK", size)
  actual = gradients.__wrapped__(recur, "gru", "reversed")
  assert_near(actual, expected, 1e-5)


@pytest.mark.parametrize(
  ("name", "norm"),
  [
    ("gru", False),
    ("gru", True),
    ("lstm", False),
    ("lstm", True),
    ("rnn", True),
    ("rnn_relu", False),
  ],
)
def test_recur_equals_single_steps(name, norm):
  cell, x, params, carry = inputs(name, norm)

  @jit
  def next_step(carry, x):
    gates = x @ params["input_kernel"]
    if norm:
      gates = normalize_gates(cell, gates, params["input_scale"])
    return step(cell, carry, gates + params["input_bias"], params)

  outputs, last = recur_with(cell)(x[:5], params, carry)
  for t in range(5):
    carry, output = next_step(carry, x[t])
    np.testing.assert_allclose(outputs[t], output, rtol=1e-4, atol=1e-5)
  assert_near(last, carry, 1e-5)


@pytest.mark.parametrize(
  ("name", "norm"),
  [
    ("lstm", False),
    ("gru", True),
    pytest.param("gru", False, marks=pytest.mark.slow),
    pytest.param("lstm", True, marks=pytest.mark.slow),
  ],
)
def test_masked_steps_have_no_effect_even_if_they_are_nan(name, norm):
  cell, x, params, carry = inputs(name, norm)
  settings = {"mask": MASK, "reverse": True}
  loss = functools.partial(total, recur, cell, settings)
  run = jit(jax.value_and_grad(loss, (0, 1, 2)))
  expected = run(x, params, carry)
  for content in (0.0, 1e30, np.nan):
    changed = run(np.where(MASK[..., None], x, content), params, carry)
    for a, b in zip(*map(jax.tree.leaves, (changed, expected)), strict=True):
      np.testing.assert_array_equal(a, b)
  assert not np.any(expected[1][0][~MASK])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_masked_row_equals_its_unmasked_steps(reverse):
  cell, x, params, carry = inputs("gru")
  run = recur_with(cell, mask=MASK, reverse=reverse)
  outputs, (last,) = run(x, params, carry)
  assert not np.any(np.asarray(outputs)[~MASK])
  for row in range(ROWS):
    kept = MASK[:, row]
    alone = x[kept, row : row + 1]
    first = (carry[0][row : row + 1],)
    # Reversed is flipped, run and flipped back.
    turn = slice(None, None, -1 if reverse else 1)
    expected, (end,) = recur_with(cell)(alone[turn], params, first)
    assert_near(outputs[kept, row], expected[turn, 0], 1e-5)
    assert_near(last[row], end[0], 1e-5)


@pytest.mark.parametrize("name", ["lstm", pytest.param("gru", marks=SLOW)])
def test_a_reset_begins_with_a_carry_of_zeros(name):
  cell, x, params, carry = inputs(name)
  resets = np.zeros((STEPS, ROWS), bool)
  resets[5] = True
  outputs, last = recur_with(cell, resets=resets)(x, params, carry)
  first, _ = recur_with(cell)(x[:5], params, carry)
  zeros = tuple(map(np.zeros_like, carry))
  second, final = recur_with(cell)(x[5:], params, zeros)
  assert_near(outputs, np.concatenate([first, second]), 1e-5)
  assert_near(last, final, 1e-5)


def test_recur_can_be_vmapped():
  cell, x, params, carry = inputs("gru")
  batch = np.stack([x, 2 * x])

  def run(x):
    loss = functools.partial(total, recur, cell, {"mask": MASK})
    return jax.grad(loss)(x, params, carry), recur(cell, x, params)[0]

  left, single = jit(jax.vmap(run))(batch), jit(run)
  right = jax.tree.map(lambda *rows: np.stack(rows), *map(single, batch))
  assert_near(left, right, 1e-5)


def test_a_gradient_can_be_differentiated_again():
  cell, x, params, carry = inputs("rnn")

  def curvature(run):
    loss = functools.partial(total, run, cell, {"mask": MASK})

    def slope(x):
      return jnp.square(jax.grad(loss)(x, params, carry)).sum()

    return jit(jax.grad(slope))(x)

  assert_near(curvature(recur), curvature(scan_cell), 1e-5)


def test_layer_norm_makes_the_output_invariant_to_the_scale_of_kernels():
  for name in ("gru", "lstm"):
    cell, x, params, carry = inputs(name, norm=True)
    larger = {
      key: array * 3 if key.endswith("kernel") else array
      for key, array in params.items()
    }
    left, _ = recur_with(cell)(x, params, carry)
    right, _ = recur_with(cell)(x, larger, carry)
    assert_near(
      left, right, 1e-3
    )  # Because of the epsilon added to the variance.


@pytest.mark.parametrize(
  "module",
  [
    LSTM,
    pytest.param(GRU, marks=pytest.mark.slow),
    pytest.param(RNN, marks=pytest.mark.slow),
  ],
)
def test_layers_continue_from_a_returned_carry(module):
  layers = module(width=WIDTH, depth=2)
  x = sample(0, ROWS, 6, FEATURES)

  @jit
  def run(key, x):
    (at_once, final), variables = layers.init_with_output(key, x, train=False)
    apply = functools.partial(layers.apply, variables, train=False)
    first, carry = apply(x[:, :4])
    return at_once, final, first, *apply(x[:, 4:], carry=carry)

  at_once, final, first, second, end = run(KEY, x)
  assert_near(jnp.concatenate([first, second], axis=1), at_once)
  assert_near(end, final)


def test_the_backward_direction_equals_the_forward_one_on_reversed_rows():
  layers = Recurrent("lstm", WIDTH, bidirectional=True)
  one = Recurrent("lstm", WIDTH)
  x = sample(0, ROWS, STEPS, FEATURES)
  mask = MASK.T

  @jit
  def run(key, x):
    variables = layers.init(key, x, train=False)
    params = {"layer_0_forward": variables["params"]["layer_0_backward"]}
    both = layers.apply(variables, x, mask=mask, train=False)
    turned, kept = x[:, ::-1], mask[:, ::-1]
    return both, one.apply({"params": params}, turned, mask=kept, train=False)

  (both, carry), (back, last) = run(KEY, x)
  np.testing.assert_array_equal(both[:, :, WIDTH:], back[:, ::-1])
  for a, b in zip(carry, last, strict=True):
    np.testing.assert_array_equal(a[1], b[0])


def test_the_forget_bias_is_one_and_hidden_kernels_are_orthogonal():
  layers = LSTM(width=WIDTH)
  variables = jit(functools.partial(layers.init, train=False))(
    KEY, sample(0, 1, 2, 3)
  )
  params = variables["params"]["layer_0_forward"]
  gates = np.asarray(params["input_bias"]).reshape(4, WIDTH)
  np.testing.assert_array_equal(gates[1], 1)
  assert not np.any(gates[[0, 2, 3]])
  for kernel in jnp.split(params["hidden_kernel"], 4, axis=1):
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(WIDTH), atol=1e-5)
