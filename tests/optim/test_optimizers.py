"""Every optimizer of the table passes the same tests."""

import functools
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from dlcore import optim, trees
from dlcore.errors import UserError

RATE, DECAY = 0.1, 0.5
SHAPES = {
  "conv_0": {"kernel": (3, 3, 2, 4), "bias": (4,)},
  "norm_0": {"scale": (4,), "bias": (4,)},
  "head": {"kernel": (6, 5), "bias": (5,)},
  "temperature": (),
}
NAMES = list(optim.OPTIMIZERS)
FREE = {"schedule_free_adamw", "schedule_free_sgd"}


def tree(seed=0, shapes=SHAPES):
  generator = np.random.default_rng(seed)
  return jax.tree.map(
    lambda shape: generator.normal(size=shape).astype(np.float32),
    shapes,
    is_leaf=lambda node: isinstance(node, tuple),
  )


def full(value):
  return jax.tree.map(lambda leaf: np.full_like(leaf, value), tree())


@functools.cache
def compiled(name, **settings):
  """Returns init and update of an optimizer, with rate_scale traced."""
  tx = optim.create(
    name,
    learning_rate=RATE,
    weight_decay=DECAY,
    rates=(("norm_0/bias", 0.0),),
    **settings,
  )

  @jax.jit
  def scaled(grads, state, params, rate_scale):
    return tx.update(grads, state, params, rate_scale=rate_scale)

  def update(grads, state, params, rate_scale=1.0):
    # The default would be a constant of the compiled program.
    return scaled(grads, state, params, rate_scale)

  return jax.jit(tx.init), update


def assert_close(actual, expected, tolerance=1e-6):
  """Checks max|a - b| / max|b| of every leaf."""
  actual, expected = trees.flatten(actual), trees.flatten(expected)
  for path in expected:
    a, b = np.asarray(actual[path]), np.asarray(expected[path])
    error = np.abs(a - b).max() / (np.abs(b).max() + 1e-30)
    assert error <= tolerance, (path, error)


# Relative decrease of a weight per step without a gradient. In LAMB and LARS
# the decay precedes the trust ratio, which replaces its size. Prodigy's decay
# is multiplied by the estimate of the rate, as its updates are.
DECREASE = {"lamb": RATE, "lars": RATE * 1e-3, "prodigy": RATE * DECAY * 1e-6}


@pytest.mark.fast_cases("adafactor", "adamw", "lars", "muon", "prodigy", "sgd")
@pytest.mark.parametrize("name", NAMES)
def test_decay_is_decoupled_and_excludes_biases_and_norms(name):
  init, update = compiled(name)
  params = full(2.0)
  updates, _ = update(full(0.0), init(params), params)
  for path, change in trees.flatten(updates).items():
    decayed = path.endswith(("kernel", "temperature"))
    decrease = DECREASE.get(name, RATE * DECAY) if decayed else 0.0
    # Schedule-free recomputes its average, with rounding errors.
    rounding = 1e-6 if name in FREE else 1e-12
    np.testing.assert_allclose(change, -2 * decrease, rtol=1e-4, atol=rounding)


@pytest.mark.fast_cases("adafactor", "adamw", "lars", "muon", "prodigy", "sgd")
@pytest.mark.parametrize("name", NAMES)
def test_updates_are_finite_for_every_finite_gradient(name):
  settings = inspect.signature(optim.OPTIMIZERS[name]).parameters
  edges = {
    "b2": 0.0,
    "eps": 1e-16,
    "eps_root": 0.0,
    "initial_accumulator_value": 0.0,
  }
  edges = {key: value for key, value in edges.items() if key in settings}
  for init, update in (compiled(name), compiled(name, **edges)):
    params = tree()
    state = init(params)
    for value in (*[0.0] * 50, 1e-38, 1e-30, 1e-15, 1.0, 1e18, 0.0, 0.0):
      updates, state = update(full(value), state, params)
      for path, leaf in trees.flatten((updates, state)).items():
        assert np.isfinite(leaf).all(), (value, path)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.fast_cases(
  "adadelta", "adamw", "lamb", "lion", "muon", "schedule_free_adamw"
)
def test_updates_are_proportional_to_rate_scale(name):
  init, update = compiled(name)
  params = tree()
  _, state = update(tree(1), init(params), params)  # ADOPT's first step is 0.
  (whole, after), (half, after_half) = (
    update(tree(2), state, params, scale) for scale in (1.0, 0.5)
  )
  assert optax.tree.norm(whole) > 0
  if name in FREE:  # The iterates z are proportional, their average is not.
    whole, half = (
      optax.tree.sub(each.inner_state[0].z, state.inner_state[0].z)
      for each in (after, after_half)
    )
  assert_close(half, optax.tree.scale(0.5, whole), 1e-5)
  # Its multiplier is 0: every optimizer applies the rules over paths.
  np.testing.assert_allclose(whole["norm_0"]["bias"], 0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_float32_and_survives_a_checkpoint(name):
  init, update = compiled(name)
  params = tree()
  updates, state = update(tree(1), init(params), params)
  assert {leaf.dtype.name for leaf in jax.tree.leaves(updates)} == {"float32"}
  leaves = jax.tree.leaves(state)
  assert all(isinstance(leaf, jax.Array) and leaf.size for leaf in leaves)
  assert {leaf.dtype.name for leaf in leaves} <= {"float32", "int32"}
  flat = trees.flatten(state)
  assert len(flat) == len(leaves)
  restored = trees.restore(init(params), trees.flatten(trees.nest(flat)))
  assert jax.tree.structure(restored) == jax.tree.structure(state)
  assert_close(restored, state, 0.0)


@pytest.mark.parametrize("name", NAMES)
def test_a_subset_of_the_parameters_can_be_trained(name):
  tx = optim.create(name, learning_rate=RATE, clip_norm=1.0, clip_layer=1.0)
  params = {"head": tree()["head"]}
  updates = jax.eval_shape(
    lambda params: tx.update(params, tx.init(params), params)[0], params
  )
  assert jax.tree.structure(updates) == jax.tree.structure(params)


contrib = optax.contrib
COUNTERPARTS = {
  "ademamix": contrib.ademamix,
  "adopt": contrib.adopt,
  "momentum": optax.sgd,
  "muon": contrib.muon,
  "nesterov": optax.sgd,
  "prodigy": contrib.prodigy,
  "schedule_free_adamw": contrib.schedule_free_adamw,
  "schedule_free_sgd": contrib.schedule_free_sgd,
}
OWN_DEFAULTS = {
  "lion.weight_decay": 0.0,  # Only a name that ends in w decays by default.
  "momentum.momentum": 0.9,
  "muon.adam_params": r"(^|/)(embedding|head)(/|$)",  # Of dlcore alone.
  "muon.consistent_rms": 0.2,  # Updates as large as Adam's.
  "nesterov.momentum": 0.9,
}


@pytest.mark.parametrize("name", NAMES)
def test_settings_have_the_names_and_defaults_of_optax(name):
  counterpart = COUNTERPARTS.get(name) or vars(optax)[name]
  reference = inspect.signature(counterpart).parameters
  for key, parameter in inspect.signature(
    optim.OPTIMIZERS[name]
  ).parameters.items():
    if parameter.kind is not parameter.KEYWORD_ONLY:
      continue
    if f"{name}.{key}" in OWN_DEFAULTS:
      assert parameter.default == OWN_DEFAULTS[f"{name}.{key}"]
    elif key not in reference:
      assert (key, parameter.default) == ("weight_decay", 0.0)
    else:  # A number in place of None, so that it may be traced.
      assert parameter.default == (reference[key].default or 0.0)


def test_muon_orthogonalizes_matrices_and_updates_the_rest_by_adam():
  init, update = compiled("muon", beta=0.0)
  params = full(0.0)
  updates, _ = update(tree(1), init(params), params)
  kernel = updates["conv_0"]["kernel"].reshape(18, 4)
  values = jnp.linalg.svd(kernel / (RATE * 0.2 * 18**0.5), compute_uv=False)
  # Five Newton-Schulz steps bring singular values near 1 only.
  assert 0.6 < values.min() < values.max() < 1.3
  for leaf in (updates["head"]["kernel"], updates["norm_0"]["scale"]):
    # Adam's first update is the rate; Nesterov momentum enlarges it.
    expected = RATE * (1 + 0.9 / 1.9)
    np.testing.assert_allclose(jnp.abs(leaf), expected, rtol=1e-4)


def test_an_empty_pattern_of_muon_leaves_every_matrix_to_it():
  kernels = {"dense_0": {"kernel": jnp.arange(12.0).reshape(4, 3)}}
  matched, empty = (
    optim.create("muon", learning_rate=RATE, adam_params=pattern)
    for pattern in ("no match", "")
  )
  expected, _ = matched.update(kernels, matched.init(kernels), kernels)
  actual, _ = empty.update(kernels, empty.init(kernels), kernels)
  np.testing.assert_array_equal(
    actual["dense_0"]["kernel"], expected["dense_0"]["kernel"]
  )


def test_schedule_free_in_a_partition_evaluates_its_own_average():
  schedule_free = optim.create("schedule_free_sgd", learning_rate=0.2)
  other = optim.create("sgd", learning_rate=0.1)
  labels = {name: name if name == "head" else "rest" for name in tree()}
  both = optax.partition({"head": schedule_free, "rest": other}, labels)

  def train(tx):
    """Returns the parameters after three updates, and those to evaluate."""
    params = tree()
    state = tx.init(params)
    for seed in range(1, 4):
      updates, state = tx.update(tree(seed), state, params)
      params = optax.apply_updates(params, updates)
    return params, optim.evaluation_params(state, params)

  alone, plain = train(schedule_free)[1], train(other)[1]
  params, averaged = train(both)
  assert_close(averaged["head"], alone["head"])
  rest = {name: leaf for name, leaf in averaged.items() if name != "head"}
  assert_close(rest, {name: plain[name] for name in rest})
  assert_close(rest, {name: params[name] for name in rest}, 0)


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
def test_schedule_free_evaluates_the_average_of_its_steps(clip_norm):
  rates = jnp.array([0.0, 0.1, 0.2, 0.2])
  tx = optim.create(
    "schedule_free_sgd",
    learning_rate=lambda count: rates[count],
    clip_norm=clip_norm,
  )
  params = start = tree()
  state = tx.init(params)
  fast, weights = [], []
  for count, rate in enumerate(rates):
    # The gradient is constant: z is a straight line.
    updates, state = tx.update(full(0.01), state, params)
    params = optax.apply_updates(params, updates)
    done = jnp.sum(rates[: count + 1])
    fast.append(jax.tree.map(lambda p, d=done: p - d * 0.01, start))
    weights.append(rate**2)
  total = sum(weights)
  average = jax.tree.map(
    lambda *z: (
      sum(w * each for w, each in zip(weights, z, strict=True)) / total
    ),
    *fast,
  )
  assert_close(optim.evaluation_params(state, params), average, 1e-5)


def test_other_optimizers_evaluate_the_parameters():
  tx = optim.create("adam", learning_rate=RATE)
  params = tree()
  assert optim.evaluation_params(tx.init(params), params) is params


@pytest.mark.parametrize("name", NAMES)
def test_every_number_has_a_range_and_is_checked(name):
  settings = inspect.signature(optim.OPTIMIZERS[name]).parameters
  assert "weight_decay" in settings
  for key, parameter in settings.items():
    if type(parameter.default) in (int, float):
      limits = optim.RANGES.get(f"{name}.{key}") or optim.RANGES[key]
      assert limits.holds(parameter.default)
      with pytest.raises(UserError, match=f"expected {key} "):
        optim.create(name, learning_rate=1.0, **{key: -1.0})
