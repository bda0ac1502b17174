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

KEY = jax.random.key(0)
STEPS, ROWS, FEATURES, WIDTH = 12, 4, 3, 5
MASK = np.ones((STEPS, ROWS), bool)
MASK[9:, 1] = False  # Padding after,
MASK[:3, 2] = False  # before,
MASK[[0, 4, 5, 11], 3] = False  # and in between.
SETTINGS = {
  "plain": {},
  "masked": {"mask": MASK},
  "reversed": {"reverse": True, "mask": MASK, "unroll": 2},
}


# Compiled in a third of the time; how fast it runs is not asked here.
compiled = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def draw(seed, *shape):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def inputs(name, norm=False):
  """Returns a cell, an input `[T, B, F]`, parameters and a carry."""
  cell = CELLS[name]
  size = cell.gates * WIDTH
  params = {
    "input_kernel": draw(1, FEATURES, size),
    "input_bias": draw(2, size),
    "hidden_kernel": draw(3, WIDTH, size) / 2,
    "hidden_bias": draw(4, size),
  }
  if norm:
    params["input_scale"] = 1 + draw(5, size) / 4
    params["hidden_scale"] = 1 + draw(6, size) / 4
    if cell.states == 2:
      params["state_scale"] = 1 + draw(7, WIDTH) / 4
      params["state_bias"] = draw(8, WIDTH)
  carry = tuple(draw(9 + i, ROWS, WIDTH) for i in range(cell.states))
  return cell, draw(0, STEPS, ROWS, FEATURES), params, carry


def total(run, cell, settings, x, params, carry):
  """Returns a number that depends on all that a run returns."""
  outputs, last = run(cell, x, params, carry=carry, **settings)
  weights = jnp.cos(jnp.arange(outputs.size)).reshape(outputs.shape)
  return (outputs * weights).sum() + sum(
    (jnp.sin(1.0 + i) * array * weights[0]).sum()
    for i, array in enumerate(last)
  )


@functools.cache
def gradients(run, name, settings):
  cell, *arrays = inputs(name)
  loss = functools.partial(total, run, cell, SETTINGS[settings])
  return compiled(jax.value_and_grad(loss, (0, 1, 2)))(*arrays)


def assert_near(left, right, tolerance=2e-6):
  """Compares as law 14 does; a handful of roundings is allowed."""
  for a, b in zip(*map(jax.tree.leaves, (left, right)), strict=True):
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max() + 1e-30


def ran(cell, **settings):
  """Returns `recur` of an input, parameters and a carry."""
  return compiled(
    lambda x, params, carry: recur(cell, x, params, carry=carry, **settings)
  )


@pytest.mark.parametrize(
  ("name", "settings"),
  [
    ("gru", "masked"),
    ("gru", "reversed"),
    ("lstm", "plain"),
    ("lstm", "reversed"),
    ("rnn", "masked"),
    ("rnn_relu", "plain"),
  ],
)
def test_formulations_agree_forward_and_backward(name, settings):
  left = gradients(recur, name, settings)
  assert_near(left, gradients(scan_cell, name, settings), 1e-5)


@pytest.mark.parametrize("size", [1, 5])
def test_the_number_of_steps_at_once_changes_nothing(size, monkeypatch):
  expected = gradients(recur, "gru", "reversed")
  monkeypatch.setattr(recurrent_scan, "CHUNK", size)
  found = gradients.__wrapped__(recur, "gru", "reversed")
  assert_near(found, expected, 1e-5)


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
def test_it_is_step_after_step(name, norm):
  cell, x, params, carry = inputs(name, norm)

  @compiled
  def one_more(carry, x):
    gates = x @ params["input_kernel"]
    if norm:
      gates = recurrent_scan.normalized(cell, gates, params["input_scale"])
    return step(cell, carry, gates + params["input_bias"], params)

  outputs, last = ran(cell)(x[:5], params, carry)
  for t in range(5):
    carry, output = one_more(carry, x[t])
    np.testing.assert_allclose(outputs[t], output, rtol=1e-4, atol=1e-5)
  assert_near(last, carry, 1e-5)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("name", ["gru", "lstm"])
def test_what_is_masked_has_no_influence_even_if_it_is_no_number(name, norm):
  cell, x, params, carry = inputs(name, norm)
  settings = {"mask": MASK, "reverse": True}
  loss = functools.partial(total, recur, cell, settings)
  run = compiled(jax.value_and_grad(loss, (0, 1, 2)))
  expected = run(x, params, carry)
  for content in (0.0, 1e30, np.nan):
    changed = run(np.where(MASK[..., None], x, content), params, carry)
    for a, b in zip(*map(jax.tree.leaves, (changed, expected)), strict=True):
      np.testing.assert_array_equal(a, b)
  assert not np.any(expected[1][0][~MASK])


@pytest.mark.parametrize("reverse", [False, True])
def test_a_row_gives_what_its_kept_steps_alone_give(reverse):
  cell, x, params, carry = inputs("gru")
  run = ran(cell, mask=MASK, reverse=reverse)
  outputs, (last,) = run(x, params, carry)
  assert not np.any(np.asarray(outputs)[~MASK])
  for row in range(ROWS):
    kept = MASK[:, row]
    alone = x[kept, row : row + 1]
    first = (carry[0][row : row + 1],)
    # Reversed is flipped, run and flipped back.
    turn = slice(None, None, -1 if reverse else 1)
    expected, (end,) = ran(cell)(alone[turn], params, first)
    assert_near(outputs[kept, row], expected[turn, 0], 1e-5)
    assert_near(last[row], end[0], 1e-5)


def test_it_can_be_mapped_over():
  cell, x, params, carry = inputs("gru")
  many = np.stack([x, 2 * x])

  def run(x):
    loss = functools.partial(total, recur, cell, {"mask": MASK})
    return jax.grad(loss)(x, params, carry), recur(cell, x, params)[0]

  left, alone = compiled(jax.vmap(run))(many), compiled(run)
  right = jax.tree.map(lambda *rows: np.stack(rows), *map(alone, many))
  assert_near(left, right, 1e-5)


def test_a_gradient_can_be_differentiated_again():
  cell, x, params, carry = inputs("rnn")

  def curvature(run):
    loss = functools.partial(total, run, cell, {"mask": MASK})

    def slope(x):
      return jnp.square(jax.grad(loss)(x, params, carry)).sum()

    return compiled(jax.grad(slope))(x)

  assert_near(curvature(recur), curvature(scan_cell), 1e-5)


def test_norms_make_the_size_of_a_kernel_meaningless():
  for name in ("gru", "lstm"):
    cell, x, params, carry = inputs(name, norm=True)
    larger = {
      key: array * 3 if key.endswith("kernel") else array
      for key, array in params.items()
    }
    left, _ = ran(cell)(x, params, carry)
    right, _ = ran(cell)(x, larger, carry)
    assert_near(left, right, 1e-3)  # The epsilon of the variance.


@pytest.mark.parametrize("module", [RNN, LSTM, GRU])
def test_layers_go_on_from_the_carry_they_returned(module):
  layers = module(width=WIDTH, depth=2)
  x = draw(0, ROWS, 6, FEATURES)

  @compiled
  def run(key, x):
    (whole, last), variables = layers.init_with_output(key, x, train=False)
    go = functools.partial(layers.apply, variables, train=False)
    first, carry = go(x[:, :4])
    return whole, last, first, *go(x[:, 4:], carry=carry)

  whole, last, first, second, end = run(KEY, x)
  assert_near(jnp.concatenate([first, second], axis=1), whole)
  assert_near(end, last)


def test_a_second_direction_is_the_first_of_the_reversed_row():
  layers = Recurrent("lstm", WIDTH, bidirectional=True)
  one = Recurrent("lstm", WIDTH)
  x = draw(0, ROWS, STEPS, FEATURES)
  mask = MASK.T

  @compiled
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


def test_forgetting_is_rare_at_first_and_kernels_of_states_are_rotations():
  layers = LSTM(width=WIDTH)
  variables = compiled(functools.partial(layers.init, train=False))(
    KEY, draw(0, 1, 2, 3)
  )
  params = variables["params"]["layer_0_forward"]
  gates = np.asarray(params["input_bias"]).reshape(4, WIDTH)
  np.testing.assert_array_equal(gates[1], 1)
  assert not np.any(gates[[0, 2, 3]])
  for kernel in jnp.split(params["hidden_kernel"], 4, axis=1):
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(WIDTH), atol=1e-5)
